"""What tuning found, as tables: one row a cell, and one a trial."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from altgrad.analysis.tables import Row, frame
from altgrad.errors import MismatchError
from altgrad.schema import TRIALS, TUNING

Choices = Mapping[str, Mapping[str, Any]]
"""Results of tuning by arm, as `altgrad.study.tuned.read_choices` returns them."""

_CELL = ("format", "update", "storage", "layers")


def tuning_table(choices: Choices) -> pd.DataFrame:
    """Return one row for each tuned cell: its frozen learning rate, its basin and the largest stable one."""
    return frame("tuning", [{c.name: choice[c.name] for c in TUNING} for choice in choices.values()])


def trials_table(choices: Choices) -> pd.DataFrame:
    """Return one row for each trial."""
    own = [column.name for column in TRIALS if column.name not in (*_CELL, "chosen")]
    rows: list[Row] = [
        {
            **{name: choice[name] for name in _CELL},
            **{name: trial[name] for name in own},
            "chosen": trial["lr"] == choice["lr"],
        }
        for choice in choices.values()
        for trial in choice["trials"]
    ]
    return frame("trials", rows)


def require_corpus(choices: Choices, fingerprint: str | None) -> None:
    """Refuse learning rates that were tuned on other tokens than the runs'.

    Raises:
        MismatchError: One was.
    """
    for name, choice in choices.items():
        if fingerprint is not None and choice["corpus_fingerprint"] != fingerprint:
            raise MismatchError(name, "it was tuned on other tokens than the corpus given", "Tune it on this corpus")
