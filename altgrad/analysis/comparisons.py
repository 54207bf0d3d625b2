"""Comparisons paired by seed, each arm at its own chosen learning rate.

- `benefit`: score(adamw) - score(update), the same format, storage and layers; positive helps.
- `did`: benefit under nearest - benefit under master, which takes out what is merely a better optimizer.
- `gap`: score(cell) - score(baseline); positive is worse than the baseline.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from altgrad.analysis.cells import CELL, ChosenCell, Key
from altgrad.analysis.estimates import Estimate, estimate, holm, paired
from altgrad.analysis.layers import ALL
from altgrad.analysis.study_info import StudyInfo
from altgrad.analysis.tables import Row, frame
from altgrad.analysis.verdicts import verdict
from altgrad.study.grid import BASELINE_UPDATE
from altgrad.study.hypotheses import DID_STORAGE

WORDS = {"benefit": ("helps", "hurts"), "did": ("gains more", "gains less"), "gap": ("worse", "better")}
"""What a positive and a negative difference mean, by estimand."""


@dataclass(frozen=True)
class Comparison:
    """Paired differences of one estimand in one cell.

    Attributes:
        estimand: benefit, did or gap.
        cell: Format, update, storage and layers.
        reference: What it is compared with.
        lr: The cell's chosen learning rate; NaN for did, which has two.
        reference_lr: The reference's; NaN for did.
        differences: In nats, by seed.
        diverged: How many of the runs compared diverged, by seed.
        stuck: How many ended no better than bigrams, by seed; None where that is not known.
        lr_at_edge: Whether a learning rate involved stands at the edge of its grid.
    """

    estimand: str
    cell: Key
    reference: str
    lr: float
    reference_lr: float
    differences: Mapping[int, float]
    diverged: Mapping[int, int]
    stuck: Mapping[int, int] | None
    lr_at_edge: bool


def compare(cells: Mapping[Key, ChosenCell], geometry_aware: Iterable[str], baseline: str) -> list[Comparison]:
    """Return every comparison that the cells allow.

    Args:
        cells: Each cell at its chosen learning rate.
        geometry_aware: The updates that are compared with adamw.
        baseline: The baseline's format.
    """
    aware = set(geometry_aware)
    benefits = [_benefit(key, cells) for key in cells if key[1] in aware and _adamw(key) in cells]
    return [*benefits, *_dids(benefits), *_gaps(cells, baseline)]


def comparisons_table(comparisons: list[Comparison], info: StudyInfo) -> pd.DataFrame:
    """Return the comparisons with intervals, tests and verdicts; Holm's families are the formats."""
    estimates = [estimate(list(c.differences.values()), info.confidence) for c in comparisons]
    corrected = _holm_over_formats(comparisons, estimates)
    rows = [_row(c, e, p, info) for c, e, p in zip(comparisons, estimates, corrected, strict=True)]
    return frame("comparisons", rows)


def differences_table(comparisons: list[Comparison]) -> pd.DataFrame:
    """Return every comparison's paired differences, one row a seed."""
    return frame(
        "differences",
        [{**_place(c), "seed": seed, "value": value} for c in comparisons for seed, value in c.differences.items()],
    )


def _adamw(key: Key) -> Key:
    return (key[0], BASELINE_UPDATE, key[2], key[3])


def _benefit(key: Key, cells: Mapping[Key, ChosenCell]) -> Comparison:
    cell, reference = cells[key], cells[_adamw(key)]
    return Comparison(
        "benefit",
        key,
        BASELINE_UPDATE,
        cell.lr,
        reference.lr,
        paired(reference.scores, cell.scores),
        _lost(cell, reference, cell.diverged, reference.diverged),
        _stuck(cell, reference),
        cell.lr_at_edge or reference.lr_at_edge,
    )


def _dids(benefits: list[Comparison]) -> list[Comparison]:
    by_cell = {benefit.cell: benefit for benefit in benefits}
    found = []
    for (name, update, storage, layers), nearest in by_cell.items():
        master = by_cell.get((name, update, "master", layers))
        if storage == "nearest" and master is not None:
            found.append(
                Comparison(
                    "did",
                    (name, update, DID_STORAGE, layers),
                    BASELINE_UPDATE,
                    float("nan"),
                    float("nan"),
                    paired(nearest.differences, master.differences),
                    _summed(nearest.diverged, master.diverged),
                    None if nearest.stuck is None or master.stuck is None else _summed(nearest.stuck, master.stuck),
                    nearest.lr_at_edge or master.lr_at_edge,
                )
            )
    return found


def _gaps(cells: Mapping[Key, ChosenCell], baseline: str) -> list[Comparison]:
    reference = cells.get((baseline, BASELINE_UPDATE, "master", ALL))
    if reference is None:
        return []
    return [
        Comparison(
            "gap",
            key,
            baseline,
            cell.lr,
            reference.lr,
            paired(cell.scores, reference.scores),
            _lost(cell, reference, cell.diverged, reference.diverged),
            _stuck(cell, reference),
            cell.lr_at_edge or reference.lr_at_edge,
        )
        for key, cell in cells.items()
        if cell is not reference
    ]


def _lost(cell: ChosenCell, reference: ChosenCell, own: frozenset[int], others: frozenset[int]) -> dict[int, int]:
    """Return how many of the two runs of each seed are among those lost."""
    return {seed: (seed in own) + (seed in others) for seed in cell.scores.keys() & reference.scores.keys()}


def _stuck(cell: ChosenCell, reference: ChosenCell) -> dict[int, int] | None:
    """Return how many runs of each seed ended no better than bigrams, where that is known."""
    if cell.stuck is None or reference.stuck is None:
        return None
    return _lost(cell, reference, cell.stuck, reference.stuck)


def _summed(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    return {seed: one[seed] + other[seed] for seed in one.keys() & other.keys()}


def _holm_over_formats(comparisons: list[Comparison], estimates: list[Estimate]) -> list[float]:
    families: dict[tuple[str, ...], list[int]] = {}
    for index, c in enumerate(comparisons):
        families.setdefault((c.estimand, *c.cell[1:]), []).append(index)
    corrected = [float("nan")] * len(comparisons)
    for members in families.values():
        for index, p in zip(members, holm([estimates[i].p_sign_flip for i in members]), strict=True):
            corrected[index] = p
    return corrected


def _place(comparison: Comparison) -> Row:
    return {"estimand": comparison.estimand, **dict(zip(CELL, comparison.cell, strict=True))}


def _row(comparison: Comparison, result: Estimate, p_holm: float, info: StudyInfo) -> Row:
    names = ("n", "mean", "sd", "low", "high", "flip_low", "flip_high", "p_t", "p_sign_flip")
    words, stuck = WORDS[comparison.estimand], comparison.stuck
    learned = [] if stuck is None else [d for seed, d in comparison.differences.items() if not stuck[seed]]
    return {
        **_place(comparison),
        "reference": comparison.reference,
        "lr": comparison.lr,
        "reference_lr": comparison.reference_lr,
        **{name: getattr(result, name) for name in names},
        "p_holm": p_holm,
        "verdict": verdict(result, p_holm, words, info),
        "diverged": sum(comparison.diverged.values()),
        "stuck": math.nan if stuck is None else sum(stuck.values()),
        "learned_n": len(learned),
        "learned_mean": sum(learned) / len(learned) if learned else math.nan,
        "lr_at_edge": comparison.lr_at_edge,
    }
