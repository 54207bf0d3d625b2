"""Which share of a format's gap to the baseline an update recovers: a ratio of two means, with Fieller's interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # scipy.stats would take a second to import

from altgrad.analysis.estimates import estimate


@dataclass(frozen=True)
class Recovery:
    """A share of a gap, with its interval.

    Attributes:
        n: Paired seeds.
        share: Mean benefit / mean gap; 1 closes the gap, below 0 widens it.
        low: Lower end of Fieller's interval.
        high: Upper end.
    """

    n: int
    share: float
    low: float
    high: float


def share_recovered(benefit: Mapping[int, float], gap: Mapping[int, float], confidence: float) -> Recovery | None:
    """Return which share of the gap to the baseline a benefit recovers.

    The interval holds every share r for which the t interval of `benefit - r * gap`, paired by seed, holds 0 (Fieller
    1954, J. R. Stat. Soc. B 16). It is bounded exactly where the t interval of the gap itself excludes 0; elsewhere any
    share, however large, agrees with the data, and none is given.

    Args:
        benefit: score(adamw) - score(update) by seed, in nats.
        gap: score(adamw) - score(baseline) by seed, in nats; positive where there is something to recover.
        confidence: Of both intervals, for example 0.95.

    Returns:
        The share; None where the gap's interval does not lie above 0, on the seeds that both have. A format that beats
        the baseline leaves no gap to recover.

    Example:
        >>> share_recovered({1: 0.5, 2: 1.5, 3: 1.0}, {1: 2.0, 2: 2.0, 3: 2.0}, 0.95).share
        0.5
    """
    seeds = sorted(benefit.keys() & gap.keys())
    b = np.array([benefit[seed] for seed in seeds])
    g = np.array([gap[seed] for seed in seeds])
    whole = estimate(g, confidence)
    if not whole.low > 0:
        return None
    n = len(seeds)
    share = float(b.mean()) / whole.mean
    # In e = b - share * g, whose mean is 0, the quadratic of the ends (share + delta) cannot lose its digits:
    # (mean(g)^2 - t^2 v_gg) delta^2 + 2 t^2 v_eg delta - t^2 v_ee = 0, with v the variances of the means.
    t_squared = float(stdtrit(n - 1, 0.5 + confidence / 2)) ** 2
    (v_ee, v_eg), (_, v_gg) = t_squared * np.cov(b - share * g, g) / n
    leading = whole.mean**2 - v_gg
    root = math.sqrt(v_eg**2 + leading * v_ee)
    return Recovery(n, share, share + float(-v_eg - root) / leading, share + float(-v_eg + root) / leading)
