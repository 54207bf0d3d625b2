"""What becomes of an intended update on the grid: its size in ulps, what is lost, and how it looks in rungs.

Definitions: EDQ, DIAG-04 and DIAG-06 in docs/metrics.md. What is not defined is NaN.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from altgrad.numerics.catalog import resolve
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.geometry import rung_position, ulp, with_rungs
from altgrad.numerics.rounding import quantize
from altgrad.numerics.units import Scale, to_units
from altgrad.telemetry.probes import binades, percentile

BINS = (-20, 7)
"""Smallest and largest bin of the histogram of updates in ulps; what lies beyond is in them."""


class UlpStatistics(NamedTuple):
    """Intended updates against the grid (DIAG-04).

    Attributes:
        median: Of ``|update| / ulp`` over the nonzero updates.
        p90: Their 90th percentile, a value that occurs.
        p99: Their 99th percentile.
        lost_fraction: Share of the nonzero updates that rounding to nearest would lose.
        zero_fraction: Share of all updates that are zero.
    """

    median: float
    p90: float
    p99: float
    lost_fraction: float
    zero_fraction: float


class RungMoves(NamedTuple):
    """Entropies of intended updates (DIAG-06), in bits.

    Attributes:
        rung_move_entropy_bits: Of the binades of moves in rungs.
        value_move_entropy_bits: Of the binades of moves in value.
    """

    rung_move_entropy_bits: float
    value_move_entropy_bits: float


class _Moved(NamedTuple):
    """The nonzero ones of `total` updates, flat, float64: weights and updates in units of the format, and in ulps."""

    start: Tensor
    move: Tensor
    size: Tensor
    total: int


def effective_descent_quality(intended: Tensor, realised: Tensor) -> float:
    """Return how much of an intended step was made: ``<intended, realised> / |intended|^2`` (EDQ).

    Args:
        intended: The update before storage, of any float dtype and shape.
        realised: The change of q(W) at the step's scale, of the same shape.

    Returns:
        1 for a step that lands where it was meant to, 0 for one that is lost; NaN where nothing was intended, or a
        value is not finite.

    Example:
        >>> effective_descent_quality(torch.tensor([0.1, 0.4]), torch.tensor([0.0, 0.5]))  # doctest: +ELLIPSIS
        1.17...
    """
    one, other = intended.detach().double().flatten(), realised.detach().double().flatten()
    amax = one.abs().max() if one.numel() else one.new_zeros(())
    if not (amax > 0 and amax.isfinite()):
        return math.nan
    one, other = one / amax, other / amax
    quality = float(torch.dot(one, other) / torch.dot(one, one))
    return quality if math.isfinite(quality) else math.nan


def ulp_statistics(update: Tensor, W: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> UlpStatistics:
    """Return how large intended updates are in ulps of their weights, and how many nearest rounding would lose.

    An update is lost if ``q(W + update) == q(W)``, the sum being one of float64 in units of the format, whatever the
    tensors' dtype. For a weight on the grid, that is if it is under half the gap to the neighbor in its direction, or
    exactly half of it and the weight's own code is the even one; beyond max there is no neighbor, and outward updates
    of a weight at max are lost.

    Args:
        update: Intended updates, of any float dtype and shape.
        W: The weights before them, of the same shape.
        fmt: A format or its name.
        scale: As in `quantize`.

    Returns:
        The statistics; NaN where an update or a weight is not finite, and all but the last of no nonzero update.

    Raises:
        FormatError: If `W` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> ulp_statistics(torch.tensor([0.05, -0.1, 0.0]), torch.ones(3), "E4M3").lost_fraction
        0.5
    """
    fmt = resolve(fmt)
    return _ulp_statistics(_moved(update, W, fmt, scale), fmt)


def update_distribution(update: Tensor, W: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> dict[int, float]:
    """Return the share of all elements whose update is from 2^k to 2^(k+1) ulps large, by k.

    Bins without any are left out, those at the ends of `BINS` hold what lies beyond. Zero updates are in no bin.

    Args:
        update: As in `ulp_statistics`.
        W: As in `ulp_statistics`.
        fmt: As in `ulp_statistics`.
        scale: As in `ulp_statistics`.

    Returns:
        The shares; none where an update or a weight is not finite.

    Raises:
        FormatError: If `W` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> update_distribution(torch.tensor([0.05, -0.1, 0.0, 0.25]), torch.ones(4), "E4M3")
        {-2: 0.25, -1: 0.25, 1: 0.25}
    """
    return _distribution(_moved(update, W, resolve(fmt), scale))


def rung_moves(update: Tensor, W: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> RungMoves:
    """Return the entropies, in bits, of moves on the number line of rungs and of moves in value (DIAG-06).

    A rung move is the real-valued ``rung_position(W + update) - rung_position(W)``, a value move ``update / scale``.
    Each is put into binades, floor(log2 |move|), however small. Both are of the same elements: those where neither the
    weight nor W + update is beyond max, and where the rung moves in float64 (by about 2^-46). In bit space, where
    every rung is as far from the next, uniform moves have a low entropy; the difference of the two says how much of the
    spread of updates is that of the grid.

    Args:
        update: As in `ulp_statistics`.
        W: As in `ulp_statistics`.
        fmt: As in `ulp_statistics`.
        scale: As in `ulp_statistics`.

    Returns:
        Both entropies; NaN where there are no such moves, or a value is not finite.

    Raises:
        FormatError: If the format is a reference, `W` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.
    """
    fmt = with_rungs(fmt)
    return _rung_moves(_moved(update, W, fmt, scale), fmt)


def update_statistics(update: Tensor, W: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> dict[str, float]:
    """Return what a probe says of one weight's intended update, by the metric's name.

    `ulp_bin_<k>` is from `update_distribution`.

    Args:
        update: As in `ulp_statistics`.
        W: As in `ulp_statistics`.
        fmt: As in `ulp_statistics`; of a reference format there is nothing to say.
        scale: As in `ulp_statistics`.
    """
    fmt = resolve(fmt)
    if fmt.is_reference:
        return {}
    moved = _moved(update, W, fmt, scale)
    return {
        **{f"ulp_{name}": value for name, value in _ulp_statistics(moved, fmt)._asdict().items()},
        **_rung_moves(moved, fmt)._asdict(),
        **{f"ulp_bin_{k}": share for k, share in _distribution(moved).items()},
    }


def _moved(update: Tensor, W: Tensor, fmt: FloatFormat, scale: Scale) -> _Moved | None:
    """Return the nonzero updates; None of none at all, or where a value is not finite."""
    # In units, a scale that is not a power of two leaves no rounding error behind.
    y, unit = to_units(W.detach(), scale)
    if not update.numel() or not bool(update.isfinite().all()) or not bool(W.isfinite().all()):
        return None
    move = update.detach().double()
    move = move if unit is None else move / unit.double()
    nonzero = move != 0
    start, move, gap = y[nonzero].double(), move[nonzero], ulp(y, fmt)[nonzero].double()
    return _Moved(start, move, move.abs() / gap, update.numel())


def _ulp_statistics(moved: _Moved | None, fmt: FloatFormat) -> UlpStatistics:
    if moved is None:
        return UlpStatistics(*[math.nan] * 5)
    sizes = moved.size.cpu()
    lost = quantize(moved.start + moved.move, fmt) == quantize(moved.start, fmt)
    median, p90, p99 = (percentile(sizes, percent) for percent in (50, 90, 99))
    zero = (moved.total - sizes.numel()) / moved.total
    return UlpStatistics(median, p90, p99, float(lost.double().mean()), zero)


def _distribution(moved: _Moved | None) -> dict[int, float]:
    if moved is None:
        return {}
    low, high = BINS
    counts = torch.bincount(binades(moved.size.clamp(2.0**low, 2.0**high)) - low).tolist()
    return {k: count / moved.total for k, count in enumerate(counts, low) if count}


def _rung_moves(moved: _Moved | None, fmt: FloatFormat) -> RungMoves:
    if moved is None:
        return RungMoves(math.nan, math.nan)
    end = moved.start + moved.move
    rungs = rung_position(end, fmt) - rung_position(moved.start, fmt)
    counted = (moved.start.abs() <= fmt.max) & (end.abs() <= fmt.max) & (rungs != 0)
    return RungMoves(_entropy(rungs[counted]), _entropy(moved.move[counted]))


def _entropy(moves: Tensor) -> float:
    """Return the entropy of the binades of some nonzero moves, in bits; NaN of none."""
    if not moves.numel():
        return math.nan
    places = binades(moves)
    counts = torch.bincount(places - places.min())
    shares = counts[counts > 0].double() / moves.numel()
    return float((shares * shares.reciprocal().log2()).sum())
