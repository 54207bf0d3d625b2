"""How the loss depends on the learning rate in every cell, and where each cell's best stands."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import seeds_words
from altgrad.figures.curves import update_curves
from altgrad.figures.panels import format_rows, keep_in_sight, mark_edge, storage_columns
from altgrad.figures.style import (
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

BEYOND = 2.5
"""How far the vertical axis reaches: this many times as far above the best as the median is."""


def make(tables: Tables) -> "Figure":
    """Draw one panel a format and storage; the vertical axis is a row's own."""
    encoding, baseline = Encoding.of(tables), study_of(tables).baseline_format
    cells = _cells(tables)
    studied = cells[cells["format"] != baseline]
    if studied.empty or studied["lrs"].max() < 2:
        return empty_figure("Every cell was run at one learning rate only: there is no sweep to show.")
    best = cells[(cells["format"] == baseline) & cells["chosen"]]
    grid = format_rows(encoding, studied, storage_columns(studied))
    for panel in grid:
        for value in best["mean"]:
            panel.axes.axhline(value, color=BASELINE_COLOR, linewidth=0.9, zorder=1)
        update_curves(panel.axes, encoding, panel.of(studied), _line)
    for panel in grid.by_format():
        _limit(panel.axes, pd.concat([panel.of(studied), best]))
        _rates_axis(panel.axes, sorted(studied["lr"].unique()))
    grid.label("learning rate", "val. loss (nats)")
    update_legend(grid.figure, encoding, studied["update"], baseline if len(best) else None)
    return grid.figure


def caption(tables: Tables) -> str:
    """Say what the marks are."""
    cells, info = _cells(tables), study_of(tables)
    if cells["lrs"].max() < 2:
        return f"Every cell was run at one learning rate only ({seeds_words(cells['n'])})."
    edge = int((cells["chosen"] & cells["lr_at_edge"] & (cells["lrs"] > 1)).sum())
    return (
        f"Mean validation loss at the end against the learning rate ({seeds_words(cells['n'])}); a full mark is the"
        f" cell's chosen learning rate, a cross at the upper edge one at which a run diverged, and what is much"
        f" worse than the best leaves the picture. The black line is the best {info.baseline_format} baseline."
        f" In {edge} of {int(cells['chosen'].sum())} cells the best stands at the edge of the learning rates that were"
        f" run: a better one may lie beyond."
    )


def _cells(tables: Tables) -> pd.DataFrame:
    cells = tables["cells"]
    return cells[cells["layers"] == ALL]


def _line(axes: "Axes", encoding: Encoding, cell: pd.DataFrame) -> None:
    first = cell.iloc[0]
    color, marker = encoding.color(first["update"]), encoding.marker(first["update"])
    gone = (cell["diverged"] > 0) & ~cell["chosen"]
    stable = cell[~gone]
    mark_edge(axes, cell.loc[gone, "lr"], "x", 0.96, color=color, markersize=4, zorder=3)
    axes.plot(
        stable["lr"], stable["mean"], color=color, linestyle=encoding.dashes(first["update"]), linewidth=1.1, zorder=2
    )
    for chosen, part in stable.groupby("chosen"):
        axes.plot(
            part["lr"],
            part["mean"],
            linestyle="none",
            marker=marker,
            markersize=5.0 if chosen else 3.5,
            markerfacecolor=color if chosen else "white",
            markeredgecolor=color,
            zorder=4 if chosen else 3,
        )


def _rates_axis(axes: "Axes", lrs: list[float]) -> None:
    """Mark the learning rates that were run, every other one where they are many."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    shown = lrs[:: 1 + len(lrs) // 6]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _limit(axes: "Axes", cells: pd.DataFrame) -> None:
    """Let the better half of the learning rates decide the axis, so that a bad one does not flatten the others."""
    low, high, middle = cells["mean"].min(), cells["mean"].max(), cells["mean"].median()
    high = min(high, max(low + BEYOND * (middle - low), cells.loc[cells["chosen"], "mean"].max()))
    keep_in_sight(axes, low, high, room=0.12)


FIGURE = FigureSpec("lr_sweep", "Validation loss against the learning rate", make, caption)
