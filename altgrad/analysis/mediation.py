"""Whether one quantity predicts another across cells, alone and beside a third: correlations of ranks.

For example, whether EDQ predicts the loss across cells where the stall ratio does not: the partial correlation of EDQ
and loss given the stall ratio stays, and that of the stall ratio and loss given EDQ vanishes. Cells are taken to be
exchangeable under the null; a correlation is no proof of a cause.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_EXACT = 8
"""Values up to which every permutation is counted (8! = 40,320)."""

DRAWS = 20_000
"""Permutations that are drawn above `MAX_EXACT`; a p-value of 0.05 is then good to 0.0015 (one standard error)."""

CHUNK = 1000
"""Permutations that are held at once."""

TIES = 1e-9
"""Correlations that differ by less are equal: sums in another order."""


@dataclass(frozen=True)
class Correlation:
    """A correlation with its test.

    Attributes:
        n: How many values.
        rho: The correlation, in [-1, 1]; NaN where it is not defined.
        p: Two-sided p-value by permutation; NaN likewise.
    """

    n: int
    rho: float
    p: float


def rank_correlation(
    x: Sequence[float] | Array, y: Sequence[float] | Array, draws: int = DRAWS, seed: int = 0
) -> Correlation:
    """Return Spearman's rank correlation of x and y (Spearman 1904, Am. J. Psychol. 15), ties at their mean rank.

    The p-value is the share of permutations of y whose correlation is at least as far from 0: of all up to `MAX_EXACT`
    values, of `draws` and the observed one above.

    Args:
        x: One value a cell, all finite.
        y: Likewise, in the same order.
        draws: Permutations drawn.
        seed: Of the permutations.

    Returns:
        The correlation; NaN for fewer than three values, and where x or y is constant.

    Example:
        >>> rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 9.0, 16.0])
        Correlation(n=4, rho=1.0, p=0.08333333333333333)
    """
    first, second = _unit(_ranks(x)), _unit(_ranks(y))
    if first is None or second is None or len(x) < 3:
        return Correlation(len(x), math.nan, math.nan)

    def statistic(rows: Array) -> Array:
        correlations: Array = rows @ first
        return correlations

    return _tested(second, statistic, draws, seed)


def partial_rank_correlation(
    x: Sequence[float] | Array,
    y: Sequence[float] | Array,
    z: Sequence[float] | Array,
    draws: int = DRAWS,
    seed: int = 0,
) -> Correlation:
    """Return the rank correlation of x and y that is left when z is held fixed.

    It is the correlation of what a straight line in the ranks of z leaves of the ranks of x and of y, which is
    (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)) of Spearman's correlations. The p-value permutes what is left
    of y, adds back what z explains, and takes the partial correlation anew (Freedman and Lane 1983, J. Bus. Econ.
    Stat. 1; nearest to the exact test in Anderson and Robinson 2001, Aust. N. Z. J. Stat. 43). It is approximate, and
    too liberal where z explains most of both: equal ranks of z are not equal z. See docs/statistics.md.

    Args:
        x: One value a cell, all finite.
        y: Likewise, in the same order.
        z: Likewise: what is held fixed.
        draws: Permutations drawn; with up to `MAX_EXACT` values all are counted.
        seed: Of the permutations.

    Returns:
        The correlation; NaN for fewer than four values, where one of the three is constant, and where the ranks of z
        leave nothing of x or y.

    Example:
        >>> c = partial_rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], [5, 3, 1, 2, 4])
        >>> round(c.rho, 4)
        0.7917
    """
    held = _unit(_ranks(z))
    if held is None or len(x) < 4:
        return Correlation(len(x), math.nan, math.nan)
    first, second = (_unit(_without(_centered(_ranks(values)), held)) for values in (x, y))
    if first is None or second is None:
        return Correlation(len(x), math.nan, math.nan)

    def statistic(rows: Array) -> Array:
        left = _without(rows, held)
        size = np.linalg.norm(left, axis=1)
        # A permutation that z explains whole has nothing left to correlate; it counts as 0.
        correlations: Array = np.divide(left @ first, size, out=np.zeros_like(size), where=size > TIES)
        return correlations

    return _tested(second, statistic, draws, seed)


def _tested(y: Array, statistic: Callable[[Array], Array], draws: int, seed: int) -> Correlation:
    """Return the statistic of y and the share of its permutations with one as far from 0.

    Args:
        y: Shape (values,).
        statistic: From rows of permuted y, shape (rows, values), to one correlation a row.
        draws: Permutations drawn.
        seed: Of the permutations.
    """
    observed = min(1.0, max(-1.0, float(statistic(y[None])[0])))  # rounding may lead out of [-1, 1]
    hits, total = (0, 0) if len(y) <= MAX_EXACT else (1, 1)  # drawn ones are joined by the observed one
    for rows in _permuted(y, draws, seed):
        hits += int(np.count_nonzero(np.abs(statistic(rows)) >= abs(observed) - TIES))
        total += len(rows)
    return Correlation(len(y), observed, hits / total)


def _permuted(y: Array, draws: int, seed: int) -> Iterator[Array]:
    """Yield permutations of y as rows: all of them, or so many drawn ones."""
    if len(y) <= MAX_EXACT:
        yield y[np.array(list(permutations(range(len(y)))))]
        return
    generator = np.random.default_rng(seed)
    for start in range(0, draws, CHUNK):
        rows = np.broadcast_to(y, (min(CHUNK, draws - start), len(y)))
        yield generator.permuted(rows, axis=1)


def _ranks(values: Sequence[float] | Array) -> Array:
    """Return ranks from 1; equal values share the mean of theirs."""
    array = np.asarray(values, dtype=np.float64)
    assert np.isfinite(array).all()  # NaN would be ranked highest
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: Array = (last - (counts - 1) / 2)[inverse]
    return means


def _centered(values: Array) -> Array:
    centered: Array = values - values.mean()
    return centered


def _without(rows: Array, held: Array) -> Array:
    """Return what is left of centered rows without their part along a unit vector."""
    left: Array = rows - (rows @ held)[..., None] * held
    return left


def _unit(values: Array) -> Array | None:
    """Return values centered and scaled to length 1; None where they are constant."""
    if not len(values):
        return None
    centered = _centered(values)
    size = float(np.linalg.norm(centered))
    return centered / size if size > TIES * len(values) else None
