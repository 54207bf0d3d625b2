"""The one step that every optimizer here shares: direction, then scale, then storage, then counts."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, overload

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from altgrad.errors import OptimizerError
from altgrad.numerics.scaling import Scaler
from altgrad.optim.binding import bind_scalers, resolve_format
from altgrad.optim.counting import COUNTERS, SUMS
from altgrad.optim.direction import Direction
from altgrad.optim.recipe import Recipe
from altgrad.optim.settings import check_combination, check_settings
from altgrad.optim.sheet import Sheet, kind_of
from altgrad.optim.stepping import SheetStep
from altgrad.optim.storage import MASTER, land


class GridOptimizer(torch.optim.Optimizer):
    """An optimizer whose groups are a direction, a metric and a storage each.

    A group's parameters lie side by side in a sheet, and step together. A group with a format (`fmt`, as
    `param_groups` makes them) holds quantized weights, each with its `Scaler`. A step of such a weight makes the
    intended weight u, advances the scale from u's largest magnitude, and stores u: as it is (`master`) or rounded to
    the grid at the new scale (`nearest`; `stochastic`; `eco`, which gives the rounding error to the momentum). Where
    the storage is on the grid, adding the group lands its weights there. A group without a format is stepped in place.

    Nothing in a step waits for the device. A subclass says which directions it offers and gives every setting of
    theirs a default.

    Args:
        params: Parameters, named parameters or groups.
        defaults: Every setting of a group, by name.
        generator: Draws for stochastic storage.
        compiled: Make steps with kernels of torch.compile. The first step compiles (seconds); sums and fused
            arithmetic round otherwise than in eager mode.

    Attributes:
        directions: The directions that a group's `direction` may name.
        generator: As given.
        compiled: As given.

    Raises:
        OptimizerError: If a setting is outside its range, or a group's formats and scales do not fit.
    """

    directions: ClassVar[dict[str, Direction]] = {}

    def __init__(
        self, params: ParamsT, defaults: dict[str, Any], generator: torch.Generator | None, compiled: bool = False
    ) -> None:
        self.generator = generator
        self.compiled = compiled
        self._laid: dict[int, list[Sheet]] = {}
        self._counts: dict[Tensor, Tensor] = {}
        self._sums: dict[Tensor, Tensor] = {}
        check_settings(self._name, defaults)
        super().__init__(params, defaults)

    @property
    def _name(self) -> str:
        return type(self).__name__

    @torch.no_grad()
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, and land its weights on the grid where its storage is there.

        Args:
            param_group: `params`; for quantized weights `fmt` (a format or its name) and `scalers` (one `Scaler` a
                parameter; left out, the scale stays 1); any setting.

        Raises:
            OptimizerError: If a setting is outside its range, or formats and scales do not fit.
        """
        group = self._complete(param_group)
        check_settings(self._name, group)
        self._check(group)
        super().add_param_group(group)
        try:
            group["scalers"] = bind_scalers(self._name, group)
        except OptimizerError:
            self.param_groups.pop()
            raise
        group["fmt"] = group["fmt"] and group["fmt"].name
        for p, scaler in zip(group["params"], group["scalers"] or (), strict=False):
            self._counts[p] = torch.zeros(len(COUNTERS), dtype=torch.int64, device=p.device)
            self._sums[p] = torch.zeros(len(SUMS), dtype=torch.float64, device=p.device)
            p.copy_(land(p, scaler.fmt, scaler.scale, group["storage"], self.generator))

    def _complete(self, group: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of a group with every setting, and its format as a `FloatFormat` or None."""
        group = {**self.defaults, "scalers": None, **group}
        return {**group, "fmt": resolve_format(self._name, group)}

    def _check(self, group: dict[str, Any]) -> None:
        """Refuse what settings cannot be combined."""
        if group["direction"] not in self.directions:
            raise OptimizerError(
                self._name,
                f"direction={group['direction']!r} is not one of its own",
                f"Choose from {', '.join(self.directions)}",
            )
        feedback = self.directions[group["direction"]].feedback
        check_combination(self._name, group, feedback, self.generator is not None)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Make one step with the gradients that the parameters hold.

        A parameter whose `grad` is None is left alone. Gradients that are not finite are not looked for: they make
        the weights so.

        Args:
            closure: Evaluates the model again and returns the loss.

        Returns:
            The closure's loss, or None.

        Raises:
            OptimizerError: If a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group, sheets in self._sheets():
            for sheet in sheets:
                active = [p.grad is not None for p in sheet.params]
                if not any(active):
                    continue
                if any(p.grad is not None and p.grad.is_sparse for p in sheet.params):
                    raise OptimizerError(self._name, "a gradient is sparse", "Set sparse=False in the embedding")
                sheet.gather_gradients()
                steps = sheet.count_steps(self.state, active)
                SheetStep(sheet, self._recipe(group), sheet.fmt, group, self.generator, self.compiled).run(steps)
                # Written was the sheet, not the parameters; a backward pass through what they held must not pass.
                torch.autograd.graph.increment_version(sheet.params)
        return loss

    def hold_gradients(self) -> None:
        """Let every parameter's `grad` be a part of the optimizer's own buffers from now on, zero at first.

        Backward passes then add to them in place, and a step need not bring them in. Zero them between steps with
        `zero_grad(set_to_none=False)`.
        """
        for _, sheets in self._sheets():
            for sheet in sheets:
                sheet.gradients.zero_()
                for i, p in enumerate(sheet.params):
                    p.grad = sheet.view(sheet.gradients, i)

    def _sheets(self) -> Iterator[tuple[dict[str, Any], list[Sheet]]]:
        """Iterate over the groups with their sheets, laid anew where parameters or scales are no longer in place."""
        for index, group in enumerate(self.param_groups):
            sheets = self._laid.get(index)
            if sheets is None or not all(sheet.is_in_place() for sheet in sheets):
                sheets = self._laid[index] = self._lay(index)
            yield group, sheets

    def _lay(self, index: int) -> list[Sheet]:
        """Lay a group's parameters into sheets: one for each device, dtype and kind of scale."""
        group = self.param_groups[index]
        first = sum(len(earlier["params"]) for earlier in self.param_groups[:index])
        kinds: dict[object, tuple[list[Tensor], list[Scaler], list[int]]] = {}
        scalers = group["scalers"] or itertools.repeat(None)
        for place, (p, scaler) in enumerate(zip(group["params"], scalers, strict=False), first):
            own = kinds.setdefault(kind_of(p, scaler), ([], [], []))
            own[0].append(p)
            if scaler is not None:
                own[1].append(scaler)
            own[2].append(place)
        names = self.directions[group["direction"]].buffers
        sheets = [Sheet(params, own or None, self.state, names, places) for params, own, places in kinds.values()]
        for sheet in sheets:
            for p, counts, sums in zip(sheet.params, sheet.counts, sheet.sums, strict=True):
                if p in self._counts:
                    self._counts[p] = counts.copy_(self._counts[p])
                    self._sums[p] = sums.copy_(self._sums[p])
        return sheets

    def _recipe(self, group: dict[str, Any]) -> Recipe:
        quantized = group["fmt"] is not None
        measured = quantized and group.get("metric_power", 0.0) != 0.0
        return Recipe(
            self.directions[group["direction"]],
            group["precondition"] if measured else None,
            group["storage"] if quantized else MASTER,
            quantized and group["count"],
        )

    def take_counts(self) -> dict[str | int, Tensor]:
        """Return the counts since the last call, and start again from zero.

        Returns:
            For each quantized weight of a group with `count`, by its name (its index over all groups where there are
            no names): int64 tensor of shape `(len(COUNTERS),)` on the weight's device.
        """
        return self._take(self._counts)

    def take_sums(self) -> dict[str | int, Tensor]:
        """Return the sums since the last call, and start again from zero.

        Returns:
            As `take_counts`: float64 tensors of shape `(len(SUMS),)`.
        """
        return self._take(self._sums)

    def _take(self, accumulators: dict[Tensor, Tensor]) -> dict[str | int, Tensor]:
        taken: dict[str | int, Tensor] = {}
        for index, name, p in self._counted():
            taken[index if name is None else name] = accumulators[p].clone()
            accumulators[p].zero_()
        return taken

    @torch.no_grad()
    def preview_updates(self) -> dict[str | int, Tensor]:
        """Return the updates that `step` would intend with the gradients of now, and change nothing.

        Returns:
            As `take_counts`: u - w, of each weight's shape and dtype, before any rounding to the grid.
        """
        updates: dict[Tensor, Tensor] = {}
        for group, sheets in self._sheets():
            for sheet in sheets if group["fmt"] is not None else ():
                sheet.gather_gradients()
                steps = [0 if p.grad is None else self.state.get(p, {}).get("step", 0) + 1 for p in sheet.params]
                # Without a generator: a preview draws nothing.
                ahead = SheetStep(sheet, self._recipe(group), sheet.fmt, group, None, self.compiled).preview(steps)
                updates.update({p: sheet.view(ahead, i) for i, p in enumerate(sheet.params)})
        return {index if name is None else name: updates[p] for index, name, p in self._counted()}

    def _counted(self) -> Iterator[tuple[int, str | None, Tensor]]:
        """Iterate over the parameters that are counted, with their indices and names."""
        start = 0
        for group in self.param_groups:
            names = group.get("param_names") or itertools.repeat(None)
            for index, (p, name) in enumerate(zip(group["params"], names, strict=False), start):
                if group["count"] and p in self._counts:
                    yield index, name, p
            start += len(group["params"])

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on but the weights and their scales.

        Returns:
            torch's `state` and `param_groups` (without the scalers, whose state is the model's), `counts` and
            `sums` (the accumulators by parameter index) and, where there is one, the `generator`'s state.
        """
        state = super().state_dict()
        state["param_groups"] = [
            {name: value for name, value in group.items() if name != "scalers"} for group in state["param_groups"]
        ]
        for name, accumulators in (("counts", self._counts), ("sums", self._sums)):
            state[name] = {index: accumulators[p].clone() for index, _, p in self._counted()}
        if self.generator is not None:
            state["generator"] = self.generator.get_state()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned. The scalers stay the optimizer's own.

        Args:
            state_dict: As from `state_dict`. Without a generator's state the generator stays where it is; counts and
                sums that are missing are zero.

        Raises:
            OptimizerError: If a group was saved with another format.
        """
        before = self.param_groups
        for index, (group, saved) in enumerate(zip(before, state_dict["param_groups"], strict=False)):
            if saved.get("fmt") != group["fmt"]:
                raise OptimizerError(
                    f"{self._name}.load_state_dict",
                    f"group {index} was saved with the format {saved.get('fmt')}, and here has {group['fmt']}",
                    "Build the optimizer from the model that the state belongs to",
                )
        super().load_state_dict(state_dict)
        self._laid = {}
        for group, old in zip(self.param_groups, before, strict=True):
            group["scalers"] = old["scalers"]
        if self.generator is not None and "generator" in state_dict:
            self.generator.set_state(state_dict["generator"].cpu())
        for name, accumulators in (("counts", self._counts), ("sums", self._sums)):
            saved = state_dict.get(name, {})
            for index, _, p in self._counted():
                accumulators[p].copy_(saved[index]) if index in saved else accumulators[p].zero_()

    def __getstate__(self) -> dict[str, Any]:
        """Return what copying and pickling keep: torch's part, the generator, the counts and how to step."""
        own: dict[str, Any] = {"generator": self.generator, "compiled": self.compiled, "_laid": {}}
        return {**super().__getstate__(), **own, "_counts": self._counts, "_sums": self._sums}
