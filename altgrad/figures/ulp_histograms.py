"""How large intended updates are against the grid: histograms in ulps at the last probe (DIAG-04)."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import means_words, steps_words
from altgrad.figures.curves import crowded_words, studied, update_curves
from altgrad.figures.legends import update_legend
from altgrad.figures.panels import GUIDE, format_rows, storage_columns
from altgrad.figures.style import Encoding, FigureSpec, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HALF = -1
"""log2 of half an ulp."""


def make(tables: Tables) -> "Figure":
    """Draw one row a format, one column a storage, one outline an update."""
    encoding, data = Encoding.of(tables), _last(tables)
    if data.empty:
        return empty_figure("No run with every layer in a format has probed its intended updates yet.")
    grid = format_rows(encoding, data, storage_columns(data), share_y="all")
    for panel in grid:
        panel.axes.axvline(HALF, **GUIDE)
        update_curves(panel.axes, encoding, panel.of(data), _outline)
    _axis(grid.first, data)
    grid.label("|intended update| (ulp)", "share of updates")
    update_legend(grid.figure, encoding, data["update"])
    return grid.figure


def caption(tables: Tables) -> str:
    """Say what the dotted line is, and when the probe was."""
    data = _last(tables)
    return (
        f"Intended updates of all weights in the format, in ulps of the weight, by powers of two, at each cell's last"
        f" probe ({steps_words(data['step'])}). Left of the dotted line, at half an ulp, rounding to nearest loses an"
        f" update; masters and stochastic rounding keep it. Updates of exactly 0 are in no bin, and what lies beyond"
        f" the outer bins is in them. Look for how much of an outline lies left of the line under nearest, and whether"
        f" an update moves it to the right. {means_words(data['n'], 'shares')}.{crowded_words(tables)}"
    )


def _last(tables: Tables) -> pd.DataFrame:
    data = studied(tables, "distribution_bands", ["update_ulp"])
    data = data[data["layer_type"] == ALL]
    return data[data["step"] == data.groupby(CELL)["step"].transform("max")]


def _outline(axes: "Axes", encoding: Encoding, rows: pd.DataFrame) -> None:
    """Draw a histogram's outline; a bin without a row is empty."""
    bins = np.arange(rows["bin"].min() - 1, rows["bin"].max() + 2)
    shares = rows.set_index("bin")["share"].reindex(bins, fill_value=0.0)
    style = encoding.curve(rows["update"].iloc[0], len(bins))
    axes.plot(bins + 0.5, shares, drawstyle="steps-mid", **style)


def _axis(axes: "Axes", data: pd.DataFrame) -> None:
    """Label powers of two, half an ulp among them."""
    from matplotlib.ticker import FixedLocator

    low, high = int(data["bin"].min()), int(data["bin"].max()) + 1
    every = max(2, 2 * round((high - low) / 12))
    axes.xaxis.set_major_locator(FixedLocator([k for k in range(low - 1, high + 2) if (k - HALF) % every == 0]))
    axes.xaxis.set_major_formatter(lambda value, _: f"$2^{{{int(value)}}}$")
    axes.set_xlim(low - 1, high + 1)
    axes.set_ylim(bottom=0)


FIGURE = FigureSpec("ulp_histograms", "Intended updates against the grid's spacing", make, caption)
