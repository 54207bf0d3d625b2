"""Which format suits which layer type: ranked by loss where a layer type was quantized alone, else by counters.

Runs with one layer type in the format and the rest in the reference format show what the format costs there (basis
`loss`). Without them, counters by layer type of the runs that quantize everything show only where updates are lost
(under nearest rounding) or weights vanish (elsewhere); they do not show what that costs (basis `counters`).
"""

from collections.abc import Mapping

import pandas as pd

from altgrad.analysis.cells import ChosenCell, Key, cell_key
from altgrad.analysis.estimates import estimate, paired
from altgrad.analysis.layers import ALL
from altgrad.analysis.study_info import StudyInfo
from altgrad.analysis.tables import Row, frame, records
from altgrad.analysis.verdicts import lacking
from altgrad.study.grid import BASELINE_UPDATE

LOSS = "loss"
COUNTERS = "counters"
BEST = "best"
TIED = "not told apart from the best"
WORSE = "worse than the best"
NO_LOSS = "counters only"

COUNTER_BY_STORAGE = {"nearest": "stall_ratio"}
"""What ranks formats by counters; `underflow_rate` in storages that lose no update for good."""


def sweet_spots_table(
    cells: Mapping[Key, ChosenCell], comparisons: pd.DataFrame, layer_rates: pd.DataFrame, info: StudyInfo
) -> pd.DataFrame:
    """Return formats and updates ranked within each layer type and storage; by loss, those with seeds for a verdict.

    Args:
        cells: Each cell at its chosen learning rate.
        comparisons: The comparisons table, for the gaps to the baseline.
        layer_rates: The layer_rates table.
        info: The study.
    """
    gaps = comparisons[(comparisons["estimand"] == "gap")]
    by_loss = [
        row
        for (layers, storage), group in gaps.groupby(["layers", "storage"], sort=False)
        for row in _ranked_by_loss(str(layers), str(storage), group, cells, info)
    ]
    whole = layer_rates[
        (layer_rates["layers"] == ALL)
        & (layer_rates["layer_type"] != ALL)
        & (layer_rates["format"] != info.baseline_format)
    ]
    by_counters = [
        row
        for (kind, storage), group in whole.groupby(["layer_type", "storage"], sort=False)
        for row in _ranked_by_counters(str(kind), str(storage), group)
    ]
    return frame("sweet_spots", by_loss + by_counters)


def _ranked_by_loss(
    layers: str, storage: str, gaps: pd.DataFrame, cells: Mapping[Key, ChosenCell], info: StudyInfo
) -> list[Row]:
    there = gaps.dropna(subset=["mean"])
    enough = there[there["n"] >= info.min_seeds]  # a cell of few seeds would leave the others with its own
    ranked = records((enough if len(enough) else there).sort_values("mean", kind="stable"))
    if not ranked:
        return []
    best = cells[cell_key(ranked[0])].scores
    rows = []
    for number, row in enumerate(ranked):
        behind = estimate(list(paired(cells[cell_key(row)].scores, best).values()), info.confidence)
        word = BEST if number == 0 else WORSE if behind.low > 0 else TIED
        rows.append(
            {
                "basis": LOSS,
                "layer_type": layers,
                "storage": storage,
                "metric": "gap",
                "rank": number + 1,
                "verdict": lacking(behind.n, info) or word,
                **{name: row[name] for name in ("format", "update", "n", "mean", "low", "high")},
            }
        )
    return rows


def _ranked_by_counters(kind: str, storage: str, rates: pd.DataFrame) -> list[Row]:
    metric = COUNTER_BY_STORAGE.get(storage, "underflow_rate")
    chosen = rates[(rates["metric"] == metric) & (rates["update"] == BASELINE_UPDATE)]
    ranked = chosen.assign(rank=chosen["mean"].rank(method="min")).sort_values("rank", kind="stable")
    return [
        {
            "basis": COUNTERS,
            "layer_type": kind,
            "storage": storage,
            "metric": metric,
            "rank": int(row["rank"]),
            "verdict": NO_LOSS,
            **{name: row[name] for name in ("format", "update", "n", "mean")},
        }
        for row in records(ranked)
    ]
