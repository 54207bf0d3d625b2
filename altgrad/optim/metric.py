"""How a step is measured: the metric S^p, with S the grid spacing (ulp) at each weight."""

import math

import torch
from torch import Tensor

from altgrad.numerics.geometry import ulp
from altgrad.optim.grid import Grid

FLOOR = 0.05
"""The least factor a weight's step is multiplied with, so that no weight freezes."""


def ulp_power(w: Tensor, grid: Grid, power: float) -> Tensor:
    """Return S^p, not normalized: what the literal `precondition="gradient"` multiplies gradients with.

    Args:
        w: Weights, any shape and float dtype.
        grid: Their format and scale.
        power: p.

    Returns:
        S^p, of `w`'s shape and dtype.
    """
    return ulp(w, grid.fmt, grid.scale).pow_(power)


def normalized_ulp_power(w: Tensor, grid: Grid, power: float) -> Tensor:
    """Return G: S^p divided by its root mean square over the tensor, then held to at least `FLOOR`.

    A constant S gives exactly 1 for every p, so on a uniform grid with one scale the metric changes no bit.

    Args:
        w: Weights, any shape and float dtype, at least one element.
        grid: Their format and scale.
        power: p.

    Returns:
        G, of `w`'s shape and dtype.
    """
    spacing = ulp(w, grid.fmt, grid.scale)
    # Dividing by the largest spacing first makes a constant S exactly 1, and keeps the power within range.
    metric = spacing.div_(spacing.amax()).pow_(power)
    # In float64 the squares neither overflow nor, summed over any number of ones, round.
    rms = torch.linalg.vector_norm(metric, dtype=torch.float64) / math.sqrt(metric.numel())
    return metric.div_(rms.to(metric.dtype)).clamp_(min=FLOOR)
