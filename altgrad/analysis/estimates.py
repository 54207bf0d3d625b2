"""Estimates and tests of a mean, paired or not. Pure functions on NumPy arrays; no tables, no files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit  # scipy.stats would take a second to import

Array = NDArray[np.float64]

MAX_EXACT = 20
"""Values up to which the sign-flip test counts every sign pattern (2^19, as a pattern and its mirror agree)."""

DRAWS = 100_000
"""Sign patterns that are drawn above `MAX_EXACT`."""

TIES = 1e-12
"""Relative slack in the sign-flip test: sums of equal magnitudes in another order count as equal."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval and tests against 0.

    Attributes:
        n: How many values.
        mean: Their mean; NaN where there are none.
        sd: Their standard deviation (n - 1); NaN for fewer than two.
        low: Lower end of the t interval; NaN for fewer than two values.
        high: Upper end.
        p_t: Two-sided p-value of the t test of mean 0; NaN for fewer than two values.
        p_sign_flip: Two-sided p-value of the sign-flip test of symmetry about 0; NaN for fewer than two values.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p_t: float
    p_sign_flip: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval exists and does not hold 0."""
        return self.low > 0 or self.high < 0


def estimate(values: Sequence[float] | Array, confidence: float) -> Estimate:
    """Estimate the mean of values, for example of differences paired by seed.

    Values that are all 0 give the interval [0, 0] and p = 1, by definition.

    Args:
        values: The values, all finite.
        confidence: The interval's confidence, for example 0.95.

    Example:
        >>> e = estimate([1.0, 2.0, 3.0], 0.95)
        >>> e.n, e.mean, round(e.low, 3), e.p_sign_flip
        (3, 2.0, -0.484, 0.25)
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    mean = float(x.mean()) if n else math.nan
    if n < 2:
        return Estimate(n, mean, math.nan, math.nan, math.nan, math.nan, math.nan)
    # Values that are all equal have no spread, whatever rounding their mean picked up.
    sd = float(x.std(ddof=1)) if np.any(x != x[0]) else 0.0
    mean = mean if sd else float(x[0])
    error = sd / math.sqrt(n)
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * error
    return Estimate(n, mean, sd, mean - half, mean + half, _p_t(mean, error, n), sign_flip_p(x))


def _p_t(mean: float, error: float, n: int) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / error))


def sign_flip_p(values: Sequence[float] | Array) -> float:
    """Return the two-sided p-value of the sign-flip test of the mean.

    Under the null each value is as likely as its negative. Exact up to `MAX_EXACT` values; above, `DRAWS` patterns
    are drawn from a fixed seed and the observed one is counted among them.

    Args:
        values: At least one value.
    """
    x = np.asarray(values, dtype=np.float64)
    observed = abs(x.sum())
    slack = TIES * np.abs(x).sum()
    if len(x) <= MAX_EXACT:
        sums = x[:1]  # the first sign is fixed: every pattern has a mirror image with the same |sum|
        for value in x[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= observed - slack))
    generator = np.random.default_rng(0)
    hits = sum(
        int(np.count_nonzero(np.abs(generator.choice((-1.0, 1.0), (1000, len(x))) @ x) >= observed - slack))
        for _ in range(DRAWS // 1000)
    )
    return (hits + 1) / (DRAWS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down correction (Holm 1979); NaN stays NaN and is no member of the family.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    members = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    running = 0.0
    for position, (p, index) in enumerate(members):
        running = max(running, min(1.0, (len(members) - position) * p))
        adjusted[index] = running
    return adjusted


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    """Return `a - b` for every seed that both have, by rising seed."""
    return {seed: a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())}
