"""Where every format ends: validation loss at the chosen learning rate, by update and storage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.cells import chosen_runs
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import seeds_words
from altgrad.figures.panels import keep_in_sight, side_by_side, storage_title
from altgrad.figures.style import (
    BAND_COLOR,
    BASELINE_COLOR,
    STORAGE_ORDER,
    Encoding,
    FigureSpec,
    empty_figure,
    in_order,
    new_figure,
    study_of,
    update_legend,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPREAD = 0.55


def make(tables: Tables) -> "Figure":
    """Draw one panel a storage, one group of marks a format."""
    encoding, baseline = Encoding.of(tables), study_of(tables).baseline_format
    cells, runs = _chosen(tables)
    studied = cells[cells["format"] != baseline]
    reference = runs[runs["format"] == baseline]
    if studied.empty:
        return empty_figure("No run with every layer in a format has ended yet.")
    formats = in_order(studied["format"], encoding.formats)
    updates = in_order(studied["update"], encoding.updates)
    storages = in_order(studied["storage"], STORAGE_ORDER)
    figure = new_figure(0.9 + 1.75 * len(storages))
    panels = figure.subplots(len(storages), 1, sharex=True, squeeze=False)[:, 0]
    for axes, storage in zip(panels, storages, strict=True):
        if len(reference):
            axes.axhspan(reference["score"].min(), reference["score"].max(), color=BAND_COLOR, linewidth=0, zorder=1)
            axes.axhline(reference["score"].mean(), color=BASELINE_COLOR, linewidth=0.9, zorder=2)
        for update, offset in side_by_side(updates, SPREAD):
            here = studied[(studied["storage"] == storage) & (studied["update"] == update)]
            single = runs[(runs["storage"] == storage) & (runs["update"] == update) & (runs["format"] != baseline)]
            _marks(axes, encoding, update, here, single, formats, offset)
        _limit(axes, pd.concat([runs.loc[runs["storage"] == storage, "score"], reference["score"]]))
        axes.set_title(storage_title(storage), loc="left")
        axes.set_ylabel("val. loss (nats)")
        axes.grid(axis="x", visible=False)
        axes.set_xlim(-0.6, len(formats) - 0.4)
    panels[-1].set_xticks(range(len(formats)), [_tick(encoding, name) for name in formats])
    update_legend(figure, encoding, updates, baseline if len(reference) else None, band=True, curves=False)
    return figure


def caption(tables: Tables) -> str:
    """Say what the marks are."""
    cells, _ = _chosen(tables)
    info = study_of(tables)
    return (
        f"Validation loss at the end, each cell at its own chosen learning rate. Marks are means with their"
        f" {info.confidence:.0%} t interval ({seeds_words(cells['n'])}), dots single seeds, crosses diverged runs,"
        f" which score ln(vocabulary size). The band is the {info.baseline_format} baseline from its smallest to its"
        f" largest seed, the black line its mean. The learning rate was chosen on the seeds that are shown. Each panel"
        f" has its own vertical axis; an interval that leaves it is cut."
    )


def _chosen(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the chosen cells with every layer in the format, and their runs."""
    cells = tables["cells"]
    cells = cells[cells["chosen"] & (cells["layers"] == ALL)]
    return cells, chosen_runs(tables["runs"], cells)


def _limit(axes: "Axes", scores: pd.Series) -> None:
    """Let single seeds decide the axis: with two of them an interval is thirteen times as wide as they lie apart."""
    low, high = scores.min(), scores.max()
    keep_in_sight(axes, low, high, room=0.12)


def _tick(encoding: Encoding, name: str) -> str:
    return name + "\n" + encoding.labels[name].replace(", ", "\n")


def _marks(
    axes: "Axes",
    encoding: Encoding,
    update: str,
    cells: pd.DataFrame,
    runs: pd.DataFrame,
    formats: Sequence[str],
    offset: float,
) -> None:
    color = encoding.color(update)
    x = [formats.index(name) + offset for name in cells["format"]]
    axes.vlines(x, cells["low"], cells["high"], color=color, linewidth=1.0, alpha=0.8, zorder=3)
    axes.plot(x, cells["mean"], marker=encoding.marker(update), markersize=4.5, color=color, linestyle="none", zorder=5)
    for diverged, mark, size in ((False, ".", 3.0), (True, "x", 4.5)):
        part = runs[(runs["status"] == "diverged") == diverged]
        places = [formats.index(name) + offset + 0.055 for name in part["format"]]
        axes.plot(
            places, part["score"], marker=mark, markersize=size, color=color, alpha=0.7, linestyle="none", zorder=4
        )


FIGURE = FigureSpec("loss_by_format", "Validation loss of each format, update and storage", make, caption)
