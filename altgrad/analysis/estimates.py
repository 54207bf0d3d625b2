"""Estimates of a mean, paired or not, and Holm's correction. Pure functions on NumPy arrays; no tables, no files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit  # scipy.stats would take a second to import

from altgrad.analysis.sign_flip import sign_flip_interval, sign_flip_p

Array = NDArray[np.float64]


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
        flip_low: Lower end of the inverted sign-flip test, a check of the t interval that asks for symmetry alone; -inf
            where there are too few values for the confidence, NaN for fewer than two.
        flip_high: Upper end; likewise.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p_t: float
    p_sign_flip: float
    flip_low: float
    flip_high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the t interval exists and does not hold 0."""
        return self.low > 0 or self.high < 0


def estimate(values: Sequence[float] | Array, confidence: float) -> Estimate:
    """Estimate the mean of values, for example of differences paired by seed.

    Values that are all 0 give the intervals [0, 0] and p = 1, by definition.

    Args:
        values: The values, all finite.
        confidence: The intervals' confidence, for example 0.95.

    Example:
        >>> e = estimate([1.0, 2.0, 3.0], 0.95)
        >>> e.n, e.mean, round(e.low, 3), e.p_sign_flip
        (3, 2.0, -0.484, 0.25)
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    mean = float(x.mean()) if n else math.nan
    if n < 2:
        return Estimate(n, mean, *[math.nan] * 7)
    # Values that are all equal have no spread, whatever rounding their mean picked up.
    sd = float(x.std(ddof=1)) if np.any(x != x[0]) else 0.0
    mean = mean if sd else float(x[0])
    error = sd / math.sqrt(n)
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * error
    flip_low, flip_high = sign_flip_interval(x, confidence)
    return Estimate(
        n,
        mean,
        sd,
        mean - half,
        mean + half,
        _p_t(mean, error, n),
        sign_flip_p(x),
        flip_low=flip_low,
        flip_high=flip_high,
    )


def _p_t(mean: float, error: float, n: int) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / error))


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
