"""Where every format ends, and who is nearest to the baseline: validation loss by mantissa bits, update and storage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from altgrad.analysis.cells import chosen_runs
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import bigram_words, seeds_words
from altgrad.figures.legends import update_legend
from altgrad.figures.limits import leading, led_range, mark_beyond
from altgrad.figures.panels import bigram_line, keep_in_sight, mark_edge, side_by_side, storage_words
from altgrad.figures.style import (
    BAND_COLOR,
    BASELINE_COLOR,
    CURVE,
    PRIMARY_CURVE,
    STORAGE_ORDER,
    Encoding,
    FigureSpec,
    empty_figure,
    in_order,
    new_figure,
    study_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPREAD = 0.55
"""Share of a format's place that its updates are spread over."""

BEYOND = 8.0
"""How far the updates that set the vertical axis move it: this many times as far above the lowest as the median is."""


def make(tables: Tables) -> "Figure":
    """Draw one panel a storage, one line an update through the formats by falling mantissa bits."""
    encoding, baseline = Encoding.of(tables), study_of(tables).baseline_format
    cells, runs = _chosen(tables)
    studied, reference = cells[cells["format"] != baseline], cells[cells["format"] == baseline]
    if studied.empty:
        return empty_figure("No run with every layer in a format has ended yet.")
    formats = encoding.finest_first(studied["format"])
    updates = in_order(studied["update"], encoding.updates)
    storages = in_order(studied["storage"], STORAGE_ORDER)
    figure = new_figure(0.9 + 1.75 * len(storages))
    panels = figure.subplots(len(storages), 1, sharex=True, squeeze=False)[:, 0]
    for axes, storage in zip(panels, storages, strict=True):
        here = studied[studied["storage"] == storage]
        single = runs[(runs["storage"] == storage) & (runs["format"] != baseline)]
        _reference(axes, reference)
        bigram_line(axes, study_of(tables))
        for update, offset in side_by_side(updates, SPREAD):
            _line(axes, encoding, here[here["update"] == update], formats, offset)
            _seeds(axes, encoding, single[single["update"] == update], formats, offset)
        _limit(axes, encoding, here, single[~_lost(single)], reference["mean"])
        beside = dict(side_by_side(updates, SPREAD))
        for name, update, mean in here[["format", "update", "mean"]].itertuples(index=False, name=None):
            mark_beyond(axes, formats.index(name) + beside[update], mean, encoding.color(update))
        axes.set_title(storage_words(storage), loc="left")
        axes.set_ylabel("val. loss (nats)")
        axes.grid(axis="x", visible=False)
        axes.set_xlim(-0.6, len(formats) - 0.4)
    panels[-1].set_xlabel("format, by falling mantissa bits")
    panels[-1].set_xticks(range(len(formats)), [_tick(encoding, name) for name in formats])
    update_legend(figure, encoding, updates, baseline if len(reference) else None, band=True)
    return figure


def caption(tables: Tables) -> str:
    """Say what the marks are."""
    cells, _ = _chosen(tables)
    info = study_of(tables)
    reported = "" if cells["tuned"].all() else " Where rates were listed, they were chosen on the seeds that are shown."
    return (
        f"Validation loss at the end, each cell at its own chosen learning rate; formats stand by falling mantissa"
        f" bits. Marks are means with their {info.confidence:.0%} t interval ({seeds_words(cells['n'])}), dots single"
        f" seeds, crosses at the upper edge diverged runs, which score ln(vocabulary size). The band is the"
        f" {info.baseline_format} baseline's interval, the black line its mean. Look for the marks nearest to it. Seeds"
        f" move all cells alike, so that gaps paired by seed are surer than these intervals look. Each"
        f" panel has its own vertical axis, set by adamw and the primary update and only modestly widened by others: a"
        f" mean beyond it is written beside an arrow at its edge, an interval or a seed that leaves it is"
        f" cut.{bigram_words(info)}{reported}"
    )


def _chosen(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the chosen cells with every layer in the format, and their runs."""
    cells = tables["cells"]
    cells = cells[cells["chosen"] & (cells["layers"] == ALL)]
    return cells, chosen_runs(tables["runs"], cells)


def _lost(runs: pd.DataFrame) -> "pd.Series[bool]":
    return runs["status"] == "diverged"


def _reference(axes: "Axes", reference: pd.DataFrame) -> None:
    for row in reference.to_dict("records"):
        if np.isfinite([row["low"], row["high"]]).all():
            axes.axhspan(row["low"], row["high"], color=BAND_COLOR, linewidth=0, zorder=1)
        axes.axhline(row["mean"], color=BASELINE_COLOR, linewidth=0.9, zorder=2)


def _line(axes: "Axes", encoding: Encoding, cells: pd.DataFrame, formats: Sequence[str], offset: float) -> None:
    """Draw an update's means and intervals, and a line through them."""
    if cells.empty:
        return
    update = cells["update"].iloc[0]
    cells = cells.set_index("format").reindex([name for name in formats if name in set(cells["format"])])
    x, color = [formats.index(name) + offset for name in cells.index], encoding.color(update)
    width = (PRIMARY_CURVE if update == encoding.primary else CURVE)["linewidth"]
    axes.vlines(x, cells["low"], cells["high"], color=color, linewidth=width, zorder=4)
    axes.plot(x, cells["mean"], color=color, linestyle=encoding.dashes(update), linewidth=0.5 * width, zorder=3)
    axes.plot(x, cells["mean"], marker=encoding.marker(update), markersize=4.5, color=color, linestyle="none", zorder=5)


def _seeds(axes: "Axes", encoding: Encoding, runs: pd.DataFrame, formats: Sequence[str], offset: float) -> None:
    if runs.empty:
        return
    color = encoding.color(runs["update"].iloc[0])
    x = np.array([formats.index(name) + offset for name in runs["format"]])
    lost = _lost(runs).to_numpy(bool)
    axes.plot(x[~lost], runs.loc[~lost, "score"], ".", markersize=2.5, color=color, alpha=0.35, zorder=2)
    mark_edge(axes, pd.Series(x[lost]), "x", 0.96, color=color, markersize=4.5, zorder=4)


def _limit(
    axes: "Axes", encoding: Encoding, cells: pd.DataFrame, runs: pd.DataFrame, reference: "pd.Series[float]"
) -> None:
    """Keep means and single seeds in sight, but let no update and no format that failed flatten the others."""
    first, own = leading(encoding, cells), leading(encoding, runs)
    means, seeds = pd.concat([cells.loc[first, "mean"], reference]), runs.loc[own, "score"]
    low, high = min([*means, *seeds]), max([*means, *seeds])
    high = min(high, max(low + BEYOND * (means.median() - low), means.min()))
    others = [*cells.loc[~first, "mean"], *runs.loc[~own, "score"]]
    keep_in_sight(axes, *led_range([low, high], others), room=0.12)


def _tick(encoding: Encoding, name: str) -> str:
    return name + "\n" + encoding.labels[name].replace(", ", "\n")


FIGURE = FigureSpec("loss_by_format", "Validation loss by format: who is nearest to the baseline", make, caption)
