"""What geometry-aware updates gain over AdamW: a forest plot of the paired benefit, by format and storage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.comparisons import DID_STORAGE
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.analysis.verdicts import NO_VERDICT
from altgrad.figures.captions import seeds_words
from altgrad.figures.panels import side_by_side, storage_title
from altgrad.figures.style import (
    MUTED,
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

SPREAD = 0.62
"""Share of a format's row that its updates are spread over."""

BELOW = 0.13
"""How far under their mean the single seeds stand, in rows."""

MARGIN = 0.35
"""Room beyond the means and single seeds, as a share of their range; longer intervals are cut at the edge."""


def make(tables: Tables) -> "Figure":
    """Draw one column a storage, one row a format, and the difference in differences beside them."""
    encoding = Encoding.of(tables)
    benefits, seeds = _rows(tables, "comparisons"), _rows(tables, "differences")
    benefits = benefits.dropna(subset=["mean"])
    if benefits.empty:
        return empty_figure("No geometry-aware update has an AdamW run of the same format, storage and seed beside it.")
    formats = in_order(benefits["format"], encoding.formats)
    updates = in_order(benefits["update"], encoding.updates)
    columns = in_order(benefits["storage"], [*STORAGE_ORDER, DID_STORAGE])
    row_in = 0.26 + 0.12 * len(updates)
    figure = new_figure(1.25 + row_in * len(formats))
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, storage in zip(panels, columns, strict=True):
        here, single = benefits[benefits["storage"] == storage], seeds[seeds["storage"] == storage]
        for update, offset in side_by_side(updates, SPREAD):
            _points(axes, encoding, here[here["update"] == update], formats, offset)
            _seeds(axes, encoding, single[single["update"] == update], formats, offset)
        _dress(axes, here, single, len(formats))
        axes.set_title("difference in differences\nnearest - master" if storage == DID_STORAGE else _two_lines(storage))
    panels[0].set_yticks(range(len(formats)), [f"{name}\n{encoding.labels[name]}" for name in formats], fontsize=6.5)
    figure.supxlabel("benefit over adamw in nats of validation loss (right of 0: helps)", fontsize=8)
    update_legend(figure, encoding, updates, curves=False)
    return figure


def caption(tables: Tables) -> str:
    """Say what the intervals are."""
    info, benefits = study_of(tables), _rows(tables, "comparisons")
    small = benefits["verdict"].isin(NO_VERDICT)
    least = f"{info.min_seeds} seeds or {info.min_steps} steps"
    hollow = f" Hollow marks have fewer than {least} and carry no verdict." if small.any() else ""
    return (
        f"Benefit: validation loss of adamw minus that of the update, same format and storage, each at its own chosen"
        f" learning rate, paired by seed ({seeds_words(benefits['n'])}). Marks are means, bars {info.confidence:.0%}"
        f" t intervals, not corrected for the number of formats; dots are single seeds. A bar that leaves the picture"
        f" is cut at its edge. The difference in differences takes out what is merely a better optimizer.{hollow}"
    )


def _rows(tables: Tables, name: str) -> pd.DataFrame:
    data = tables[name]
    return data[data["estimand"].isin(["benefit", "did"]) & (data["layers"] == ALL)]


def _two_lines(storage: str) -> str:
    return storage_title(storage).replace(" (", "\n(")


def _points(axes: "Axes", encoding: Encoding, rows: pd.DataFrame, formats: Sequence[str], offset: float) -> None:
    for row in rows.to_dict("records"):
        y, color = formats.index(row["format"]) + offset, encoding.color(row["update"])
        axes.hlines(y, row["low"], row["high"], color=color, linewidth=1.3, zorder=3)
        fill = "white" if row["verdict"] in NO_VERDICT else color
        axes.plot(
            row["mean"],
            y,
            marker=encoding.marker(row["update"]),
            markersize=4.5,
            color=color,
            markerfacecolor=fill,
            linestyle="none",
            zorder=4,
        )


def _seeds(axes: "Axes", encoding: Encoding, rows: pd.DataFrame, formats: Sequence[str], offset: float) -> None:
    y = [formats.index(name) + offset + BELOW for name in rows["format"]]
    color = encoding.color(rows["update"].iloc[0]) if len(rows) else MUTED
    axes.plot(rows["value"], y, marker=".", markersize=3, color=color, alpha=0.7, linestyle="none", zorder=2)


def _dress(axes: "Axes", rows: pd.DataFrame, single: pd.DataFrame, count: int) -> None:
    axes.axvline(0, color="black", linewidth=0.8, zorder=1)
    axes.set_ylim(count - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    for edge in range(1, count):
        axes.axhline(edge - 0.5, color="#E3E3E3", linewidth=0.5, zorder=0)
    values = pd.concat([rows["mean"], single["value"], pd.Series([0.0])])
    low, high = values.min(), values.max()
    pad = MARGIN * (high - low) or 0.01
    axes.set_xlim(low - pad, high + pad)
    axes.locator_params(axis="x", nbins=6)


FIGURE = FigureSpec("benefit", "Benefit of geometry-aware updates by format and storage", make, caption)
