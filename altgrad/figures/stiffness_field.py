"""How coarse the grid is at the weights over the run: the stiffness field (DIAG-01) as heat maps."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import seeds_words, shown_words
from altgrad.figures.curves import studied
from altgrad.figures.panels import COLORS, Column, color_bar, format_rows, fullest, say_empty
from altgrad.figures.style import STORAGE_ORDER, Encoding, FigureSpec, empty_figure, in_order, study_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

COLUMNS = 5
"""How many layer types the width holds."""

FLOOR = 1e-3
"""The smallest share that is drawn."""


def make(tables: Tables) -> "Figure":
    """Draw one row a format, one column a layer type, of one update and storage."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    encoding, data = Encoding.of(tables), _cell(tables)
    data = data[data["share"] >= FLOOR]
    if data.empty:
        return empty_figure("No run with every layer in a format has probed the grid's spacing at its weights yet.")
    kinds = in_order(data["layer_type"], [ALL, *study_of(tables).layer_types])[:COLUMNS]
    grid = format_rows(encoding, data, [Column(kind, {"layer_type": kind}) for kind in kinds], share_y="all")
    norm = LogNorm(FLOOR, 1.0)
    for panel in grid:
        here = panel.of(data)
        panel.axes.grid(visible=False)
        if here.empty:
            say_empty(panel.axes)
        else:
            _mesh(panel.axes, here, norm)
    grid.first.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    grid.label("step", "log2 S")
    color_bar(grid.figure, ScalarMappable(norm, COLORS), (panel.axes for panel in grid), "share of weights")
    return grid.figure


def caption(tables: Tables) -> str:
    """Say which cell is shown, and what a rung of the color is."""
    data = _cell(tables)
    return (
        f"Stiffness S of a weight: the distance between the format's values around it, at the tensor's scale. Color is"
        f" the share of weights whose S is in a binade, on a logarithmic scale; white is less than {FLOOR:.1%}. A"
        f" uniform grid has one row, a format with more exponent bits spreads over many. Look for bands that climb:"
        f" weights grow into coarser parts of the grid, and the same update moves them less. Look for layer types that"
        f" stand apart, too.{shown_words(data, 'update', 'storage')} Each format is at its own chosen learning rate;"
        f" shares are means over the seeds ({seeds_words(data['n'])})."
    )


def _cell(tables: Tables) -> pd.DataFrame:
    """Return the histograms of the storage, and then the update, that the most formats have."""
    data = studied(tables, "distribution_bands", ["stiffness"])
    for column, order in (("storage", STORAGE_ORDER), ("update", Encoding.of(tables).updates)):
        if len(data):
            data = data[data[column] == fullest(data, column, order)]
    return data


def _mesh(axes: "Axes", rows: pd.DataFrame, norm: "LogNorm") -> None:
    wide = rows.pivot(index="bin", columns="step", values="share")
    bins = np.arange(wide.index.min(), wide.index.max() + 1)
    shares = wide.reindex(bins).to_numpy(float)
    levels = np.append(bins, bins[-1] + 1)
    # As a picture inside the SVG: thousands of small vector cells would be slow to show.
    axes.pcolormesh(
        _edges(wide.columns.to_numpy(float)),
        levels,
        np.ma.masked_invalid(shares),
        cmap=COLORS,
        norm=norm,
        rasterized=True,
    )


def _edges(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where probes' columns begin and end: halfway to their neighbours."""
    if len(steps) == 1:
        return np.array([0.5 * steps[0], 1.5 * steps[0]])
    middle = (steps[1:] + steps[:-1]) / 2
    return np.concatenate([[2 * steps[0] - middle[0]], middle, [2 * steps[-1] - middle[-1]]])


FIGURE = FigureSpec("stiffness_field", "Stiffness of the weights over the run", make, caption)
