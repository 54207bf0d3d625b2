"""Where each format fails: in the forward pass, in the optimizer, or by divergence."""

from dataclasses import dataclass

import pandas as pd

from altgrad.analysis.failures import DIVERGENCE, MARKS, NONE
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Row
from altgrad.reporting.page import Page, Source, make_page
from altgrad.reporting.text import Cell, Grid, count, counted, grid, listed, plain, rate, word

FIGURES = ("stall_and_flips", "loss_curves")
STAGES = ("forward", "optimizer", DIVERGENCE, NONE)
RATES = ("overflow_rate", "underflow_rate", "stall_ratio", "update_underflow_rate", "zero_update_rate", "flip_rate")


@dataclass(frozen=True)
class FailureReport:
    """The content of `failure_modes.md`.

    Attributes:
        page: What every report has.
        first: The first failing stage of each cell at its chosen learning rate, with its evidence.
        all_runs: How many runs at any learning rate fail first in which stage.
        rates: The rates that the marks are set on.
        marks: The marks, and why each stands where it does.
    """

    page: Page
    first: Grid
    all_runs: Grid
    rates: Grid
    marks: Grid


def build(source: Source) -> FailureReport:
    """Return the content of the report."""
    return FailureReport(
        page=make_page(source, "Where each format fails", answer(source), FIGURES),
        first=first_grid(source),
        all_runs=all_runs_grid(source),
        rates=rates_grid(source),
        marks=marks_grid(),
    )


def answer(source: Source) -> str:
    """Return, in plain words, which formats fail where at their chosen learning rate."""
    first = _first(source)
    chosen = first[first["chosen"]]
    if chosen.empty:
        return "No run with every layer in a format has ended, so nothing is known about failures."
    failing = chosen[chosen["stage"] != NONE]
    if failing.empty:
        return (
            f"At its chosen learning rate no cell fails: {counted(len(chosen), 'run')}, and none passes a mark or"
            f" diverges."
        )
    parts = []
    for stage, phrase in (
        ("forward", "in the forward pass"),
        ("optimizer", "in the optimizer, where updates are lost"),
        (DIVERGENCE, "by divergence"),
    ):
        where = failing[failing["stage"] == stage]
        names = [
            f"{name} ({listed(sorted(set(where.loc[where['format'] == name, 'storage'])))})"
            for name in source.encoding.formats
            if name in set(where["format"])
        ]
        if names:
            parts.append(f"{listed(names)} {phrase}")
    passed = [name for name in source.encoding.formats if name in set(chosen["format"]) - set(failing["format"])]
    rest = f" Without a failure: {listed(passed)}." if passed else ""
    return f"At their chosen learning rates, some runs fail first as follows: {'; '.join(parts)}.{rest}"


def first_grid(source: Source) -> Grid:
    """Return, for each cell at its chosen learning rate, where its runs fail first."""
    first = _first(source)
    keys = ["format", "update", "storage", "layers", "stage", "layer_type", "metric"]
    groups = first[first["chosen"]].groupby(keys, sort=False, dropna=False)
    found = groups.agg(
        runs=("run_id", "size"),
        lr=("lr", "first"),
        low=("value", "min"),
        high=("value", "max"),
        step=("step", "min"),
        threshold=("threshold", "first"),
    ).reset_index()
    totals = first[first["chosen"]].groupby(keys[:4])["run_id"].size()
    columns = ("format", "storage", "update", "runs", "fails first in", "layer type", "rate", "value", "mark", "step")
    rows = []
    for row in source.ordered(found):
        total = totals[tuple(row[key] for key in keys[:4])]
        rows.append((word(row["format"]), word(row["storage"]), word(row["update"]), *_evidence(row, total)))
    return grid(columns, rows, "No run with every layer in a format has ended.")


def all_runs_grid(source: Source) -> Grid:
    """Return how many runs, at any learning rate, fail first in which stage."""
    first = _first(source)
    groups = first.groupby(["format", "update", "storage"], sort=False)["stage"]
    found = groups.value_counts().unstack(fill_value=0).reindex(columns=list(STAGES), fill_value=0).reset_index()
    columns = ("format", "storage", "update", "runs", "forward", "optimizer", "divergence", "did not fail")
    rows = []
    for row in source.ordered(found):
        numbers = [int(row[stage]) for stage in STAGES]
        names = (word(row["format"]), word(row["storage"]), word(row["update"]))
        rows.append((*names, count(sum(numbers)), *map(count, numbers)))
    return grid(columns, rows, "No run with every layer in a format has ended.")


def rates_grid(source: Source) -> Grid:
    """Return whole-run rates over all layers, means over the seeds at the chosen learning rate."""
    rates = source.tables["layer_rates"]
    whole = rates[(rates["layers"] == ALL) & (rates["layer_type"] == ALL) & rates["metric"].isin(RATES)]
    wide = whole.pivot(index=["format", "update", "storage"], columns="metric", values="mean")
    wide = wide.reindex(columns=list(RATES)).reset_index()
    columns = ("format", "storage", "update", *(name.replace("_rate", "").replace("_", " ") for name in RATES))
    rows = [
        (word(row["format"]), word(row["storage"]), word(row["update"]), *(rate(row[name]) for name in RATES))
        for row in source.ordered(wide)
    ]
    return grid(columns, rows, "No run has counted anything.")


def marks_grid() -> Grid:
    """Return the marks, and why each stands where it does."""
    columns = ("stage", "rate", "mark", "in storages", "why")
    rows = [(word(m.stage), word(m.metric), rate(m.threshold), word(listed(m.storages)), word(m.reason)) for m in MARKS]
    return grid(columns, rows, "")


def _first(source: Source) -> pd.DataFrame:
    failures, baseline = source.tables["failures"], source.info.baseline_format
    return failures[failures["first"] & (failures["layers"] == ALL) & (failures["format"] != baseline)]


def _evidence(row: Row, total: int) -> tuple[Cell, ...]:
    runs = word(f"{row['runs']} of {total}")
    if row["stage"] == NONE:
        return runs, word("did not fail"), word(""), word(""), word(""), word(""), word("")
    if row["stage"] == DIVERGENCE:
        return runs, word(DIVERGENCE), word(""), word("nonfinite"), word(""), word(""), word(row["step"])
    low, high = rate(row["low"]).text, rate(row["high"]).text
    return (
        runs,
        word(row["stage"]),
        word(row["layer_type"]),
        word(row["metric"]),
        word(low if low == high else f"{low} to {high}"),
        word(rate(row["threshold"]).text),
        word(plain(row["step"]).text),
    )
