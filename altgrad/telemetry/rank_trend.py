"""The early warning of rank collapse (RANK-03): a falling trend that is sure, and far enough."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

WARM_UP = 0.1
"""The share of a run that its series leaves out: ranks fall as training finds its first directions."""

FEWEST = 8
"""Points after warm-up from which on there is a trend."""

MOST = 60
"""Points that a trend is fitted to, evenly thinned: Theil and Sen's slope looks at every pair."""

CONFIDENCE = 0.999

LOSS, CLASSIFIER_LOSS = 0.30, 0.15
"""The share of the value after warm-up that may be lost: of most weights, and of those in `CLASSIFIERS` (CLSF-01)."""

CLASSIFIERS = ("lm_head.weight", "*c_proj.weight")
"""Weights that write into the residual stream or the logits; patterns on dotted names."""


class RankWarning(NamedTuple):
    """What a warning rests on.

    Attributes:
        value: The trend's value now.
        reference: Its value at the end of warm-up.
        projected: Its value at the end of the run.
        slope: Change a step (Theil and Sen's).
        slope_high: The upper end of its confidence interval, below 0.
    """

    value: float
    reference: float
    projected: float
    slope: float
    slope_high: float


def loss_for(tensor: str) -> float:
    """Return the share that a weight's rank may lose.

    Args:
        tensor: The weight's dotted name.
    """
    return CLASSIFIER_LOSS if any(fnmatchcase(tensor, pattern) for pattern in CLASSIFIERS) else LOSS


def rank_warning(
    steps: Sequence[int], values: Sequence[float], total_steps: int, loss: float = LOSS
) -> RankWarning | None:
    """Return a warning if a rank's trend has lost, or by the end of the run will lose, more than a share of its value.

    The trend is Theil and Sen's line through the points after warm-up (Sen 1968), of which up to 29 % may be outliers;
    and again through the later half of them, so that a late collapse shows. It must fall for sure: the confidence
    interval of its slope lies below 0.

    Args:
        steps: Where the rank was measured, rising.
        values: The rank there; what is not finite is left out.
        total_steps: Steps of the whole run.
        loss: The share.

    Returns:
        The warning, or None.
    """
    x, y = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    kept = (x >= WARM_UP * total_steps) & np.isfinite(y)
    x, y = x[kept], y[kept]
    if len(x) > MOST:
        places = np.linspace(0, len(x) - 1, MOST).round().astype(int)
        x, y = x[places], y[places]
    if len(x) < FEWEST:
        return None
    from scipy.stats import theilslopes  # a second of imports, which runs without a trend need not wait for

    reference = 0.0
    for first in (0, len(x) // 2):
        if len(x) - first < FEWEST:
            continue
        slope, intercept, _, high = theilslopes(y[first:], x[first:], alpha=CONFIDENCE)
        reference = reference if first else float(intercept + slope * x[0])
        value, projected = (float(intercept + slope * place) for place in (x[-1], max(total_steps, x[-1])))
        if high < 0 and reference > 0 and min(value, projected) <= (1 - loss) * reference:
            return RankWarning(value, reference, projected, float(slope), float(high))
    return None
