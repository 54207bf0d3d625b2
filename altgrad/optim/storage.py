"""How a step is landed: kept in full precision, or rounded to the grid that the weight is stored on."""

from typing import cast

import torch
from torch import Tensor

from altgrad.numerics.format import FloatFormat
from altgrad.numerics.rounding import Rounding, quantize

MASTER = "master"
"""Storage that keeps the intended weight; only the forward pass sees the grid."""

STORAGES = (MASTER, "nearest", "stochastic")
"""Every storage. All but `master` round to the grid, and are named after the rounding."""


def land(u: Tensor, fmt: FloatFormat, scale: Tensor, storage: str, generator: torch.Generator | None) -> Tensor:
    """Return what is stored of an intended weight when it joins an optimizer.

    Args:
        u: Intended weights, any shape and float dtype.
        fmt: Their format.
        scale: Its scale.
        storage: One of `STORAGES`.
        generator: Draws one key for each call with stochastic storage.

    Returns:
        `u` itself for `master`, else a new tensor of values on the grid.
    """
    if storage == MASTER:
        return u
    return quantize(u, fmt, scale, rounding=cast(Rounding, storage), generator=generator)
