"""How far weights lie from their format's grid over the run (DIAG-02)."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.curves import storage_rows, studied_bands
from altgrad.figures.style import MUTED, Encoding, FigureSpec, empty_figure, seeds_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNIFORM = 0.25
"""Mean distance in ulps of weights that lie anywhere between the grid's points."""

FARTHEST = 0.5
"""The largest distance in ulps."""


def make(tables: Tables) -> "Figure":
    """Draw one row a format, one column a storage, one line an update."""
    bands = _bands(tables)
    if bands.empty:
        return empty_figure("No run with every layer in a format has probed where its weights lie on the grid yet.")
    figure, rows = storage_rows(Encoding.of(tables), bands)
    for row in rows:
        row[0].set_ylabel("|W - q(W)| (ulp)")
        for axes in row:
            axes.axhline(UNIFORM, color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
    rows[0][0].set_ylim(-0.03, FARTHEST + 0.03)
    rows[0][0].set_yticks([0, UNIFORM, FARTHEST])
    return figure


def caption(tables: Tables) -> str:
    """Say what the dotted line is."""
    return (
        f"Mean distance from weights to their rounded values, in ulps, over the tensors in the format. The dotted line"
        f" at {UNIFORM} is where weights lie anywhere between the grid's points; 0 is on the grid, {FARTHEST} halfway"
        f" between two points. Look for masters that leave the line: training then draws weights to the grid, or away"
        f" from it. Weights stored in the format lie on the grid, unless their scale has moved since. Each cell is at"
        f" its own chosen learning rate; lines are means over the seeds ({seeds_words(_bands(tables)['n'])}), shades"
        f" their range."
    )


def _bands(tables: Tables) -> pd.DataFrame:
    bands = studied_bands(tables, ["grid_alignment_mean"])
    return bands[bands["layer_type"] == ALL]


FIGURE = FigureSpec("grid_alignment", "Distance of weights from the grid over the run", make, caption)
