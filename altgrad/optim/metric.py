"""How a step is measured: the metric S^p, with S the grid spacing (ulp) at each weight."""

import torch
from torch import Tensor

from altgrad.numerics.format import FloatFormat
from altgrad.numerics.kernel import Number, binades_below_last
from altgrad.optim.grid import Grid

FLOOR = 0.05
"""The least factor a weight's step is multiplied with, so that no weight freezes."""

# Squares of the metric below 2^-120 of its largest would leave float32.
_NARROW_BINADES = 60


def needs_wide_sums(fmt: FloatFormat, power: float) -> bool:
    """Return whether the metric's squares span more than float32 holds, and are summed in float64."""
    return abs(power) * (fmt.emax - fmt.emin) > _NARROW_BINADES


def ulp_power(w: Tensor, grid: Grid, power: Number) -> Tensor:
    """Return S^p, not normalized: what the literal `precondition="gradient"` multiplies gradients with.

    Args:
        w: Weights (rows, width), any float dtype.
        grid: Their rows' grid.
        power: p.

    Returns:
        S^p, of `w`'s shape and dtype.
    """
    return grid.ulp(w).pow(power).to(w.dtype)


def relative_ulp_power(
    out: Tensor, w: Tensor, grid: Grid, share: Tensor | None, columns: Tensor | None, power: Number, *, wide: bool
) -> Tensor:
    """Write S^p, with S relative to the largest spacing that the format has at the largest scale of the tensor.

    A spacing is a power of two times its row's scale, so S^p is a power of two with exponent p times a count of
    binades. On a uniform grid with one scale it is exactly 1 for every p.

    Args:
        out: Receives it, of `w`'s shape, in the dtype that rounds.
        w: Weights (rows, width), any float dtype.
        grid: Their rows' grid.
        share: (rows, 1), each row's scale over its tensor's largest, to the power p; None for 1.
        columns: (rows, 1), how many of a row's elements are weights, the rest being padding; None for all.
        power: p.
        wide: Whether to square and sum in float64.

    Returns:
        (rows,), the sums of squares over each row's weights.
    """
    y = grid.to_units(w).to(out.dtype)
    metric = torch.exp2(binades_below_last(y, grid.c).to(y.dtype) * power)
    if share is not None:
        metric = metric * share
    out.copy_(metric)
    if columns is not None:
        metric = torch.where(torch.arange(w.shape[1], device=w.device) < columns, metric, 0.0)
    if wide:
        metric = metric.to(torch.float64)
    return (metric * metric).sum(1)


def normalized(metric: Tensor, inverse_rms: Tensor, dtype: torch.dtype) -> Tensor:
    """Return G: the metric over its root mean square over the tensor, held to at least `FLOOR`.

    Args:
        metric: From `relative_ulp_power`.
        inverse_rms: (rows, 1), one over the root mean square.
        dtype: The result's.
    """
    return (metric * inverse_rms).clamp(min=FLOOR).to(dtype)
