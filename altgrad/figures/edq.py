"""How much of the intended descent arrives on the grid (EDQ), over the run."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.curves import storage_rows, studied_bands
from altgrad.figures.style import MUTED, Encoding, FigureSpec, empty_figure, seeds_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make(tables: Tables) -> "Figure":
    """Draw one row a format, one column a storage, one line an update."""
    bands = _bands(tables)
    if bands.empty:
        return empty_figure("No run with every layer in a format has summed up what its updates intended yet.")
    figure, rows = storage_rows(Encoding.of(tables), bands)
    for row in rows:
        row[0].set_ylabel("EDQ")
        for axes in row:
            axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
    low, high = min(0.0, bands["low"].min()), max(1.0, bands["high"].max())
    pad = 0.08 * (high - low)
    rows[0][0].set_ylim(low - pad, high + pad)
    return figure


def caption(tables: Tables) -> str:
    """Say what 1 and 0 mean."""
    return (
        f"Effective descent quality: the product of the intended update and what became of the weights in the format,"
        f" over the intended update's square, summed over all weights in the format and over windows. At 1, the dotted"
        f" line, a step moves the weights as far as was meant; at 0 none of it arrives, and above 1 rounding carries"
        f" weights further. Look for lines that fall away from 1, and for where an update stays nearer to it. Each cell"
        f" is at its own chosen learning rate; lines are means over the seeds ({seeds_words(_bands(tables)['n'])}),"
        f" shades their range."
    )


def _bands(tables: Tables) -> pd.DataFrame:
    bands = studied_bands(tables, ["edq"])
    return bands[bands["layer_type"] == ALL]


FIGURE = FigureSpec("edq", "Effective descent quality over the run", make, caption)
