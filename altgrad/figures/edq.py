"""How much of the intended descent arrives on the grid (EDQ), over the run."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.tables import Tables
from altgrad.figures.captions import means_words
from altgrad.figures.course import course_rows, course_words
from altgrad.figures.curves import crowded_words, storage_rows, studied_bands, update_windows
from altgrad.figures.limits import leading, led_range
from altgrad.figures.panels import keep_in_sight
from altgrad.figures.style import Encoding, FigureSpec, empty_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make(tables: Tables) -> "Figure":
    """Draw one row a format, one column a storage, one line an update."""
    encoding, bands = Encoding.of(tables), _bands(tables)
    if bands.empty:
        return empty_figure("No run with every layer in a format has summed up what its updates intended yet.")
    grid = storage_rows(encoding, bands, "EDQ", guide=1, draw=update_windows)
    first = leading(encoding, bands)
    inside = [0.0, 1.0, *bands.loc[first, "low"], *bands.loc[first, "high"]]
    keep_in_sight(grid.first, *led_range(inside, bands.loc[~first, "mean"]))
    return grid.figure


def caption(tables: Tables) -> str:
    """Say what 1 and 0 mean."""
    bands = _bands(tables)
    return (
        f"Effective descent quality: the product of the intended update and what became of the weights in the format,"
        f" over the intended update's square, summed over all weights in the format and over windows. At 1, the dotted"
        f" line, a step moves the weights as far as was meant; at 0 none of it arrives, and above 1 rounding carries"
        f" weights further. Look for lines that fall away from 1, and for where an update stays nearer to it."
        f" {means_words(bands['n'])}, shades their range; what leaves the picture is cut.{course_words(bands)}"
        f"{crowded_words(tables)}"
    )


def _bands(tables: Tables) -> pd.DataFrame:
    return course_rows(studied_bands(tables, ["edq"]))


FIGURE = FigureSpec("edq", "Effective descent quality over the run", make, caption)
