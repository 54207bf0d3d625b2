"""One step of a sheet: measure, move, land and count, in eager tiles or with compiled kernels."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from altgrad.numerics.compiling import SMALLEST, Kernel, tile_rows
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.noise import draw_key
from altgrad.numerics.units import arithmetic_dtype
from altgrad.optim.counting import ZERO_UPDATE, unpack
from altgrad.optim.direction import Scalar, Scalars
from altgrad.optim.grid import Grid, make_grid
from altgrad.optim.metric import METRICS, measure
from altgrad.optim.recipe import Recipe, Rows, move, move_and_settle, settle
from altgrad.optim.sheet import Block, Sheet
from altgrad.optim.storage import ECO


class SheetStep:
    """One step of one sheet.

    Args:
        sheet: The sheet.
        recipe: What to do.
        fmt: The format of its weights; None for plain ones.
        group: The settings.
        generator: Draws one key a step for stochastic storage.
        compiled: Use kernels where shapes allow.
    """

    def __init__(
        self,
        sheet: Sheet,
        recipe: Recipe,
        fmt: FloatFormat | None,
        group: Mapping[str, Any],
        generator: torch.Generator | None,
        compiled: bool,
    ) -> None:
        self._sheet, self._recipe, self._fmt, self._group = sheet, recipe, fmt, group
        self._power: float = group.get("metric_power", 0.0)
        self._metric = METRICS[group.get("metric", "ulp")]
        self._compiled = compiled
        device = sheet.weights.device
        stochastic = fmt is not None and recipe.storage == "stochastic"
        self._key = draw_key(generator, device) if stochastic and generator is not None else None
        self._amax = sheet.weights.new_zeros(sheet.starts[-1])

    def run(self, steps: Sequence[int]) -> None:
        """Step every parameter whose step has a number; the others, and their scales, stay as they are."""
        sheet, bank = self._sheet, self._sheet.bank
        blocks = sheet.blocks(steps, self._recipe.counts)
        if bank is None:
            for block in blocks:
                self._step(block, None, None)
            return
        old, held = sheet.unit_rows(), sheet.held_scales(steps)
        if bank.mode == "none" or sheet.scales_known_ahead:
            bank.advance_ahead()
            sheet.restore(held)
            new = sheet.unit_rows()
            for block in blocks:
                self._step(block, old, new)
            bank.remember(sheet.entry_amax(self._amax))
        else:
            intended = [self._intend(block, old) for block in blocks]
            bank.advance(sheet.entry_amax(self._amax))
            sheet.restore(held)
            new = sheet.unit_rows()
            for block, u in zip(blocks, intended, strict=True):
                self._settle(block, u, old, new)
            sheet.scales_known_ahead = bank.mode == "delayed"
        sheet.restore(held)

    def _step(self, block: Block, old: Tensor | None, new: Tensor | None) -> None:
        """Step a block at scales that are known."""
        rows, before, after = self._rows(block, old), self._grid(block, old), self._grid(block, new)
        scalars, power = self._scalars(block), self._number(block, self._power)
        feedback, counted = self._feedback(block), []
        for part in self._parts(block):
            grids = (before and before.rows(part), after and after.rows(part))
            start = self._start(block, part)
            amax, counts = self._call_recipe(
                block, move_and_settle, rows.part(part), *grids, scalars, power, feedback, self._key, start
            )
            self._keep(block, part, amax)
            counted.append(counts)
        self._add(block, counted)

    def preview(self, steps: Sequence[int]) -> Tensor:
        """Return the updates that a step would intend, u - w, in the sheet's shape; nothing is changed."""
        old, updates = self._sheet.unit_rows(), torch.zeros_like(self._sheet.weights)
        for block in self._sheet.blocks(steps, False):
            rows, before = self._rows(block, old), self._grid(block, old)
            rows = rows._replace(buffers=tuple(buffer.clone() for buffer in rows.buffers))
            scalars, power = self._scalars(block), self._number(block, self._power)
            for part in self._parts(block):
                place = updates[block.rows][part]
                u, _ = self._call_recipe(block, move, rows.part(part), before and before.rows(part), scalars, power)
                torch.sub(u, rows.w[part], out=place)
        return updates

    def _intend(self, block: Block, old: Tensor | None) -> Tensor:
        """Make a block's intended weights, which decide its scales."""
        rows, before = self._rows(block, old), self._grid(block, old)
        scalars, power, intended = self._scalars(block), self._number(block, self._power), torch.empty_like(rows.w)
        for part in self._parts(block):
            intended[part], amax = self._call_recipe(
                block, move, rows.part(part), before and before.rows(part), scalars, power
            )
            self._keep(block, part, amax)
        return intended

    def _settle(self, block: Block, intended: Tensor, old: Tensor | None, new: Tensor | None) -> None:
        """Store a block's intended weights."""
        if self._recipe.storage == ECO:  # the metric's memory has served other blocks since
            rows = self._rows(block, old)
        else:
            rows = Rows(self._sheet.weights[block.rows], self._sheet.gradients[block.rows], ())
        after, feedback, counted = self._grid(block, new), self._feedback(block), []
        for part in self._parts(block):
            given = (rows.part(part), intended[part], after and after.rows(part))
            start = self._start(block, part)
            counted.append(self._call_recipe(block, settle, *given, feedback, self._key, start))
        self._add(block, counted)

    def _rows(self, block: Block, old: Tensor | None) -> Rows:
        """Return a block's tensors, measured."""
        sheet, take = self._sheet, block.rows
        buffers = tuple(buffer[take] for buffer in sheet.buffers.values())
        rows = Rows(sheet.weights[take], sheet.gradients[take], buffers)
        if self._recipe.precondition != "update" or self._fmt is None:
            return rows
        kind = {"values": self._metric.values, "wide": self._metric.wide(self._fmt, self._power)}
        dtype = torch.float64 if self._fmt.is_reference else arithmetic_dtype(rows.w.dtype)
        metric, grid, power = sheet.scratch(block, dtype), self._grid(block, old), self._number(block, self._power)
        share = sheet.scale_shares(old, self._power)
        columns = None if sheet.columns is None else sheet.columns[take]
        sums = []
        for part in self._parts(block):
            given = (metric[part], rows.w[part], grid and grid.rows(part))
            extras = [None if x is None else x[part] for x in (None if share is None else share[take], columns)]
            sums.append(self._call(block, measure, *given, *extras, power, **kind))
        if self._metric.permuted:
            sheet.permute(block, metric, self._group["permutation_seed"])
        return rows._replace(metric=metric, inverse_rms=sheet.inverse_rms(block, torch.cat(sums)).to(dtype))

    def _uses_kernels(self, block: Block) -> bool:
        return self._compiled and min(block.rows.stop - block.rows.start, self._sheet.width) >= SMALLEST

    def _parts(self, block: Block) -> list[slice]:
        """Return the slices of a block that one call takes: tiles, or all of it."""
        rows, width = block.rows.stop - block.rows.start, self._sheet.width
        if not self._uses_kernels(block):
            tile = tile_rows(width, self._sheet.weights.device)
            return [slice(first, min(first + tile, rows)) for first in range(0, rows, tile)]
        if rows == width:  # equal sizes would tie the two in the one compiled version
            return [slice(0, rows // 3), slice(rows // 3, rows)]
        return [slice(0, rows)]

    def _call(self, block: Block, function: Callable[..., Any], *arguments: Any, **fixed: Any) -> Any:
        """Call a function of rows, as it is or as a kernel."""
        if not self._uses_kernels(block):
            return function(*arguments, **fixed)
        # What is None, and the dtypes, make kernels of their own; numbers, sizes and formats do not.
        shape = tuple(_shape_of(argument) for argument in arguments)
        kernel = _kernel(function, tuple(sorted(fixed.items())), (self._sheet.weights.device.type, shape))
        return kernel.compiled(*arguments)

    def _call_recipe(self, block: Block, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._call(block, function, *arguments, recipe=self._recipe)

    def _number(self, block: Block, value: float) -> Scalar:
        if not self._uses_kernels(block):
            return value
        w = self._sheet.weights
        return torch.tensor(value, dtype=arithmetic_dtype(w.dtype), device=w.device)

    def _scalars(self, block: Block) -> Scalars:
        return self._packed(block, self._recipe.direction.scalars(self._group, block.step))

    def _feedback(self, block: Block) -> Scalars:
        """Return the numbers of the direction's feedback; none where the storage has none."""
        feedback = self._recipe.direction.feedback
        if self._recipe.storage != ECO or feedback is None:
            return ()
        return self._packed(block, feedback.scalars(self._group, block.step))

    def _packed(self, block: Block, scalars: Sequence[Scalar]) -> Scalars:
        """Return numbers as they are, or for a kernel as one tensor."""
        if not self._uses_kernels(block):
            return scalars
        w = self._sheet.weights
        dtype = arithmetic_dtype(w.dtype)
        if any(isinstance(scalar, Tensor) for scalar in scalars):
            return torch.stack([torch.as_tensor(scalar, dtype=dtype, device=w.device) for scalar in scalars])
        return torch.tensor(scalars, dtype=dtype, device=w.device)

    def _start(self, block: Block, part: slice) -> int | Tensor:
        start: int = (block.rows.start + part.start) * self._sheet.width
        if not self._uses_kernels(block):
            return start
        return torch.tensor(start, dtype=torch.int32, device=self._sheet.weights.device)

    def _grid(self, block: Block, unit: Tensor | None) -> Grid | None:
        bank = self._sheet.bank
        if self._fmt is None or bank is None:
            return None
        rows = None if unit is None else unit[block.rows]
        return make_grid(
            self._fmt,
            rows,
            bank.power_of_two,
            self._sheet.weights,
            positions=self._recipe.direction.positions,
            kernel=self._uses_kernels(block),
        )

    def _keep(self, block: Block, part: slice, amax: Tensor | None) -> None:
        if amax is not None:
            first = block.rows.start
            self._amax[first + part.start : first + part.stop] = amax

    def _add(self, block: Block, counted: list[Tensor | None]) -> None:
        """Add a block's counts to those of its parameters."""
        packed = [counts for counts in counted if counts is not None]
        if not packed:
            return
        sheet = self._sheet
        counts, sums = unpack(torch.cat(packed), sheet.width)
        entries = sheet.entry_of_row[block.rows]
        sheet.counts.index_add_(0, entries, counts)
        sheet.sums.index_add_(0, entries, sums)
        sheet.counts[block.entries, ZERO_UPDATE] -= sheet.padding[block.entries]  # zeros that stayed zero


def _shape_of(argument: Any) -> Any:
    """Return what of an argument makes a kernel its own: structure and dtypes, not values or sizes."""
    if isinstance(argument, Tensor):
        return argument.dtype
    if isinstance(argument, tuple):
        return tuple(_shape_of(part) for part in argument)
    return argument


@functools.cache
def _kernel(function: Callable[..., Any], fixed: tuple[tuple[str, Any], ...], kind: object) -> Kernel:
    settings = dict(fixed)
    recipe: Recipe | None = settings.get("recipe")
    words = [function.__name__, settings["values"].__name__ if recipe is None else ""]
    if recipe is not None:
        words += [recipe.direction.name, recipe.precondition or "", recipe.storage, "counted" if recipe.counts else ""]
    return Kernel(function, "_".join(word for word in words if word), **settings)
