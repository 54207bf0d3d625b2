"""How a step is landed: kept in full precision, or rounded to the grid that the weight is stored on."""

from typing import cast

import torch
from torch import Tensor

from altgrad.numerics.rounding import Rounding, quantize
from altgrad.optim.grid import Grid

MASTER = "master"
"""Storage that keeps the intended weight; only the forward pass sees the grid."""

STORAGES = (MASTER, "nearest", "stochastic")
"""Every storage. All but `master` round to the grid, and are named after the rounding."""


def land(u: Tensor, grid: Grid, storage: str, generator: torch.Generator | None) -> Tensor:
    """Return what is stored of an intended weight.

    Args:
        u: Intended weights, any shape and float dtype.
        grid: The format, and the scale of this step.
        storage: One of `STORAGES`.
        generator: Draws one key for each call with stochastic storage.

    Returns:
        `u` itself for `master`, else a new tensor of values on the grid.
    """
    if storage == MASTER:
        return u
    rounding = cast(Rounding, storage)
    return quantize(u, grid.fmt, grid.scale, rounding=rounding, generator=generator)
