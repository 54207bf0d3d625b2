"""Which format is the best, and how sure: by benefit, by the difference in differences, and by loss."""

from collections.abc import Mapping

import pandas as pd

from altgrad.analysis.best import probability_of_best
from altgrad.analysis.cells import ChosenCell, Key
from altgrad.analysis.comparisons import Comparison
from altgrad.analysis.study_info import StudyInfo
from altgrad.analysis.tables import Row, frame

LOSS = "loss"
"""The estimand of the lowest loss, which is another question than that of the largest benefit."""

_Group = tuple[str, str, str, str]
"""Estimand, update, storage and layers: formats are compared within it."""


def best_table(cells: Mapping[Key, ChosenCell], compared: list[Comparison], info: StudyInfo) -> pd.DataFrame:
    """Return each format's bootstrap probability of being the best of its group.

    A format with fewer seeds than a verdict asks for takes no part where others have enough: it would leave them with
    its own few. It is listed, without a probability.

    Args:
        cells: Each cell at its chosen learning rate.
        compared: Every comparison.
        info: The study; its baseline's format takes no part either.
    """
    groups: dict[_Group, dict[str, Mapping[int, float]]] = {}
    for comparison in compared:
        if comparison.estimand in ("benefit", "did"):
            name, *rest = comparison.cell
            groups.setdefault((comparison.estimand, rest[0], rest[1], rest[2]), {})[name] = comparison.differences
    for (name, update, storage, layers), cell in cells.items():
        if name != info.baseline_format:
            lower_is_better = {seed: -score for seed, score in cell.scores.items()}
            groups.setdefault((LOSS, update, storage, layers), {})[name] = lower_is_better
    return frame("best", [row for group, scores in groups.items() for row in _rows(group, scores, info.min_seeds)])


def _rows(group: _Group, scores: Mapping[str, Mapping[int, float]], min_seeds: int) -> list[Row]:
    estimand, update, storage, layers = group
    enough = {name: of_format for name, of_format in scores.items() if len(of_format) >= min_seeds} or scores
    shared = set.intersection(*(set(of_format) for of_format in enough.values()))
    probabilities = probability_of_best(enough)
    sign = -1.0 if estimand == LOSS else 1.0
    return [
        {
            "estimand": estimand,
            "update": update,
            "storage": storage,
            "layers": layers,
            "format": name,
            "n": len(used := shared if name in enough else set(of_format)),
            "mean": sign * sum(of_format[seed] for seed in used) / len(used) if used else float("nan"),
            "probability": probabilities.get(name, float("nan")),
        }
        for name, of_format in scores.items()
    ]
