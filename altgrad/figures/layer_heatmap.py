"""Which format suits which layer type: the loss it costs there, or, without such runs, the updates it loses there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import seeds_words
from altgrad.figures.panels import COLORS, color_bar, name_row_plainly, storage_title
from altgrad.figures.style import (
    MUTED,
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

LOSS_WORDS = "gap to the baseline in nats of validation loss, that layer type alone in the format"
STALL_WORDS = "stall ratio, all layers in the format"


def make(tables: Tables) -> "Figure":
    """Draw one panel an update and storage; rows are layer types, columns formats."""
    encoding, info = Encoding.of(tables), study_of(tables)
    data, words = _values(tables)
    if data.empty:
        return empty_figure("No run has counted anything by layer type yet.")
    formats = in_order(data["format"], encoding.formats)
    kinds = in_order(data["layer_type"], info.layer_types)
    updates = in_order(data["update"], encoding.updates)
    storages = in_order(data["storage"], STORAGE_ORDER)
    figure = new_figure(1.2 + len(updates) * (0.12 + 0.27 * len(kinds)))
    grid = figure.subplots(len(updates), len(storages), sharex=True, sharey=True, squeeze=False)
    limits = (float(data["mean"].min()), float(data["mean"].max()))
    for update, row in zip(updates, grid, strict=True):
        for storage, axes in zip(storages, row, strict=True):
            here = data[(data["update"] == update) & (data["storage"] == storage)]
            _panel(axes, here, kinds, formats, limits)
        name_row_plainly(row[-1], update)
    for axes, storage in zip(grid[0], storages, strict=True):
        axes.set_title(storage_title(storage))
    color_bar(figure, grid[0, 0].images[0], grid.flat, words)
    return figure


def caption(tables: Tables) -> str:
    """Say which of the two is shown."""
    data, words = _values(tables)
    text = (
        f"Shown: {words}. Numbers are means over the seeds ({seeds_words(data['n'])}), each cell at its own chosen"
        f" learning rate; dark is low, and low is good."
    )
    if words == STALL_WORDS:
        return text + " This study has no runs with one layer type alone in a format, so what each costs is not known."
    return text


def _values(tables: Tables) -> tuple[pd.DataFrame, str]:
    """Return format, update, storage, layer_type, n and mean, and what the mean is of."""
    comparisons, info = tables["comparisons"], study_of(tables)
    gaps = comparisons[(comparisons["estimand"] == "gap") & (comparisons["layers"] != ALL)].dropna(subset=["mean"])
    if len(gaps):
        return gaps.assign(layer_type=gaps["layers"]), LOSS_WORDS
    rates = tables["layer_rates"]
    stalls = rates[
        (rates["metric"] == "stall_ratio")
        & (rates["layers"] == ALL)
        & (rates["layer_type"] != ALL)
        & (rates["format"] != info.baseline_format)
    ]
    return stalls, STALL_WORDS


def _panel(
    axes: "Axes", data: pd.DataFrame, kinds: Sequence[str], formats: Sequence[str], limits: tuple[float, float]
) -> None:
    wide = data.pivot(index="layer_type", columns="format", values="mean").reindex(
        index=list(kinds), columns=list(formats)
    )
    values = wide.to_numpy(float)
    low, high = limits
    digits = 2 if high - low >= 0.2 else 3
    axes.imshow(np.ma.masked_invalid(values), cmap=COLORS, vmin=low, vmax=high, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        if np.isnan(value):
            axes.text(x, y, "-", ha="center", va="center", fontsize=6.5, color=MUTED)
        else:
            light = value - low > 0.55 * (high - low)
            ink = "black" if light else "white"
            axes.text(
                x, y, f"{round(value, digits) + 0.0:.{digits}f}", ha="center", va="center", fontsize=6.5, color=ink
            )
    axes.set_xticks(range(len(formats)), formats, rotation=45 if len(formats) > 5 else 0)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


FIGURE = FigureSpec("layer_heatmap", "Formats by layer type", make, caption)
