"""Cells of the grid: what each scored at each learning rate, and which learning rate is its own best.

A cell is a format, an update, a storage and a choice of layers. Where its learning rates are listed by hand, the chosen
one is chosen on the seeds that are also reported, so its mean is a little better than fresh seeds would give: reports
say so. Tuned cells have a rate from seeds that are never evaluated.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from altgrad.analysis.binomial import binomial_interval
from altgrad.analysis.estimates import estimate
from altgrad.analysis.study_info import StudyInfo
from altgrad.analysis.tables import Row, frame, records

Key = tuple[str, str, str, str]
"""A cell: format, update, storage, layers."""

CELL = ["format", "update", "storage", "layers"]


@dataclass(frozen=True)
class ChosenCell:
    """A cell at its chosen learning rate.

    Attributes:
        lr: The chosen learning rate.
        scores: Score in nats by seed.
        diverged: The seeds whose runs diverged.
        stuck: The seeds whose runs ended no better than bigrams; None where that is not known.
        lr_at_edge: Whether the learning rate is the lowest or highest that was run, and a better one may lie beyond.
    """

    lr: float
    scores: Mapping[int, float]
    diverged: frozenset[int]
    stuck: frozenset[int] | None
    lr_at_edge: bool


def scored_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that enter comparisons: those that ended, on the study's model, training and corpus."""
    return runs[runs["comparable"] & runs["score"].notna()]


NEAR_BIGRAMS = 0.99
"""A run whose score is above this times the loss of bigrams ended no better than they do; so did one that diverged."""


def cells_table(runs: pd.DataFrame, tuning: pd.DataFrame, info: StudyInfo) -> pd.DataFrame:
    """Return every cell at every learning rate, with its mean score and interval.

    The learning rate of a tuned cell is the one that tuning chose on other seeds. Of others, rates are judged on the
    seeds that all of the cell's have, so that a run more or less at one of them decides nothing; where they share no
    seed, on their own seeds, among those with the most. The chosen one has the fewest diverged runs there, of equals
    the lowest mean score, of equals the lowest rate.

    Args:
        runs: The runs table.
        tuning: The tuning table.
        info: The study, which says the intervals' confidence, and what bigrams lose.
    """
    tuned: dict[object, Row] = {cell_key(row): row for row in records(tuning)}
    rows: list[Row] = []
    for key, group in scored_runs(runs).groupby(CELL, sort=False):
        trials = [_trial(trial, info) for _, trial in group.groupby("lr", sort=True)]
        found = tuned.get(key)
        frozen = found is not None and any(trial["lr"] == found["lr"] for trial in trials)
        lr = found["lr"] if found is not None and frozen else _chosen_lr(group)
        for trial in trials:
            place = {
                "chosen": trial["lr"] == lr,
                "lrs": found["lrs"] if found is not None and frozen else len(trials),
                "lr_at_edge": found["lr_at_edge"] if found is not None and frozen else _is_end(trial, trials),
                "tuned": frozen,
            }
            rows.append({**dict(zip(CELL, key, strict=True)), **trial, **place})
    return frame("cells", rows)


def _is_end(trial: Row, trials: list[Row]) -> bool:
    return trial is trials[0] or trial is trials[-1]


def chosen_runs(runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs table that are at their cell's chosen learning rate."""
    chosen = cells.loc[cells["chosen"], [*CELL, "lr"]]
    return scored_runs(runs).merge(chosen, on=[*CELL, "lr"])


def chosen_cells(runs: pd.DataFrame, cells: pd.DataFrame, info: StudyInfo) -> dict[Key, ChosenCell]:
    """Return each cell at its chosen learning rate."""
    limit = stuck_above(info)
    by_cell = {key: group for key, group in chosen_runs(runs, cells).groupby(CELL, sort=False)}
    found: dict[Key, ChosenCell] = {}
    for row in records(cells[cells["chosen"]]):
        key = cell_key(row)
        group = by_cell[key]
        scores = {int(seed): float(value) for seed, value in zip(group["seed"], group["score"], strict=True)}
        diverged = frozenset(int(seed) for seed in group.loc[_diverged(group), "seed"])
        stuck = None if limit is None else frozenset(seed for seed, value in scores.items() if value > limit)
        found[key] = ChosenCell(row["lr"], scores, diverged, stuck, row["lr_at_edge"])
    return found


def stuck_above(info: StudyInfo) -> float | None:
    """Return the score in nats above which a run ended no better than bigrams; None where that is not known."""
    return None if info.bigram_loss is None else NEAR_BIGRAMS * info.bigram_loss


def cell_key(row: Row) -> Key:
    """Return the cell that a row of a table belongs to."""
    return (row["format"], row["update"], row["storage"], row["layers"])


def _chosen_lr(runs: pd.DataFrame) -> float:
    """Return the chosen learning rate of one cell's runs."""
    trials = {float(trial["lr"].iloc[0]): trial for _, trial in runs.groupby("lr", sort=True)}
    shared = set.intersection(*(set(trial["seed"]) for trial in trials.values()))
    if shared:
        judged = {lr: trial[trial["seed"].isin(shared)] for lr, trial in trials.items()}
    else:
        most = max(map(len, trials.values()))
        judged = {lr: trial for lr, trial in trials.items() if len(trial) == most}
    return min(judged, key=lambda lr: (int(_diverged(judged[lr]).sum()), float(judged[lr]["score"].mean()), lr))


def _diverged(runs: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which runs diverged: they have no finite loss, or say so."""
    lost: NDArray[np.bool_] = ~np.isfinite(runs["val_loss"].to_numpy(float))
    lost |= (runs["status"] == "diverged").to_numpy(bool)
    return lost


def _trial(runs: pd.DataFrame, info: StudyInfo) -> Row:
    """Return one learning rate of a cell."""
    result = estimate(runs["score"].to_numpy(float), info.confidence)
    limit = stuck_above(info)
    stuck = math.nan if limit is None else int((runs["score"] > limit).sum())
    ends = (math.nan, math.nan) if limit is None else binomial_interval(int(stuck), len(runs), info.confidence)
    names = ("n", "mean", "sd", "low", "high")
    diverged = int(_diverged(runs).sum())
    low, high = binomial_interval(diverged, len(runs), info.confidence)
    return {
        "lr": float(runs["lr"].iloc[0]),
        **{name: getattr(result, name) for name in names},
        "diverged": diverged,
        "diverged_low": low,
        "diverged_high": high,
        "stuck": stuck,
        "stuck_low": ends[0],
        "stuck_high": ends[1],
    }
