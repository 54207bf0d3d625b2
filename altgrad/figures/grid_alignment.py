"""How far weights lie from their format's grid over the run (DIAG-02)."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.tables import Tables
from altgrad.figures.captions import means_words
from altgrad.figures.course import course_rows, course_words
from altgrad.figures.curves import crowded_words, storage_rows, studied_bands
from altgrad.figures.style import Encoding, FigureSpec, empty_figure

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
    grid = storage_rows(Encoding.of(tables), bands, "|W - q(W)| (ulp)", guide=UNIFORM)
    grid.first.set_ylim(-0.03, FARTHEST + 0.03)
    grid.first.set_yticks([0, UNIFORM, FARTHEST])
    return grid.figure


def caption(tables: Tables) -> str:
    """Say what the dotted line is."""
    bands = _bands(tables)
    return (
        f"Mean distance from weights to their rounded values, in ulps, over the tensors in the format. The dotted line"
        f" at {UNIFORM} is where weights lie anywhere between the grid's points; 0 is on the grid, {FARTHEST} halfway"
        f" between two points. Look for masters that leave the line: training then draws weights to the grid, or away"
        f" from it. Weights stored in the format lie on the grid, unless their scale has moved since."
        f" {means_words(bands['n'])}, shades their range.{course_words(bands)}{crowded_words(tables)}"
    )


def _bands(tables: Tables) -> pd.DataFrame:
    return course_rows(studied_bands(tables, ["grid_alignment_mean"]))


FIGURE = FigureSpec("grid_alignment", "Distance of weights from the grid over the run", make, caption)
