"""Sheets: the parameters of a group side by side in one buffer, so that one pass serves them all.

A sheet has rows of one width. Each parameter begins on a row of its own, and what its last row does not fill stays
zero; a parameter with a scale for each row fills the sheet's rows exactly. Parameters, their gradients and states
become views of the sheet's buffers. Nothing depends on that: a parameter that was moved elsewhere since (by a cast, or
by another optimizer's sheet) is noticed, and the sheet is laid anew.
"""

import itertools
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from altgrad.numerics.format import FloatFormat
from altgrad.numerics.scaling import Scaler
from altgrad.optim.counting import COUNTERS, SUMS
from altgrad.optim.permutation import permutation

WIDTH = 1024
"""Elements of a row, where no scale a row sets the width."""

# Elements that are stepped together; memory for their metric is kept. On a CPU kernels that count write the weights to
# new memory first (Inductor's doing), and much of that at once is slow to come by.
_BLOCK, _COUNTED_BLOCK, _BLOCK_ON_DEVICES = 1 << 24, 1 << 22, 1 << 27


class Block(NamedTuple):
    """Whole parameters that are stepped together.

    Attributes:
        rows: Their rows of the sheet.
        entries: Their places in the sheet's list of parameters.
        step: The number of their step, from 1.
    """

    rows: slice
    entries: slice
    step: int


class Sheet:
    """The layout of some parameters in one buffer, and their views into it.

    Args:
        params: The parameters, of one dtype and device.
        scalers: Their scales, all with the same settings; None for plain parameters.
        state: The optimizer's state, by parameter. What it holds of `buffers` moves into the sheet.
        buffers: Names of the tensors that the group's direction remembers.
        indices: Each parameter's index in the optimizer.

    Attributes:
        params: As given.
        weights: The parameters, (rows, width).
        gradients: Their gradients, likewise.
        buffers: What the direction remembers, likewise, by name.
        entry_of_row: int64 (rows,), the parameter that a row belongs to.
        columns: int32 (rows, 1), how many elements of a row are not padding; None where nothing is padded.
        padding: int64 (parameters,), how many elements are.
        counts: int64 (parameters, len(COUNTERS)), added up since they were last taken.
        sums: float64 (parameters, len(SUMS)), likewise.
        bank: The parameters' scales as one scaler with a scale for each of its rows: a parameter each, or one for each
            row of the sheet where scales are per row. None for plain parameters.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        scalers: Sequence[Scaler] | None,
        state: Mapping[Tensor, Mapping[str, Any]],
        buffers: Sequence[str],
        indices: Sequence[int],
    ) -> None:
        self.params = list(params)
        self.scalers = None if scalers is None else list(scalers)
        first = params[0]
        self.per_row = scalers is not None and scalers[0].per_row
        self.width = max(1, first[0].numel()) if self.per_row else WIDTH
        counts = [-(-p.numel() // self.width) for p in params]
        self.starts = [0, *itertools.accumulate(counts)]
        shape = (self.starts[-1], self.width)
        self.weights, self.gradients = first.new_zeros(shape), first.new_zeros(shape)
        self.buffers = {name: first.new_zeros(shape) for name in buffers}
        device = first.device
        self.entry_of_row = torch.arange(len(params)).repeat_interleave(torch.tensor(counts)).to(device)
        sizes = [p.numel() for p in params]
        empty = [count * self.width - size for count, size in zip(counts, sizes, strict=True)]
        self.padding = torch.tensor(empty).to(device)
        self.columns = self._columns(counts, empty).to(device) if any(empty) else None
        self.counts = torch.zeros((len(params), len(COUNTERS)), dtype=torch.int64, device=device)
        self.sums = torch.zeros((len(params), len(SUMS)), dtype=torch.float64, device=device)
        self._move_in(state)
        self.bank = None if self.scalers is None else _bank(self.scalers)
        self.scales_known_ahead = False
        self._sizes = torch.tensor(sizes).to(device)
        self._scratch: Tensor | None = None
        self._indices, self._order, self._order_seed = indices, torch.empty(0), -1
        self._places = self._addresses()
        rows = self.gradients.stride(0) * self.gradients.element_size()
        self._gradient_places = [self.gradients.data_ptr() + start * rows for start in self.starts[:-1]]
        self._entered = [False] * len(self.params)

    @property
    def fmt(self) -> FloatFormat | None:
        """The format of the parameters; None for plain ones."""
        return None if self.scalers is None else self.scalers[0].fmt

    def _columns(self, counts: Sequence[int], empty: Sequence[int]) -> Tensor:
        columns = [
            width
            for count, gap in zip(counts, empty, strict=True)
            for width in (*[self.width] * (count - 1), self.width - gap)[:count]
        ]
        return torch.tensor(columns, dtype=torch.int32).unsqueeze(1)

    def _move_in(self, state: Mapping[Tensor, Mapping[str, Any]]) -> None:
        """Copy parameters, gradients and states in, and make the parameters and gradients views."""
        for i, p in enumerate(self.params):
            view = self.view(self.weights, i)
            view.copy_(p)
            p.data = view
            for name in self.buffers.keys() & state.get(p, {}).keys():
                self.view(self.buffers[name], i).copy_(state[p][name])

    def view(self, buffer: Tensor, entry: int) -> Tensor:
        """Return a parameter's part of a buffer, in the parameter's shape."""
        p, rows = self.params[entry], buffer[self.starts[entry] : self.starts[entry + 1]]
        return rows.view(-1)[: p.numel()].view(p.shape)

    def _addresses(self) -> list[int]:
        tensors = [*self.params, *(scaler.scale for scaler in self.scalers or ())]
        return [t.data_ptr() for t in tensors]

    def is_in_place(self) -> bool:
        """Return whether the parameters and scales are still the sheet's own."""
        same = self._addresses() == self._places
        return same and all(p.dtype == self.weights.dtype and p.device == self.weights.device for p in self.params)

    def gather_gradients(self) -> None:
        """Bring the gradients in, and let the parameters' `grad` be the sheet's."""
        views, strangers = [], []
        for i, p in enumerate(self.params):
            if p.grad is not None:
                if p.grad.data_ptr() != self._gradient_places[i]:
                    view = self.view(self.gradients, i)
                    views.append(view)
                    strangers.append(p.grad)
                    p.grad = view
        if views:
            torch._foreach_copy_(views, strangers)

    def count_steps(self, state: MutableMapping[Tensor, Any], active: Sequence[bool]) -> list[int]:
        """Count a step in the state of each parameter that takes one; return the numbers of their steps."""
        steps = []
        for i, (p, acts) in enumerate(zip(self.params, active, strict=True)):
            if not acts:
                steps.append(0)
                continue
            own = state[p]
            if not own:
                own["step"] = 0
            own["step"] += 1
            if not self._entered[i]:
                own.update({name: self.view(buffer, i) for name, buffer in self.buffers.items()})
                self._entered[i] = True
            steps.append(own["step"])
        return steps

    def blocks(self, steps: Sequence[int], counted: bool) -> list[Block]:
        """Return the runs of parameters that are stepped together: neighbors with the same number of their step.

        Args:
            steps: The number of each parameter's step, 0 for one that takes none.
            counted: Whether the step is counted.
        """
        on_cpu = self.weights.device.type == "cpu"
        most = (_COUNTED_BLOCK if counted else _BLOCK) if on_cpu else _BLOCK_ON_DEVICES
        most //= self.width
        blocks: list[Block] = []
        for i, step in enumerate(steps):
            if not step or self.starts[i] == self.starts[i + 1]:
                continue
            start, stop = self.starts[i], self.starts[i + 1]
            last = blocks[-1] if blocks else None
            if last and last.entries.stop == i and last.step == step and stop - last.rows.start <= most:
                blocks[-1] = Block(slice(last.rows.start, stop), slice(last.entries.start, i + 1), step)
            else:
                blocks.append(Block(slice(start, stop), slice(i, i + 1), step))
        return blocks

    def unit_rows(self) -> Tensor | None:
        """Return a copy of the rows' scales, (rows, 1); None where every scale is 1 for good."""
        if self.bank is None or self.bank.mode == "none":
            return None
        return self.bank.scale.clone() if self.per_row else self.bank.scale[self.entry_of_row]

    def scale_shares(self, units: Tensor | None, power: float) -> Tensor | None:
        """Return (rows, 1), each row's scale over the largest of its parameter's, to a power; None for 1."""
        if units is None or not self.per_row:
            return None
        return (units / self._largest(units.squeeze(1))[self.entry_of_row].unsqueeze(1)).pow(power)

    def entry_amax(self, row_amax: Tensor) -> Tensor:
        """Return the largest magnitudes in the shape of the bank's scales, from those of the rows."""
        amax = row_amax if self.per_row else self._largest(row_amax)
        return amax.to(torch.float32).unsqueeze(1)

    def _largest(self, of_rows: Tensor) -> Tensor:
        """Return the largest value of each parameter's rows, NaN where there is one; 0 of none."""
        return of_rows.new_zeros(len(self.params)).scatter_reduce_(0, self.entry_of_row, of_rows, "amax")

    def inverse_rms(self, block: Block, sums: Tensor) -> Tensor:
        """Return (rows of the block, 1): one over each parameter's root mean square, from its rows' sums of squares."""
        entries = self.entry_of_row[block.rows]
        totals = sums.new_zeros(len(self.params), dtype=torch.float64).index_add_(0, entries, sums.double())
        return (self._sizes / totals).sqrt()[entries].unsqueeze(1)

    def scratch(self, block: Block, dtype: torch.dtype) -> Tensor:
        """Return uninitialized memory of a block's shape, the same for every block."""
        rows = block.rows.stop - block.rows.start
        if self._scratch is None or self._scratch.shape[0] < rows or self._scratch.dtype != dtype:
            self._scratch = torch.empty((rows, self.width), dtype=dtype, device=self.weights.device)
        return self._scratch[:rows]

    def permute(self, block: Block, values: Tensor, seed: int) -> None:
        """Shuffle a block's values in place, each parameter's among themselves; padding keeps its places.

        Args:
            block: The block.
            values: Of its shape.
            seed: With each parameter's index, it decides the permutations; see `permutation`.
        """
        if seed != self._order_seed:
            self._order, self._order_seed = self._permutations(seed), seed
        sources = self._order[block.rows].view(-1) - block.rows.start * self.width
        values.copy_(values.view(-1).index_select(0, sources).view_as(values))

    def _permutations(self, seed: int) -> Tensor:
        """Return int32 (rows, width): for each place of the sheet the one whose value it gets."""
        places, device = self.weights.numel(), self.weights.device
        order = torch.arange(places, dtype=torch.int32, device=device).view_as(self.weights)
        for i, (p, index) in enumerate(zip(self.params, self._indices, strict=True)):
            own = permutation(p.numel(), seed, index, device)
            self.view(order, i).copy_((own + self.starts[i] * self.width).view(p.shape))
        return order

    def held_scales(self, steps: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Return the buffers, with copies, of scales that do not move in this step: in eval mode, or without a step."""
        pairs = zip(self.scalers or (), steps, strict=True)
        still = [scaler for scaler, step in pairs if not (step and scaler.training)]
        return [(buffer, buffer.clone()) for scaler in still for buffer in scaler.buffers()]

    def restore(self, held: list[tuple[Tensor, Tensor]]) -> None:
        """Give buffers back what `held_scales` kept of them."""
        for buffer, before in held:
            buffer.copy_(before)


def kind_of(p: Tensor, scaler: Scaler | None) -> object:
    """Return what parameters must share to lie in one sheet."""
    where = (p.device, p.dtype)
    if scaler is None:
        return where
    settings = (scaler.fmt, scaler.mode, scaler.history, scaler.power_of_two, scaler.amax_target)
    # Scales a row set the sheet's width.
    return (*where, *settings, p[0].numel() if scaler.per_row and len(p) else None)


def _bank(scalers: Sequence[Scaler]) -> Scaler:
    """Return one scaler that holds the state of all, row by row; their buffers become views of its own."""
    first = scalers[0]
    rows = [scaler.scale.numel() for scaler in scalers]
    bank = Scaler(
        first.fmt,
        first.mode,
        first.history,
        per_row=True,
        power_of_two=first.power_of_two,
        amax_target=first.amax_target,
        rows=sum(rows),
    ).to(first.scale.device)
    start = 0
    for scaler, count in zip(scalers, rows, strict=True):
        views = {"scale": bank.scale[start : start + count].view(scaler.scale.shape)}
        if bank.mode == "delayed":
            history = bank.amax_history[:, start : start + count]
            views["amax_history"] = history if scaler.per_row else history.squeeze(1)
        for name, view in views.items():
            view.copy_(scaler.get_buffer(name))
            scaler._buffers[name] = view
        start += count
    return bank
