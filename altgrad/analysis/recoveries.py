"""Which share of the gap to the baseline a geometry-aware update recovers, where there is a gap."""

import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.comparisons import Comparison
from altgrad.analysis.recovery import share_recovered
from altgrad.analysis.tables import Row, frame
from altgrad.study.grid import BASELINE_UPDATE


def recoveries_table(compared: list[Comparison], confidence: float) -> pd.DataFrame:
    """Return the recovered share of every benefit whose cell of adamw is worse than the baseline.

    Args:
        compared: Every comparison.
        confidence: Of the intervals.
    """
    gaps = {c.cell: c.differences for c in compared if c.estimand == "gap"}
    rows: list[Row] = []
    for comparison in compared:
        name, _, storage, layers = comparison.cell
        gap = gaps.get((name, BASELINE_UPDATE, storage, layers))
        if comparison.estimand != "benefit" or gap is None:
            continue
        found = share_recovered(comparison.differences, gap, confidence)
        if found is not None:
            place = dict(zip(CELL, comparison.cell, strict=True))
            rows.append({**place, "n": found.n, "share": found.share, "low": found.low, "high": found.high})
    return frame("recoveries", rows)
