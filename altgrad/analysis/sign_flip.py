"""The sign-flip test of a mean, and the interval that inverts it. Pure functions on NumPy arrays.

Under the null hypothesis that the mean is mu, each value's deviation from mu is as likely as its negative. So every
pattern of signs is equally likely, and the test's p-value is the share of patterns whose sum is at least as far from 0
as the one observed (Fisher 1935, The Design of Experiments, section 21; Pitman 1937, Suppl. J. R. Stat. Soc. 4).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_EXACT = 20
"""Values up to which the sign-flip test counts every sign pattern (2^19, as a pattern and its mirror agree)."""

DRAWS = 100_000
"""Sign patterns that are drawn above `MAX_EXACT`."""

TIES = 1e-12
"""Relative slack in the sign-flip test: sums of equal magnitudes in another order count as equal."""


def sign_flip_p(values: Sequence[float] | Array) -> float:
    """Return the two-sided p-value of the sign-flip test of mean 0.

    Exact up to `MAX_EXACT` values; above, `DRAWS` patterns are drawn from a fixed seed and the observed one is counted
    among them (Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9).

    Args:
        values: At least one value.

    Example:
        >>> sign_flip_p([1.0, 2.0, 3.0])
        0.25
    """
    x = np.asarray(values, dtype=np.float64)
    sums = _signed_sums(x[:, None])[:, 0]
    return float(np.mean(np.abs(sums) >= abs(x.sum()) - _slack(x)))


def sign_flip_interval(values: Sequence[float] | Array, confidence: float) -> tuple[float, float]:
    """Return the interval that inverts the sign-flip test: every mu that it does not reject.

    That is the set of mu for which the two-sided p-value of `values - mu` exceeds 1 - confidence. It holds 0 exactly
    where `sign_flip_p` exceeds 1 - confidence, and it covers the center of a symmetric distribution with at least the
    confidence, whatever the distribution.

    A pattern that flips the values of a subset A has a sum at least as far from 0 as the observed one exactly where mu
    lies between the mean over A and the mean over the rest, ends included: with d = x - mu, |sum d - 2 sum_A d| >=
    |sum d| is sum_A d * sum_rest d <= 0. Each of these intervals holds the overall mean, so that the ends sought are
    order statistics of the subsets' means (Hartigan 1969, JASA 64, pages 1303 to 1317; Maritz 1979, Biometrika 66).

    Args:
        values: At least one value, all finite, for example differences in nats.
        confidence: The interval's confidence, for example 0.95.

    Returns:
        The ends, in the values' unit. (-inf, inf) where there are too few values for the confidence: the smallest
        p-value of n values is 2^(1-n). (0, 0) where every value is 0, by definition.

    Example:
        >>> sign_flip_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0.95)
        (1.0, 6.0)
        >>> sign_flip_interval([1.0, 2.0, 3.0], 0.95)
        (-inf, inf)
    """
    x = np.asarray(values, dtype=np.float64)
    if not np.any(x):
        return 0.0, 0.0
    sums, signs = _signed_sums(np.stack([x, np.ones_like(x)], axis=1)).T
    proper = np.abs(signs) < len(x)  # the others flip all or nothing, and are as far from 0 at every mu
    rank = math.floor((1 - confidence) * len(sums)) - int(np.count_nonzero(~proper))
    if rank < 0:
        return -math.inf, math.inf
    flipped = (x.sum() - sums[proper]) / (len(x) - signs[proper])
    kept = (x.sum() + sums[proper]) / (len(x) + signs[proper])
    low = float(np.partition(np.minimum(flipped, kept), rank)[rank])
    high = -float(np.partition(-np.maximum(flipped, kept), rank)[rank])
    slack = _slack(x)
    return (0.0 if abs(low) <= slack else low), (0.0 if abs(high) <= slack else high)


def _slack(x: Array) -> float:
    """Return the distance at which two sums over x count as equal."""
    return TIES * float(np.abs(x).sum())


def _signed_sums(columns: Array) -> Array:
    """Return the sums over the first axis under every pattern of signs that is looked at, the observed one first.

    Args:
        columns: Shape (values, columns); the values of a row change their signs together.

    Returns:
        Shape (patterns, columns).
    """
    if len(columns) <= MAX_EXACT:
        sums = columns[:1]  # the first sign is fixed: every pattern has a mirror image with the same |sum|
        for row in columns[1:]:
            sums = np.concatenate([sums + row, sums - row])
        return sums
    generator = np.random.default_rng(0)
    drawn = [generator.choice((-1.0, 1.0), (1000, len(columns))) @ columns for _ in range(DRAWS // 1000)]
    return np.concatenate([columns.sum(axis=0, keepdims=True), *drawn])
