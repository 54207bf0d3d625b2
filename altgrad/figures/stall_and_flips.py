"""How many updates are lost, and how many weights move, over the run: stored in the format against masters."""

import math
from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.curves import band_curve, studied_bands
from altgrad.figures.panels import STORAGES, format_rows, label_first, say_empty
from altgrad.figures.style import (
    Encoding,
    FigureSpec,
    empty_figure,
    in_order,
    seeds_words,
    update_legend,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = {"stall_ratio": "stall ratio", "flip_rate": "flip rate"}
FLOOR = 1e-6
"""The lowest that the flip rate's axis reaches: one weight in a million."""


def make(tables: Tables) -> "Figure":
    """Draw one row a format; stall ratios at the left, flip rates at the right."""
    encoding = Encoding.of(tables)
    bands = _bands(tables)
    if bands.empty:
        return empty_figure("No run with every layer in a format has counted flips yet.")
    formats = in_order(bands["format"], encoding.formats)
    storages = [s for s in STORAGES if s in set(bands["storage"])][:2]
    columns = [(metric, storage) for metric in METRICS for storage in storages]
    titles = [f"{METRICS[metric]}, {storage}" for metric, storage in columns]
    figure, rows = format_rows(encoding, formats, titles, share_y="col")
    for name, row in zip(formats, rows, strict=True):
        for axes, (metric, storage) in zip(row, columns, strict=True):
            same = (bands["format"] == name) & (bands["metric"] == metric) & (bands["storage"] == storage)
            for update in in_order(bands.loc[same, "update"], encoding.updates):
                _line(axes, encoding, bands[same & (bands["update"] == update)])
            if not same.any():
                say_empty(axes)
    label_first(rows, len(storages))
    for axes, (metric, _) in zip(rows[0], columns, strict=True):
        if metric == "stall_ratio":
            axes.set_ylim(-0.05, 1.05)
        else:
            axes.set_yscale("log")
            axes.set_ylim(_floor(bands.loc[bands["metric"] == metric, "mean"]), 1.5)
    for axes in rows[-1]:
        axes.set_xlabel("step")
    update_legend(figure, encoding, bands["update"])
    return figure


def caption(tables: Tables) -> str:
    """Say what the rates mean in each storage."""
    bands = _bands(tables)
    return (
        f"Counted in every step over all weights in the format and summed over windows, each cell at its own chosen"
        f" learning rate; lines are means over the seeds ({seeds_words(bands['n'])}), shades their range."
        f" Stall ratio: the share of weights with a nonzero gradient whose code did not change. With masters a stall is"
        f" only one of the view: the master keeps the update. Under nearest the update is lost. Flip rate: the share of"
        f" all weights whose code changed, on a logarithmic axis; 0 is not drawn."
    )


def _floor(rates: pd.Series) -> float:
    """Return the power of ten under the smallest rate that is not 0, and not under `FLOOR`."""
    positive = rates[rates > 0]
    return max(FLOOR, 10.0 ** math.floor(math.log10(positive.min()))) if len(positive) else FLOOR


def _bands(tables: Tables) -> pd.DataFrame:
    bands = studied_bands(tables, METRICS)
    return bands[(bands["layer_type"] == ALL) & bands["storage"].isin(STORAGES)]


def _line(axes: "Axes", encoding: Encoding, band: pd.DataFrame) -> None:
    first = band.iloc[0]
    drawn = band[(band["mean"] > 0) | (first["metric"] != "flip_rate")]
    band_curve(axes, drawn, encoding.curve(first["update"], len(drawn)))


FIGURE = FigureSpec("stall_and_flips", "Stalled updates and flipped codes over the run", make, caption)
