"""Every combination of the study, its status, and the requirements that its runs trace to."""

from collections.abc import Iterable, Mapping

import pandas as pd

from altgrad.analysis.run_folders import INCLUDED
from altgrad.analysis.run_tables import MISSING
from altgrad.reporting.document import Answer, Paragraph, Report, Section
from altgrad.reporting.page import make_report
from altgrad.reporting.requirements import REQUIREMENTS, switched_off, traced
from altgrad.reporting.source import Source
from altgrad.reporting.text import Cell, Grid, count, counted, grid, learning_rate, listed, nats, word

OFF = "not switched on in this study"
"""What stands in place of the runs of a requirement whose feature is off."""

STATUSES = ("finished", "diverged", "shifted", MISSING)

CELL = ["role", "format", "update", "storage", "layers", "lr", "comparable_or_missing"]


def build(source: Source) -> Report:
    """Return the content of the report."""
    shown = traced(source.tables)
    how = (
        "Finished, diverged and missing are numbers of runs, with their seeds. A requirement is listed where the tables"
        " show it for every run of the row that has ended."
    )
    sections = [
        Section("Combinations", (Paragraph(how), matrix_grid(source, shown))),
        Section("Requirements", (requirements_grid(source, shown),)),
    ]
    return make_report(source, "Test matrix", answer(source, shown), sections)


def answer(source: Source, shown: Mapping[str, set[str]]) -> Answer:
    """Return, in plain words, how much of the matrix is there."""
    runs = source.tables["runs"]
    planned = runs[runs["role"] != INCLUDED]
    status = planned["status"].value_counts()
    ended = len(planned) - int(status.get(MISSING, 0))
    off = switched_off(shown, source.info.features)
    unshown = [name for name, ids in shown.items() if not ids and name not in off]
    lacking = f" No run shows {listed(unshown)}." if unshown else " Every requirement is shown by runs."
    if off:
        lacking += f" {OFF.capitalize()}: {listed(off)}."
    shifted = f", {int(status['shifted'])} after a shift of formats" if "shifted" in status else ""
    cells = len(planned.drop_duplicates(["format", "update", "storage", "layers", "lr"]))
    diverged, missing = (int(status.get(name, 0)) for name in ("diverged", MISSING))
    return Answer(
        f"The study plans {counted(len(planned), 'run')} in {counted(cells, 'combination')} of format, update, storage,"
        f" layers and learning rate; {ended} have ended, {diverged} of them by divergence{shifted}, and {missing} are"
        f" missing.{lacking}"
    )


def matrix_grid(source: Source, shown: Mapping[str, set[str]]) -> Grid:
    """Return one row a combination, its seeds by status, and the requirements that its runs show."""
    runs = source.tables["runs"]
    runs = runs.assign(comparable_or_missing=runs["comparable"] | (runs["status"] == MISSING))
    rows = []
    for key, group in runs.groupby(CELL, sort=False):
        place = dict(zip(CELL, key, strict=True))
        seeds = {str(status): part["seed"] for status, part in group.groupby("status", sort=False)}
        ended = group[group["status"] != MISSING]
        apart = "" if place["comparable_or_missing"] else ", not compared"
        rows.append(
            (
                word(place["format"]),
                word(place["update"]),
                word(place["storage"]),
                word(place["layers"]),
                learning_rate(float(group["lr"].iloc[0])),
                word(f"{place['role']}{apart}"),
                word(_status(group["status"])),
                *(_seeds(seeds.get(status)) for status in STATUSES),
                nats(float(ended["score"].mean()) if len(ended) else float("nan")),
                word(_requirements(ended["run_id"], shown)),
            )
        )
    columns = (
        "format",
        "update",
        "storage",
        "layers",
        "lr",
        "role",
        "status",
        *STATUSES,
        "loss",
    )
    return grid((*columns, "requirements"), rows, "The study plans no run.")


def requirements_grid(source: Source, shown: Mapping[str, set[str]]) -> Grid:
    """Return one row a requirement: where the tables show it, for how many runs, and what tests it."""
    off = switched_off(shown, source.info.features)
    columns = ("requirement", "asks for", "shown by", "runs", "tested by")
    rows = [
        (
            word(r.name),
            word(r.what),
            word(r.columns),
            word(OFF) if r.name in off else count(len(shown[r.name])),
            word(", ".join(r.tests)),
        )
        for r in REQUIREMENTS
    ]
    return grid(columns, rows, "")


def _seeds(seeds: "pd.Series[int] | None") -> Cell:
    """Return how many seeds, and which."""
    if seeds is None:
        return Cell("0", 0)
    return Cell(f"{len(seeds)} ({_ranges(sorted(seeds))})", len(seeds))


def _status(statuses: "pd.Series[str]") -> str:
    """Return what became of a combination's runs, in a word."""
    missing = int((statuses == MISSING).sum())
    if missing:
        return "missing" if missing == len(statuses) else "incomplete"
    return "diverged" if (statuses == "diverged").all() else "done"


def _ranges(numbers: Iterable[int]) -> str:
    """Return rising numbers with runs of neighbors joined.

    Example:
        >>> _ranges([1, 2, 3, 7])
        '1-3, 7'
    """
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def _requirements(run_ids: Iterable[str], shown: Mapping[str, set[str]]) -> str:
    """Return the requirements that all of these runs show, by family."""
    ids = set(run_ids)
    families: dict[str, list[str]] = {}
    for name, runs in shown.items():
        if ids and ids <= runs:
            family, _, number = name.partition("-")
            families.setdefault(family, []).append(number)
    return "; ".join("-".join(filter(None, (f, "/".join(numbers)))) for f, numbers in families.items()) or "none"
