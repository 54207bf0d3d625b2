"""How many seeds the question needs, from the tuning seeds, beside how many it got and what they can show."""

import math

import pandas as pd

from altgrad.analysis.comparisons import Comparison
from altgrad.analysis.estimates import Estimate, estimate, paired
from altgrad.analysis.power import detectable_effect, seeds_needed
from altgrad.analysis.study_info import StudyInfo
from altgrad.analysis.tables import Row, frame
from altgrad.study.grid import BASELINE_UPDATE


def precision_table(trials: pd.DataFrame, compared: list[Comparison], info: StudyInfo) -> pd.DataFrame:
    """Return, for each format and update, the precision that was planned and that was reached.

    Args:
        trials: The trials table.
        compared: Every comparison.
        info: The study.
    """
    dids = {c.cell: c for c in compared if c.estimand == "did"}
    tuned = {cell: estimate(list(_tuning_dids(trials, cell).values()), info.confidence) for cell in dids}
    rows: list[Row] = []
    for cell, comparison in dids.items():
        family = [other for other in dids if other[1:] == cell[1:]]
        # On a uniform grid every difference is 0: such a format says nothing about the others' spread.
        same = [tuned[other] for other in family if tuned[other].sd > 0]
        pooled = math.sqrt(math.fsum(e.sd**2 for e in same) / len(same)) if same else math.nan
        reached = estimate(list(comparison.differences.values()), info.confidence)
        rows.append(_row(cell, tuned[cell], pooled, reached, len(family), info))
    return frame("precision", rows)


def _row(
    cell: tuple[str, str, str, str],
    tuned: Estimate,
    pooled: float,
    reached: Estimate,
    families: int,
    info: StudyInfo,
) -> Row:
    known = not math.isnan(pooled)
    enough = not math.isnan(reached.sd)
    # One more than the t test asks for: the sign-flip test, which gives the verdicts, has a little less power.
    planned = 1 + seeds_needed(pooled, info.smallest_effect, families, info.confidence, info.power) if known else None
    detectable = detectable_effect(reached.sd, reached.n, families, info.confidence, info.power) if enough else None
    return {
        "format": cell[0],
        "update": cell[1],
        "layers": cell[3],
        "tuning_n": tuned.n,
        "tuning_sd": tuned.sd,
        "planned_sd": pooled,
        "planned_n": planned,
        "n": reached.n,
        "sd": reached.sd,
        "half_width": (reached.high - reached.low) / 2,
        "detectable": detectable,
    }


def _tuning_dids(trials: pd.DataFrame, cell: tuple[str, str, str, str]) -> dict[int, float]:
    """Return the difference in differences of the tuning seeds, each cell at its frozen learning rate."""
    name, update, _, layers = cell
    chosen = trials[trials["chosen"] & (trials["format"] == name) & (trials["layers"] == layers)]

    def scores(of_update: str, storage: str) -> dict[int, float]:
        rows = chosen[(chosen["update"] == of_update) & (chosen["storage"] == storage)]
        return {int(seed): float(value) for seed, value in zip(rows["seed"], rows["score"], strict=True)}

    benefits = [paired(scores(BASELINE_UPDATE, storage), scores(update, storage)) for storage in ("nearest", "master")]
    return paired(*benefits)
