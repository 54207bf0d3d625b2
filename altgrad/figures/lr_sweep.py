"""How the loss depends on the learning rate in every cell, and where each cell's best stands."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.panels import format_rows, say_empty, storage_title
from altgrad.figures.style import (
    BASELINE_COLOR,
    STORAGE_ORDER,
    Encoding,
    FigureSpec,
    empty_figure,
    in_order,
    seeds_words,
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
    formats = in_order(studied["format"], encoding.formats)
    storages = in_order(studied["storage"], STORAGE_ORDER)
    figure, rows = format_rows(encoding, formats, [storage_title(s) for s in storages])
    for name, row in zip(formats, rows, strict=True):
        here = studied[studied["format"] == name]
        for axes, storage in zip(row, storages, strict=True):
            for value in best["mean"]:
                axes.axhline(value, color=BASELINE_COLOR, linewidth=0.9, zorder=1)
            cell = here[here["storage"] == storage]
            for update in in_order(cell["update"], encoding.updates):
                _line(axes, encoding, cell[cell["update"] == update])
            if cell.empty:
                say_empty(axes)
        _limit(row[0], pd.concat([here, best]))
        _rates_axis(row[0], sorted(studied["lr"].unique()))
        row[0].set_ylabel("val. loss (nats)")
    for axes in rows[-1]:
        axes.set_xlabel("learning rate")
    update_legend(figure, encoding, studied["update"], baseline if len(best) else None)
    return figure


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
    at_edge = axes.get_xaxis_transform()
    axes.plot(cell.loc[gone, "lr"], [0.96] * gone.sum(), "x", color=color, markersize=4, transform=at_edge, zorder=3)
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
    pad = 0.12 * (high - low) or 0.1
    axes.set_ylim(low - pad, high + pad)


FIGURE = FigureSpec("lr_sweep", "Validation loss against the learning rate", make, caption)
