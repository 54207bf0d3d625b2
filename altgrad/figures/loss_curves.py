"""Validation loss against steps, each format over the baseline (METR-04)."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.cells import CELL, chosen_runs
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import seeds_words
from altgrad.figures.curves import by_update
from altgrad.figures.panels import format_rows, keep_in_sight, mark_edge, say_empty, storage_columns
from altgrad.figures.style import (
    BAND_COLOR,
    BASELINE_COLOR,
    Encoding,
    FigureSpec,
    empty_figure,
    study_of,
    update_legend,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EARLY = 0.45
"""Share of the steps after which the baseline must be in sight: what comes before would flatten everything else."""


def make(tables: Tables) -> "Figure":
    """Draw one panel a format and storage; the vertical axis is a row's own."""
    encoding, baseline = Encoding.of(tables), study_of(tables).baseline_format
    bands = _bands(tables)
    reference, studied = bands[bands["format"] == baseline], bands[bands["format"] != baseline]
    if studied.empty:
        return empty_figure("No run with every layer in a format has a validation loss yet.")
    runs = _runs(tables)
    seeds = _val_loss(tables["curves"]).merge(runs, on="run_id")
    mine = runs[runs["format"] != baseline]
    grid = format_rows(encoding, mine, storage_columns(mine))
    for panel in grid:
        _baseline(panel.axes, reference)
        for band in by_update(encoding, panel.of(studied)):
            _cell(panel.axes, encoding, band, seeds)
        here = panel.of(mine)
        _diverged(panel.axes, encoding, here)
        if here.empty:
            say_empty(panel.axes)
    for panel in grid.by_format():
        _limit(panel.axes, panel.of(studied), reference)
    grid.label("step", "val. loss (nats)")
    update_legend(grid.figure, encoding, mine["update"], baseline if len(reference) else None, band=True)
    return grid.figure


def caption(tables: Tables) -> str:
    """Say what the lines are."""
    bands, info = _bands(tables), study_of(tables)
    return (
        f"Validation loss through the quantized weights, each cell at its own chosen learning rate. Thick lines are"
        f" means over the seeds ({seeds_words(bands['n'])}) for as long as every seed runs, thin lines single seeds,"
        f" crosses at the upper edge where runs diverged. The grey band is the {info.baseline_format} baseline from its"
        f" smallest to its largest seed, the black line its mean. Each row has its own vertical axis; the first steps"
        f" are cut off."
    )


def _bands(tables: Tables) -> pd.DataFrame:
    bands = _val_loss(tables["bands"])
    return bands[bands["layers"] == ALL]


def _val_loss(data: pd.DataFrame) -> pd.DataFrame:
    return data[data["metric"] == "val_loss"]


def _runs(tables: Tables) -> pd.DataFrame:
    """Return the runs at their cell's chosen learning rate, with every layer in the format."""
    runs = chosen_runs(tables["runs"], tables["cells"])
    return runs.loc[runs["layers"] == ALL, ["run_id", "status", "steps", *CELL]]


def _baseline(axes: "Axes", reference: pd.DataFrame) -> None:
    axes.fill_between(reference["step"], reference["low"], reference["high"], color=BAND_COLOR, linewidth=0, zorder=1)
    axes.plot(reference["step"], reference["mean"], color=BASELINE_COLOR, linewidth=0.9, zorder=2)


def _diverged(axes: "Axes", encoding: Encoding, runs: pd.DataFrame) -> None:
    """Mark where runs diverged, at the upper edge: their last losses may be out of sight, or none."""
    for update, part in runs[runs["status"] == "diverged"].groupby("update"):
        mark_edge(axes, part["steps"], "x", 0.94, color=encoding.color(str(update)), markersize=4.5, zorder=5)


def _cell(axes: "Axes", encoding: Encoding, band: pd.DataFrame, seeds: pd.DataFrame) -> None:
    first = band.iloc[0]
    color = encoding.color(first["update"])
    same = (seeds[CELL] == first[CELL]).all(axis=1)
    for _, run in seeds[same].groupby("run_id", sort=True):
        axes.plot(run["step"], run["value"], color=color, linewidth=0.5, alpha=0.45, zorder=3)
    whole = band[band["complete"]]
    axes.plot(whole["step"], whole["mean"], **encoding.curve(first["update"], len(whole)), zorder=4)


def _limit(axes: "Axes", here: pd.DataFrame, reference: pd.DataFrame) -> None:
    """Keep in sight where every curve of the row ends, and the baseline from `EARLY` on."""
    data = pd.concat([here, reference])
    if data.empty:
        return
    last = data["step"].max()
    ends = data[data["step"] >= last]
    early = data[data["step"] >= EARLY * last]
    low = min(ends["low"].min(), early["low"].min())
    lowest_start = early.groupby(["format", "update", "storage"])["mean"].first().min()
    high = max(ends["high"].max(), lowest_start) if len(ends) else early["high"].max()
    keep_in_sight(axes, low, high)


FIGURE = FigureSpec("loss_curves", "Validation loss of each format over the baseline", make, caption)
