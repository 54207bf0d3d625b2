"""Which formats are helped and which are hurt, in words, from the verdicts of a table and no more."""

from collections.abc import Sequence

from altgrad.analysis.tables import Row
from altgrad.analysis.verdicts import NO_DIFFERENCE, NOT_AFTER_HOLM, NOT_ENOUGH_SEEDS
from altgrad.reporting.source import Source
from altgrad.reporting.text import difference, listed
from altgrad.study.hypotheses import DID_STORAGE

PLACES = {
    "nearest": "with weights stored in the format by nearest rounding",
    "stochastic": "with weights stored in the format by stochastic rounding",
    "eco": "with weights stored in the format and rounding errors fed back into the momentum",
    "master": "with FP32 master weights",
    DID_STORAGE: "in the difference in differences, nearest against masters",
}
"""Where weights are kept, in words, by storage."""

SAID = {
    "helps": "{update} helps {formats}",
    "helps" + NOT_AFTER_HOLM: "{update} helps {formats}, but not after Holm's correction",
    "hurts": "{update} hurts {formats}",
    "hurts" + NOT_AFTER_HOLM: "{update} hurts {formats}, but not after Holm's correction",
    "gains more": "{update} gains more under nearest rounding than with masters in {formats}",
    "gains more" + NOT_AFTER_HOLM: "{update} gains more in {formats}, but not after Holm's correction",
    "gains less": "{update} gains less under nearest rounding than with masters in {formats}",
    "gains less" + NOT_AFTER_HOLM: "{update} gains less in {formats}, but not after Holm's correction",
    NO_DIFFERENCE: "no difference is shown in {formats}",
    NOT_ENOUGH_SEEDS: "there are too few seeds in {formats}",
}
"""What is said of the formats with a verdict, in this order."""


def too_small(source: Source, rows: Sequence[Row]) -> str:
    """Return what a study lacks none of whose comparisons has a verdict."""
    info = source.info
    reasons = {
        f"no comparison has the {info.min_seeds} paired seeds": all(r["verdict"] == NOT_ENOUGH_SEEDS for r in rows),
        f"no run has the {info.min_steps} steps": info.steps < info.min_steps,
    }
    return f"{listed(reason for reason, holds in reasons.items() if holds)} that a verdict asks for"


def tally(source: Source, rows: Sequence[Row], sizes: bool = False) -> str:
    """Return which formats are helped and hurt, and in which nothing is shown.

    Args:
        source: What the report is made from.
        rows: Rows of the comparisons table of one update, one a format.
        sizes: Whether the mean stands behind the name of a format with a difference.
    """
    parts = []
    for verdict, words in SAID.items():
        means = {row["format"]: difference(row["mean"]).text for row in rows if row["verdict"] == verdict}
        told = sizes and verdict not in (NO_DIFFERENCE, NOT_ENOUGH_SEEDS)
        names = [f"{name} ({means[name]})" if told else name for name in source.in_format_order(means)]
        if names:
            every = len(names) == len(rows) > 1 and verdict == NO_DIFFERENCE
            formats = f"any of the {len(rows)} formats" if every else listed(names)
            parts.append(words.format(update=rows[0]["update"], formats=formats))
    return "; ".join(parts)
