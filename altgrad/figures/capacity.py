"""How much of a format its weights use over the run: codes that occur, and the entropy of their histogram (DIAG-07)."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.tables import Tables
from altgrad.figures.captions import means_words
from altgrad.figures.course import course_rows, course_words, metric_course
from altgrad.figures.curves import crowded_words, studied_bands, update_curves
from altgrad.figures.legends import update_legend
from altgrad.figures.panels import in_first_storages, metric_columns
from altgrad.figures.style import Encoding, FigureSpec, empty_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = {"codes_used_fraction": "codes used", "code_entropy_bits": "code entropy"}
LABELS = {"codes_used_fraction": "share of codes", "code_entropy_bits": "bits"}
LIMITS = {"codes_used_fraction": 1.0, "code_entropy_bits": 8.0}
"""Where the axes end: every code, and the bits of a code."""


def make(tables: Tables) -> "Figure":
    """Draw one row a format; codes used at the left, their entropy at the right."""
    encoding, bands = Encoding.of(tables), _bands(tables)
    if bands.empty:
        return empty_figure("No run with every layer in a format has probed which codes its weights use yet.")
    found = metric_course(encoding, bands, metric_columns(METRICS, bands))
    for panel in found.grid:
        update_curves(panel.axes, encoding, panel.of(found.data))
    for panel in found.grid.by_metric():
        top = max(LIMITS[panel.place["metric"]], panel.of(bands)["high"].max())
        panel.axes.set_ylim(-0.05 * top, 1.05 * top)
    found.label(*LABELS.values())
    update_legend(found.grid.figure, encoding, bands["update"])
    return found.grid.figure


def caption(tables: Tables) -> str:
    """Say what full use would be."""
    bands = _bands(tables)
    return (
        f"Left: the share of a format's finite codes that occur among a tensor's weights. Right: the entropy of the"
        f" histogram of codes, of 8 bits in an 8-bit format; both are means over the tensors in the format. Look for"
        f" formats that leave most of their bits unused, and for lines that fall: weights then gather on fewer codes."
        f" {means_words(bands['n'])}, shades their range.{course_words(bands)}{crowded_words(tables)}"
    )


def _bands(tables: Tables) -> pd.DataFrame:
    return course_rows(in_first_storages(studied_bands(tables, METRICS)))


FIGURE = FigureSpec("capacity", "Codes in use over the run", make, caption)
