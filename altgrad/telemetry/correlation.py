"""How gradients go with the grid: rank correlations of |g| with the spacing, and with |w| where the spacing is one."""

import math

import torch
from torch import Tensor

from altgrad.numerics.format import FloatFormat
from altgrad.numerics.geometry import ulp
from altgrad.numerics.units import Scale

SMALLEST_BINADE = 20
"""Elements from which on a binade takes part in the correlation within binades."""


def spearman(a: Tensor, b: Tensor) -> float:
    """Return Spearman's rank correlation, ties at their average rank (Spearman 1904).

    Args:
        a: Float tensor.
        b: Float tensor of as many elements.

    Returns:
        From -1 to 1; NaN with fewer than two elements, where one side is constant, or where a value is not finite.
    """
    if a.numel() < 2 or not _finite(a, b):
        return math.nan
    one, other = _ranks(a), _ranks(b)
    one, other = one - one.mean(), other - other.mean()
    norms = (torch.dot(one, one) * torch.dot(other, other)).sqrt()
    return float((torch.dot(one, other) / norms).clamp(-1.0, 1.0)) if norms > 0 else math.nan


def stiffness_correlation(g: Tensor, W: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> float:
    """Return Spearman's correlation of |g| with S, the grid's spacing at each weight (DIAG-03).

    Args:
        g: Gradient of any float dtype and shape.
        W: The weight, of the same shape.
        fmt: A format or its name.
        scale: As in `quantize`.

    Returns:
        From -1 to 1; NaN where it is not defined, as on a uniform grid with one scale.

    Raises:
        FormatError: If `W` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> stiffness_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 1.0, 2.0]), "E4M3")
        1.0
    """
    spacing = ulp(W.detach(), fmt, scale)
    return spearman(g.detach().abs(), spacing) if _finite(W) else math.nan


def magnitude_correlation(g: Tensor, W: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> float:
    """Return Spearman's correlation of |g| with |w| among weights of one spacing (DIAG-03).

    It is taken within each set of weights that share S, and averaged over those of at least `SMALLEST_BINADE` elements
    where it is defined, weighted by their number of elements. With one scale a set is a binade of the grid; the first
    normal binade and the subnormals are one.

    Args:
        g: As in `stiffness_correlation`.
        W: As in `stiffness_correlation`.
        fmt: As in `stiffness_correlation`.
        scale: As in `stiffness_correlation`.

    Returns:
        From -1 to 1; NaN where no set is large enough, or a value is not finite.

    Raises:
        FormatError: If `W` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.
    """
    spacing, order = ulp(W.detach(), fmt, scale).flatten().sort(stable=True)
    if not _finite(g, W):
        return math.nan
    sizes = torch.unique_consecutive(spacing, return_counts=True)[1].tolist()
    parts = (torch.split(x.detach().abs().flatten()[order], sizes) for x in (g, W))
    total = elements = 0.0
    for magnitude, weight in zip(*parts, strict=True):
        size = len(weight)
        found = spearman(magnitude, weight) if size >= SMALLEST_BINADE else math.nan
        if not math.isnan(found):
            total, elements = total + found * size, elements + size
    return total / elements if elements else math.nan


def _ranks(x: Tensor) -> Tensor:
    """Return float64 ranks from 1, ties at their average."""
    ordered, order = x.flatten().sort()
    _, run, counts = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return torch.empty_like(ordered, dtype=torch.float64).scatter_(0, order, (last - (counts - 1) / 2.0)[run])


def _finite(*tensors: Tensor) -> bool:
    return all(bool(x.isfinite().all()) for x in tensors)
