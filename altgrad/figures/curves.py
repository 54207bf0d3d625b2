"""Lines over a run that several figures share: means over the seeds and their range, by update or by layer type."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.course import course
from altgrad.figures.legends import update_legend
from altgrad.figures.panels import GUIDE, PanelGrid, say_empty, storage_columns
from altgrad.figures.style import (
    CURVE,
    MUTED,
    UPDATE_DASHES,
    Encoding,
    in_order,
    marks_at,
    study_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# https://sronpersonalpages.nl/~pault/, the scheme "muted": safe for color-blind readers, and not the updates' colors.
LAYER_COLORS = ("#332288", "#CC6677", "#117733", "#44AA99", "#882255", "#999933")
LAYER_MARKERS = ("<", "X", "d", "h", "8", "*")

MOST_UPDATES = 5
"""How many updates a panel of curves draws; more could not be told apart."""

DrawBand = Callable[["Axes", pd.DataFrame, dict[str, Any]], None]
DrawUpdate = Callable[["Axes", Encoding, pd.DataFrame], None]


def studied(tables: Tables, name: str, metrics: Iterable[str]) -> pd.DataFrame:
    """Return what is drawn of a table's rows for some metrics, of cells with every layer in a format, no baseline."""
    data = tables[name]
    in_format = (data["layers"] == ALL) & (data["format"] != study_of(tables).baseline_format)
    return first_updates(Encoding.of(tables), data[in_format & data["metric"].isin(list(metrics))])


def first_updates(encoding: Encoding, data: pd.DataFrame) -> pd.DataFrame:
    """Return a table's rows of the first `MOST_UPDATES` updates of each format and storage."""
    place = ["format", "storage"]
    cells = data[[*place, "update"]].drop_duplicates()
    number = cells["update"].map(encoding.updates.index).groupby([cells[column] for column in place]).rank()
    drawn = pd.MultiIndex.from_frame(cells[number <= MOST_UPDATES])
    return data[pd.MultiIndex.from_frame(data[[*place, "update"]]).isin(drawn)]


def crowded_words(tables: Tables) -> str:
    """Return a sentence on which updates are drawn, where panels leave some out."""
    cells = tables["cells"]
    cells = cells[(cells["layers"] == ALL) & (cells["format"] != study_of(tables).baseline_format)]
    if len(first_updates(Encoding.of(tables), cells)) == len(cells):
        return ""
    return f" A panel draws at most {MOST_UPDATES} updates: adamw, the primary one, and the next of the legend."


def studied_bands(tables: Tables, metrics: Iterable[str], *, by_layer: bool = False) -> pd.DataFrame:
    """Return rows of the bands table as `studied` does, with finite means.

    Args:
        tables: The study.
        metrics: The metrics.
        by_layer: Whether to return the rows of single layer types, not those of all layers together.
    """
    bands = studied(tables, "bands", metrics)
    return bands[(bands["mean"].abs() < math.inf) & ((bands["layer_type"] != ALL) == by_layer)]


def band_curve(axes: "Axes", band: pd.DataFrame, style: dict[str, Any]) -> None:
    """Draw one cell's mean against steps, and the range of its seeds as a shade."""
    axes.fill_between(band["step"], band["low"], band["high"], color=style["color"], alpha=0.2, linewidth=0)
    axes.plot(band["step"], band["mean"], **style)


def window_curve(axes: "Axes", band: pd.DataFrame, style: dict[str, Any]) -> None:
    """Draw one cell's mean over windows of steps, each from the end of the one before to its own, and its seeds' range.

    A run from an archive may have a single window, which is all of it.
    """
    steps, rows = [0, *band["step"]], [0, *range(len(band))]
    low, mean, high = (band[column].iloc[rows] for column in ("low", "mean", "high"))
    axes.fill_between(steps, low, high, step="pre", color=style["color"], alpha=0.2, linewidth=0)
    axes.plot(steps, mean, drawstyle="steps-pre", **style)


def update_windows(axes: "Axes", encoding: Encoding, band: pd.DataFrame) -> None:
    """Draw an update's mean over windows of steps, and the range of its seeds as a shade."""
    window_curve(axes, band, encoding.curve(band["update"].iloc[0], len(band)))


def update_band(axes: "Axes", encoding: Encoding, band: pd.DataFrame) -> None:
    """Draw an update's mean against steps, and the range of its seeds as a shade."""
    band_curve(axes, band, encoding.curve(band["update"].iloc[0], len(band)))


def by_update(encoding: Encoding, data: pd.DataFrame) -> list[pd.DataFrame]:
    """Return a panel's rows of each update, in the updates' order."""
    return [data[data["update"] == update] for update in in_order(data["update"], encoding.updates)]


def update_curves(axes: "Axes", encoding: Encoding, data: pd.DataFrame, draw: DrawUpdate = update_band) -> None:
    """Draw a panel's curve for each update, or say that it has no runs.

    Args:
        axes: The panel.
        encoding: What tells updates apart.
        data: The panel's rows of a table.
        draw: Draws one update's rows, at least one.
    """
    for rows in by_update(encoding, data):
        draw(axes, encoding, rows)
    if data.empty:
        say_empty(axes)


def storage_rows(
    encoding: Encoding, bands: pd.DataFrame, label: str, guide: float, draw: DrawUpdate = update_band
) -> PanelGrid:
    """Return the panels of one metric: a column a storage, a line an update, one vertical axis for all.

    Args:
        encoding: What tells updates apart.
        bands: Rows of the bands table, of one metric and layer type; not empty.
        label: The name of the vertical axis.
        guide: A value with a meaning, where a dotted line stands.
        draw: Draws one update's rows over steps.
    """
    found = course(encoding, bands, storage_columns(bands), share_y="all")
    for panel in found.grid:
        update_curves(panel.axes, encoding, panel.of(found.data), draw if found.over_steps else update_band)
        panel.axes.axhline(guide, **GUIDE)
    found.label(label)
    update_legend(found.grid.figure, encoding, bands["update"])
    return found.grid


def layer_types(tables: Tables, bands: pd.DataFrame) -> list[str]:
    """Return the layer types of a figure's bands, in the study's order."""
    return in_order(bands["layer_type"], study_of(tables).layer_types)


def layer_curves(axes: "Axes", kinds: Sequence[str], bands: pd.DataFrame) -> None:
    """Draw a panel's line for each layer type.

    Args:
        axes: The panel.
        kinds: All layer types of the figure: a type's style is the same in every panel.
        bands: Rows of the bands table, of one cell and metric.
    """
    for number, kind in enumerate(kinds):
        band = bands[bands["layer_type"] == kind]
        if len(band):
            every = marks_at(number, len(kinds), len(band))
            band_curve(axes, band, {**_layer_style(number), "markevery": every, **CURVE})


def layer_legend(figure: "Figure", kinds: Sequence[str], mark: tuple[str, str] | None = None) -> None:
    """Put a legend of the layer types above the panels.

    Args:
        figure: The figure.
        kinds: All layer types of the figure.
        mark: Another mark of the figure and what it means.
    """
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **_layer_style(n), markersize=4, label=kind) for n, kind in enumerate(kinds)]
    if mark is not None:
        handles.append(Line2D([], [], color=MUTED, linestyle="none", marker=mark[0], markersize=4, label=mark[1]))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 6), handlelength=3.5)


def layer_color(number: int) -> str:
    """Return the color of a figure's layer type."""
    return LAYER_COLORS[number % len(LAYER_COLORS)]


def _layer_style(number: int) -> dict[str, Any]:
    return {
        "color": layer_color(number),
        "linestyle": UPDATE_DASHES[number % len(UPDATE_DASHES)],
        "marker": LAYER_MARKERS[number % len(LAYER_MARKERS)],
    }
