"""Which format is the best, and how sure: by benefit, by the difference in differences, and by loss."""

from collections.abc import Mapping

import pandas as pd

from altgrad.analysis.best import probability_of_best
from altgrad.analysis.cells import ChosenCell, Key
from altgrad.analysis.comparisons import Comparison
from altgrad.analysis.tables import Row, frame

LOSS = "loss"
"""The estimand of the lowest loss, which is another question than that of the largest benefit."""

_Group = tuple[str, str, str, str]
"""Estimand, update, storage and layers: formats are compared within it."""


def best_table(cells: Mapping[Key, ChosenCell], compared: list[Comparison], baseline: str) -> pd.DataFrame:
    """Return each format's bootstrap probability of being the best of its group.

    Args:
        cells: Each cell at its chosen learning rate.
        compared: Every comparison.
        baseline: The baseline's format, which takes no part.
    """
    groups: dict[_Group, dict[str, Mapping[int, float]]] = {}
    for comparison in compared:
        if comparison.estimand in ("benefit", "did"):
            name, *rest = comparison.cell
            groups.setdefault((comparison.estimand, rest[0], rest[1], rest[2]), {})[name] = comparison.differences
    for (name, update, storage, layers), cell in cells.items():
        if name != baseline:
            lower_is_better = {seed: -score for seed, score in cell.scores.items()}
            groups.setdefault((LOSS, update, storage, layers), {})[name] = lower_is_better
    return frame("best", [row for group, scores in groups.items() for row in _rows(group, scores)])


def _rows(group: _Group, scores: Mapping[str, Mapping[int, float]]) -> list[Row]:
    estimand, update, storage, layers = group
    shared = set.intersection(*(set(of_format) for of_format in scores.values()))
    probabilities = probability_of_best(scores)
    sign = -1.0 if estimand == LOSS else 1.0
    return [
        {
            "estimand": estimand,
            "update": update,
            "storage": storage,
            "layers": layers,
            "format": name,
            "n": len(shared),
            "mean": sign * sum(of_format[seed] for seed in shared) / len(shared) if shared else float("nan"),
            "probability": probabilities[name],
        }
        for name, of_format in scores.items()
    ]
