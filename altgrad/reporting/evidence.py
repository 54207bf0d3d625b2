"""Requirements, and evidence for them: functions from a study's tables to the ids of the runs that show them."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.run_folders import INCLUDED
from altgrad.analysis.run_tables import MISSING
from altgrad.analysis.study_info import from_frame
from altgrad.analysis.tables import Tables

Evidence = Callable[[Tables], set[str]]


@dataclass(frozen=True)
class Requirement:
    """One requirement, or a part of one that is switched on by itself, and what shows it.

    Attributes:
        id: Its number.
        what: What it asks for.
        columns: Where the tables show it.
        evidence: Returns the ids of the runs that the tables show it for.
        tests: Files of the tests that hold it.
        switch: The feature of `StudyInfo.features` without which no run can show it; empty where it is always on.
        part: Which part of the requirement; empty for all of it, or its main part.
    """

    id: str
    what: str
    columns: str
    evidence: Evidence
    tests: tuple[str, ...]
    switch: str = ""
    part: str = ""

    @property
    def name(self) -> str:
        """The number, with the part."""
        return f"{self.id} ({self.part})" if self.part else self.id


def in_tensors(*columns: str) -> Evidence:
    """Return the runs with a value in every one of these columns of the tensors table."""

    def evidence(tables: Tables) -> set[str]:
        tensors = tables["tensors"]
        return set(tensors.loc[tensors[list(columns)].notna().all(axis=1), "run_id"])

    return evidence


def metrics(table: str, *names: str, tensors: str = "") -> Evidence:
    """Return the runs that have a value of every one of these metrics in a table in long form.

    Args:
        table: The table's name.
        names: The metrics.
        tensors: A regular expression; rows of other tensors are no evidence. Empty for any row.
    """

    def evidence(tables: Tables) -> set[str]:
        data: pd.DataFrame = tables[table]
        data = data[data["metric"].isin(names)].dropna()
        if tensors:
            data = data[data["tensor"].str.contains(tensors)]
        return set.intersection(*(set(data.loc[data["metric"] == name, "run_id"]) for name in names))

    return evidence


def rows(table: str) -> Evidence:
    """Return the runs that have a row in a table."""
    return lambda tables: set(tables[table]["run_id"])


def every(*parts: Evidence) -> Evidence:
    """Return the runs that all of this evidence shows."""
    return lambda tables: set.intersection(*(part(tables) for part in parts))


def beside_baseline(tables: Tables) -> set[str]:
    """Return the runs that a loss figure shows over the baseline: all that have curves, where the baseline has."""
    curves, runs = tables["curves"], tables["runs"]
    drawn = set(curves.loc[curves["metric"] == "val_loss", "run_id"])
    return drawn if drawn & set(runs.loc[runs["role"] == "baseline", "run_id"]) else set()


def tuned(tables: Tables) -> set[str]:
    """Return the runs at a learning rate that tuning froze for their cell."""
    runs, tuning = tables["runs"], tables["tuning"]
    done = runs[runs["score"].notna()]
    return set(done.merge(tuning[[*CELL, "lr"]], on=[*CELL, "lr"])["run_id"])


def watched_for_shifts(tables: Tables) -> set[str]:
    """Return the study's runs that ended under a guard that shifts formats: their status says whether it did."""
    runs = tables["runs"]
    if "mantissa_shift" not in from_frame(tables["study"]).features:
        return set()
    return set(runs.loc[(runs["role"] != INCLUDED) & (runs["status"] != MISSING), "run_id"])
