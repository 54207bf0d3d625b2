"""Lines over a run that several figures share: means over the seeds and their range, by update or by layer type."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.panels import format_rows, say_empty, storage_title
from altgrad.figures.style import (
    MUTED,
    STORAGE_ORDER,
    UPDATE_DASHES,
    Encoding,
    in_order,
    marks_at,
    study_of,
    update_legend,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# https://sronpersonalpages.nl/~pault/, the scheme "muted": safe for color-blind readers, and not the updates' colors.
LAYER_COLORS = ("#332288", "#CC6677", "#117733", "#44AA99", "#882255", "#999933")
LAYER_MARKERS = ("<", "X", "d", "h", ">", "*")


def studied(tables: Tables, name: str) -> pd.DataFrame:
    """Return a table's rows of cells with every layer in a format, the baseline left out."""
    data = tables[name]
    return data[(data["layers"] == ALL) & (data["format"] != study_of(tables).baseline_format)]


def studied_bands(tables: Tables, metrics: Iterable[str]) -> pd.DataFrame:
    """Return rows of the bands table for some metrics, with finite means, as `studied` does."""
    bands = studied(tables, "bands")
    finite = bands["mean"].abs() < math.inf
    return bands[bands["metric"].isin(list(metrics)) & finite]


def band_curve(axes: "Axes", band: pd.DataFrame, style: dict[str, Any]) -> None:
    """Draw one cell's mean against steps, and the range of its seeds as a shade."""
    axes.fill_between(band["step"], band["low"], band["high"], color=style["color"], alpha=0.2, linewidth=0)
    axes.plot(band["step"], band["mean"], **style, linewidth=1.1, markersize=3.0)


def storage_rows(encoding: Encoding, bands: pd.DataFrame) -> tuple["Figure", list[list["Axes"]]]:
    """Return a figure of one metric: a row a format, a column a storage, a line an update, one vertical axis for all.

    Args:
        encoding: What tells updates apart.
        bands: Rows of the bands table, of one metric and layer type; not empty.
    """
    formats = in_order(bands["format"], encoding.formats)
    storages = in_order(bands["storage"], STORAGE_ORDER)
    figure, rows = format_rows(encoding, formats, [storage_title(s) for s in storages], share_y="all")
    for name, row in zip(formats, rows, strict=True):
        for axes, storage in zip(row, storages, strict=True):
            update_curves(axes, encoding, bands[(bands["format"] == name) & (bands["storage"] == storage)])
    for axes in rows[-1]:
        axes.set_xlabel("step")
    update_legend(figure, encoding, bands["update"])
    return figure, rows


def update_curves(axes: "Axes", encoding: Encoding, bands: pd.DataFrame) -> None:
    """Draw a panel's line for each update."""
    for update in in_order(bands["update"], encoding.updates):
        band = bands[bands["update"] == update]
        band_curve(axes, band, encoding.curve(update, len(band)))
    if bands.empty:
        say_empty(axes)


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
            band_curve(axes, band, {**_layer_style(number), "markevery": marks_at(number, len(kinds), len(band))})


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
