"""What a step does to some rows of a sheet: pure functions of tensors, run eagerly on tiles or compiled whole."""

from typing import NamedTuple

import torch
from torch import Tensor

from altgrad.numerics.kernel import WORDS
from altgrad.optim.counting import count_rows
from altgrad.optim.direction import Direction, Scalar, Scalars
from altgrad.optim.grid import Grid
from altgrad.optim.metric import normalized, ulp_power
from altgrad.optim.storage import ECO, MASTER


class Recipe(NamedTuple):
    """What a step does, apart from numbers and formats: each recipe has kernels of its own.

    Attributes:
        direction: The direction.
        precondition: `"update"`, `"gradient"`, or None where the metric is 1.
        storage: As in `altgrad.optim.storage`.
        counts: Whether the step is counted.
    """

    direction: Direction
    precondition: str | None
    storage: str
    counts: bool


class Rows(NamedTuple):
    """The tensors of some rows that take part in a step.

    Attributes:
        w: The weights, (rows, width).
        g: Their gradients.
        buffers: What the direction remembers.
        metric: The metric, not normalized; None for 1.
        inverse_rms: (rows, 1), one over the metric's root mean square over each row's tensor; None for no metric.
    """

    w: Tensor
    g: Tensor
    buffers: tuple[Tensor, ...]
    metric: Tensor | None = None
    inverse_rms: Tensor | None = None

    def factor(self) -> Tensor | None:
        """Return G, new memory of `w`'s shape and dtype, or None for 1."""
        if self.metric is None or self.inverse_rms is None:
            return None
        return normalized(self.metric, self.inverse_rms, self.w.dtype)

    def part(self, rows: slice) -> "Rows":
        """Return some of the rows."""
        return Rows(
            self.w[rows],
            self.g[rows],
            tuple(buffer[rows] for buffer in self.buffers),
            None if self.metric is None else self.metric[rows],
            None if self.inverse_rms is None else self.inverse_rms[rows],
        )


def move(
    rows: Rows, grid: Grid | None, scalars: Scalars, power: Scalar, *, recipe: Recipe
) -> tuple[Tensor, Tensor | None]:
    """Make the intended weights.

    Args:
        rows: The rows; their buffers are updated.
        grid: The rows' grid before the step; None for plain weights.
        scalars: The direction's numbers.
        power: The metric's p.
        recipe: What to do.

    Returns:
        The intended weights, and the largest magnitude in each row of them (None for plain weights).
    """
    g = rows.g
    if recipe.precondition == "gradient":
        assert grid is not None, "only quantized weights have a metric"
        g = g * ulp_power(rows.w, grid, power)
    u = recipe.direction.move(rows.w, g, rows.buffers, rows.factor(), scalars, grid)
    return u, None if grid is None else _row_amax(u)


def settle(
    rows: Rows,
    u: Tensor,
    grid: Grid | None,
    feedback: Scalars,
    key: Tensor | None,
    start: int | Tensor,
    *,
    recipe: Recipe,
) -> Tensor | None:
    """Store the intended weights.

    Args:
        rows: The rows; their weights are overwritten. Storage that feeds back needs their buffers and metric too.
        u: The intended weights.
        grid: The rows' grid of the step; None for plain weights.
        feedback: The numbers of the direction's feedback; empty where the storage has none.
        key: For stochastic storage.
        start: Index of the first element in the sheet, for the same.
        recipe: What to do.

    Returns:
        Each row's counts as `count_rows` returns them, or None.
    """
    landed = u
    if grid is not None and recipe.storage != MASTER:
        y = grid.to_units(u)
        y = grid.nearest(y) if key is None else grid.stochastic(y, key, start)
        landed = grid.from_units(y, u.dtype)
        if recipe.storage == ECO:
            assert recipe.direction.feedback is not None, "groups are checked when they are added"
            recipe.direction.feedback.keep(grid.held(u) - landed, rows.buffers, rows.factor(), feedback)
    counts = None
    if grid is not None and recipe.counts:
        counts = count_rows(rows.w, rows.g, u, landed, grid, stored_on_grid=recipe.storage != MASTER)
    rows.w.copy_(landed)
    return counts


def move_and_settle(
    rows: Rows,
    before: Grid | None,
    after: Grid | None,
    scalars: Scalars,
    power: Scalar,
    feedback: Scalars,
    key: Tensor | None,
    start: int | Tensor,
    *,
    recipe: Recipe,
) -> tuple[Tensor | None, Tensor | None]:
    """Do both in one pass, where the scale of the step is known before its weights are.

    Returns:
        The rows' largest magnitudes as from `move`, and their counts as from `settle`.
    """
    u, amax = move(rows, before, scalars, power, recipe=recipe)
    return amax, settle(rows, u, after, feedback, key, start, recipe=recipe)


def _row_amax(u: Tensor) -> Tensor:
    """Return the largest magnitude of each row, NaN where it holds one."""
    if torch.compiler.is_compiling() and u.dtype in WORDS:
        word = WORDS[u.dtype]
        # Magnitudes order as their bits do, NaN above all, and integers compile to a single instruction.
        return (u.view(word.integer) & ~word.sign_mask).amax(1).view(u.dtype)
    return u.abs().amax(1)
