"""What a run scores, for tuning and for the tables alike."""

import math
from collections.abc import Mapping
from typing import Any

from altgrad.errors import TableError


def score(summary: Mapping[str, Any], where: str) -> float:
    """Return what a run scores: its validation loss in nats, and ln(vocabulary size) where it has none or a higher one.

    A model that knows nothing has the loss ln(vocabulary size): a diverged run counts as that, and none is dropped. A
    finished run counts as no more, so that finishing is never worse than diverging.

    Args:
        summary: The run's summary.
        where: Its folder, for the error.

    Raises:
        TableError: Its vocabulary size is unknown.
    """
    if not summary.get("vocab_size"):
        raise TableError(where, "its summary has no vocab_size to score it by", "Train the run again")
    worst = math.log(summary["vocab_size"])
    if has_diverged(summary):
        return worst
    return min(float(summary["val_loss"]), worst)


def has_diverged(summary: Mapping[str, Any]) -> bool:
    """Return whether a run diverged: it says so, or has no finite loss."""
    loss = summary.get("val_loss")
    return summary["status"] == "diverged" or loss is None or not math.isfinite(loss)
