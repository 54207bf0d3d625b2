"""How a step is measured: by the grid spacing S (ulp) at each weight, to the power p, or by a control in its place.

A control answers what of the metric matters: `smooth` has no staircase, and `permuted` no link to the weight. Metric
and controls are this project's own. With p = 1 `smooth` makes steps proportional to the weights, as in Madam (Bernstein
et al. 2020, arXiv:2006.14560); `permuted` is the permutation test's idea of a null, applied to the metric.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from altgrad.numerics.format import FloatFormat
from altgrad.numerics.kernel import Number, binades_below_last
from altgrad.optim.grid import Grid

FLOOR = 0.05
"""The least factor a weight's step is multiplied with, so that no weight freezes."""

# Magnitudes below are taken for it, the smallest normal float32: a tensor of zeros then has G = 1, and not 0 / 0.
_SMALLEST = 2.0**-126

# Squares of the metric below 2^-120 of its largest would leave float32.
_NARROW_BINADES = 60


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


def relative_ulp_power(w: Tensor, grid: Grid, share: Tensor | None, power: Number, dtype: torch.dtype) -> Tensor:
    """Return S^p, with S relative to the largest spacing that the format has at the largest scale of the tensor.

    A spacing is a power of two times its row's scale, so S^p is a power of two with exponent p times a count of
    binades. On a uniform grid with one scale it is exactly 1 for every p.
    """
    y = grid.to_units(w).to(dtype)
    metric = torch.exp2(binades_below_last(y, grid.c).to(y.dtype) * power)
    return metric if share is None else metric * share


def magnitude_power(w: Tensor, grid: Grid, share: Tensor | None, power: Number, dtype: torch.dtype) -> Tensor:
    """Return |w|^p, which knows no grid and no scale."""
    return w.to(dtype).abs().clamp(min=_SMALLEST).pow(power)


def _spans_beyond_float32(fmt: FloatFormat, power: float) -> bool:
    """Return whether squares of S^p span more than float32 holds."""
    return abs(power) * (fmt.emax - fmt.emin) > _NARROW_BINADES


Values = Callable[[Tensor, Grid, Tensor | None, Number, torch.dtype], Tensor]
"""`(w, grid, share, power, dtype)` to a metric's values at weights (rows, width), of their shape, in a dtype."""


class Metric(NamedTuple):
    """What the normalized direction is multiplied with, before it is normalized itself.

    Attributes:
        values: See `Values`.
        wide: From a format and p to whether the values' squares are summed in float64.
        permuted: Whether the values are then shuffled within each tensor.
        least_power: The least p that it has values for.
    """

    values: Values
    wide: Callable[[FloatFormat, float], bool]
    permuted: bool = False
    least_power: float = -1.0


METRICS: dict[str, Metric] = {
    "ulp": Metric(relative_ulp_power, _spans_beyond_float32),
    "smooth": Metric(magnitude_power, lambda fmt, power: True, least_power=0.0),
    "permuted": Metric(relative_ulp_power, _spans_beyond_float32, permuted=True),
}
"""Every metric, by name: S^p; |w|^p; and S^p of another weight of the tensor, the same one in every step."""


def measure(
    out: Tensor,
    w: Tensor,
    grid: Grid,
    share: Tensor | None,
    columns: Tensor | None,
    power: Number,
    *,
    values: Values,
    wide: bool,
) -> Tensor:
    """Write a metric's values at some rows, neither shuffled nor normalized.

    Args:
        out: Receives it, of `w`'s shape, in the dtype that rounds.
        w: Weights (rows, width), any float dtype.
        grid: Their rows' grid.
        share: (rows, 1), each row's scale over its tensor's largest, to the power p; None for 1.
        columns: (rows, 1), how many of a row's elements are weights, the rest being padding; None for all.
        power: p.
        values: The metric's.
        wide: Whether to square and sum in float64.

    Returns:
        (rows,), the sums of squares over each row's weights.
    """
    metric = values(w, grid, share, power, out.dtype)
    out.copy_(metric)
    if columns is not None:
        metric = torch.where(torch.arange(w.shape[1], device=w.device) < columns, metric, 0.0)
    if wide:
        metric = metric.to(torch.float64)
    return (metric * metric).sum(1)


def normalized(metric: Tensor, inverse_rms: Tensor, dtype: torch.dtype) -> Tensor:
    """Return G: the metric over its root mean square over the tensor, held to at least `FLOOR`.

    Args:
        metric: From `measure`.
        inverse_rms: (rows, 1), one over the root mean square.
        dtype: The result's.
    """
    return (metric * inverse_rms).clamp(min=FLOOR).to(dtype)
