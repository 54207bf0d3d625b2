"""How something went over the run, a row a format; or, where runs have one step each, in a single row over the formats.

Runs from an archive have the last of their probes, and one window of counters that spans the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.figures.panels import HEAD_IN, Column, Panel, PanelGrid, format_rows
from altgrad.figures.style import Encoding, new_figure

ROW_IN = 1.9
"""Height in inches of the single row."""

CURVE = [*CELL, "layer_type", "metric"]
"""Columns of the bands table that tell curves apart."""


@dataclass(frozen=True)
class Course:
    """Panels and what they show.

    Attributes:
        grid: The panels.
        data: The rows of a table that belong in them; `step` is what stands on the horizontal axis.
        over_steps: Whether that is a step; else it is the place of a format, by falling mantissa bits.
    """

    grid: PanelGrid
    data: pd.DataFrame
    over_steps: bool

    def label(self, *y: str) -> None:
        """Name the axes, the vertical ones as `PanelGrid.label` does."""
        self.grid.label("step" if self.over_steps else "format", *y)


def has_steps(data: pd.DataFrame) -> bool:
    """Return whether most curves of a table go on over steps: some may be of runs from an archive."""
    return bool(data.assign(goes_on=_goes_on(data)).groupby(CURVE)["goes_on"].first().mean() > 0.5)


def course_rows(data: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the bands table that a course draws: all, or one a curve where runs have one step each.

    That is the mean over the seeds of what each run has, wherever it ended; of a curve that goes on, its last step.

    Args:
        data: Rows of the bands table.
    """
    if data.empty or has_steps(data):
        return data
    ends = data[~_goes_on(data) | (data["step"] == data.groupby(CURVE)["step"].transform("max"))]
    curves = ends.assign(mean=ends["mean"] * ends["n"]).groupby(CURVE, sort=False)
    rows = curves.agg(
        step=("step", "max"),
        n=("n", "sum"),
        mean=("mean", "sum"),
        low=("low", "min"),
        high=("high", "max"),
        complete=("complete", "any"),
    ).reset_index()
    return rows.assign(mean=rows["mean"] / rows["n"])


def _goes_on(data: pd.DataFrame) -> "pd.Series[bool]":
    """Return for each row whether its curve has several steps that a run has in common.

    Runs with one step each have different ones where some diverged, and then no step has all the seeds.
    """
    curves = data.groupby(CURVE)
    return (curves["step"].transform("nunique") > 1) & curves["complete"].transform("any")


def course_words(data: pd.DataFrame) -> str:
    """Return a sentence on the horizontal axis, for a caption; nothing where it has the steps."""
    if data.empty or has_steps(data):
        return ""
    return " Each run has a single step here, its last or all of it: formats stand in place of steps."


def course(encoding: Encoding, data: pd.DataFrame, columns: Sequence[Column], *, share_y: str = "col") -> Course:
    """Return the panels of a course.

    Args:
        encoding: For the formats' order and labels.
        data: Rows of the bands table, from `course_rows`; not empty.
        columns: The columns, from the left.
        share_y: `col` or `all`: which panels have the same vertical axis.
    """
    if has_steps(data):
        return Course(format_rows(encoding, data, columns, share_y=share_y), data, over_steps=True)
    formats = encoding.finest_first(data["format"])
    figure = new_figure(HEAD_IN + ROW_IN)
    row = figure.subplots(1, len(columns), sharex=True, sharey=share_y == "all", squeeze=False)[0]
    for axes, column in zip(row, columns, strict=True):
        axes.set_title(column.title)
        axes.set_xticks(range(len(formats)), formats, rotation=90)
    placed = data.assign(step=data["format"].map(formats.index)).sort_values("step", kind="stable")
    grid = PanelGrid(figure, [[Panel(axes, column.place) for axes, column in zip(row, columns, strict=True)]])
    return Course(grid, placed, over_steps=False)


def metric_course(encoding: Encoding, data: pd.DataFrame, columns: Sequence[Column]) -> Course:
    """Return a course in which only the first column of a metric has numbers at its vertical axis.

    Columns of a metric must be given the same limits, see `PanelGrid.by_metric`.
    """
    found = course(encoding, data, columns)
    for row in found.grid.rows:
        for left, panel in pairwise(row):
            if panel.place["metric"] == left.place["metric"]:
                panel.axes.tick_params(labelleft=False)
    return found
