"""How many updates are lost, and how many weights move, over the run: stored in the format against masters."""

import math
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.tables import Tables
from altgrad.figures.captions import seeds_words
from altgrad.figures.course import course_rows, course_words, metric_course
from altgrad.figures.curves import DrawBand, band_curve, crowded_words, studied_bands, update_curves, window_curve
from altgrad.figures.legends import update_legend
from altgrad.figures.panels import in_first_storages, metric_columns
from altgrad.figures.style import Encoding, FigureSpec, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = {"stall_ratio": "stall ratio", "flip_rate": "flip rate"}
FLOOR = 1e-6
"""The lowest that the flip rate's axis reaches: one weight in a million."""


def make(tables: Tables) -> "Figure":
    """Draw one row a format; stall ratios at the left, flip rates at the right."""
    encoding, bands = Encoding.of(tables), _bands(tables)
    if bands.empty:
        return empty_figure("No run with every layer in a format has counted flips yet.")
    found = metric_course(encoding, bands, metric_columns(METRICS, bands))
    line = partial(_line, draw=window_curve if found.over_steps else band_curve)
    for panel in found.grid:
        update_curves(panel.axes, encoding, panel.of(found.data), line)
    for panel in found.grid.by_metric():
        if panel.place["metric"] == "stall_ratio":
            panel.axes.set_ylim(-0.05, 1.05)
        else:
            panel.axes.set_yscale("log")
            panel.axes.set_ylim(_floor(panel.of(bands)["mean"]), 1.5)
    found.label()
    update_legend(found.grid.figure, encoding, bands["update"])
    return found.grid.figure


def caption(tables: Tables) -> str:
    """Say what the rates mean in each storage."""
    bands = _bands(tables)
    return (
        f"Counted in every step over all weights in the format and summed over windows, each cell at its own chosen"
        f" learning rate; lines are means over the seeds ({seeds_words(bands['n'])}), shades their range."
        f" Stall ratio: the share of weights with a nonzero gradient whose code did not change. With masters a stall is"
        f" only one of the view: the master keeps the update. Under nearest the update is lost. Flip rate: the share of"
        f" all weights whose code changed, on a logarithmic axis; 0 is not drawn.{course_words(bands)}"
        f"{crowded_words(tables)}"
    )


def _floor(rates: pd.Series) -> float:
    """Return the power of ten under the smallest rate that is not 0, and not under `FLOOR`."""
    positive = rates[rates > 0]
    return max(FLOOR, 10.0 ** math.floor(math.log10(positive.min()))) if len(positive) else FLOOR


def _bands(tables: Tables) -> pd.DataFrame:
    return course_rows(in_first_storages(studied_bands(tables, METRICS)))


def _line(axes: "Axes", encoding: Encoding, band: pd.DataFrame, draw: DrawBand) -> None:
    first = band.iloc[0]
    shown = (band["mean"] > 0) | (first["metric"] != "flip_rate")
    draw(axes, band.assign(mean=band["mean"].where(shown)), encoding.curve(first["update"], len(band)))


FIGURE = FigureSpec("stall_and_flips", "Stalled updates and flipped codes over the run", make, caption)
