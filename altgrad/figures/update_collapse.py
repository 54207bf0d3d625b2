"""Whether the loss depends on the update in ulps alone: tuning curves of all formats over each other."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.tables import Tables
from altgrad.figures.badges import DIGIT_WORDS, badge
from altgrad.figures.captions import seeds_words
from altgrad.figures.legends import update_legend
from altgrad.figures.panels import GUIDE, log_axis, storage_words
from altgrad.figures.style import STORAGE_ORDER, Encoding, FigureSpec, empty_figure, in_order, new_figure, study_of
from altgrad.figures.trials import trial_means, whole_trials
from altgrad.study.grid import BASELINE_UPDATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {"lr": "learning rate", "update_ulps": "median intended update (ulps)"}
"""Columns that the excess loss is drawn against, with the words for their axis."""

HALF = 0.5
"""Half an ulp, in ulps: what rounding to nearest loses is smaller."""

TOP = 1.0
"""The largest excess loss in nats that the axis reaches."""

STRIPS = {True: -0.08, False: -0.18}
"""How high the marks of the primary update stand, and those of adamw, as shares of the axis above 0."""


def make(tables: Tables) -> "Figure":
    """Draw one row a storage: against the learning rate at the left, against the update in ulps at the right."""
    encoding, data = Encoding.of(tables), _excess(tables)
    if data.empty:
        return empty_figure("No cell's learning rate was tuned with probes of its updates.")
    storages = in_order(data["storage"], STORAGE_ORDER)
    figure = new_figure(0.8 + 1.9 * len(storages))
    grid = figure.subplots(len(storages), 2, sharex="col", sharey="row", squeeze=False)
    for row, storage in zip(grid, storages, strict=True):
        here = data[data["storage"] == storage]
        top = min(TOP, here["excess"].max()) or TOP
        for axes, x in zip(row, AXES, strict=True):
            for _, cell in here.groupby(CELL, sort=False):
                _curve(axes, encoding, cell.sort_values(x), x, top)
        row[1].axvline(HALF, **GUIDE)
        row[0].set_ylim(min(STRIPS.values()) * top * 1.4, 1.05 * top)
        row[0].set_title(storage_words(storage), loc="left")
        row[0].set_ylabel("loss above best (nats)")
    for axes, (x, words) in zip(grid[-1], AXES.items(), strict=True):
        log_axis(axes, data[x])
        axes.set_xlabel(words)
    update_legend(figure, encoding, data["update"])
    return figure


def caption(tables: Tables) -> str:
    """Say what a collapse would mean."""
    data = _excess(tables)
    return (
        f"Mean score of the trials of tuning minus that of the cell's best rate ({seeds_words(data['n'])} a rate), one"
        f" line a cell of adamw or the primary update. Marks under 0 stand at each cell's best, and where they coincide"
        f" they cover each other; {DIGIT_WORDS}. Left: against the learning rate. Right: against the median intended"
        f" update in ulps, as a mean over tensors and probes; the dotted line is half an ulp, under which rounding to"
        f" nearest loses an update. Look for curves of all formats that lie apart at the left and over each other at"
        f" the right: the size of an update on the grid then decides, and the format only sets the unit."
        f"{_spread_words(data)} Where the number for the right is not the smaller one, they do not come together. The"
        f" axis ends at most {TOP:g} nats above the best; rates at which a trial diverged and"
        f" updates of 0 are not drawn."
    )


def _spread_words(data: pd.DataFrame) -> str:
    """Return how far the best points of a storage's cells lie apart on both axes, in octaves."""
    told = []
    for storage in in_order(data["storage"], STORAGE_ORDER):
        here = data[data["storage"] == storage]
        best = here.loc[here.groupby(CELL)["excess"].idxmin()]
        if len(best) > 1:
            lr, ulps = (np.log2(best[x].max() / best[x].min()) for x in AXES)
            told.append(f"{storage} {lr:.1f} octaves at the left and {ulps:.1f} at the right")
    return f" From the lowest best to the highest it is, under {'; under '.join(told)}." if told else ""


def _excess(tables: Tables) -> pd.DataFrame:
    """Return each learning rate's mean score above the best of its cell, for the cells and rates that are drawn."""
    encoding = Encoding.of(tables)
    data = trial_means(whole_trials(tables))
    studied = data["update"].isin([BASELINE_UPDATE, encoding.primary])
    studied &= data["format"] != study_of(tables).baseline_format
    data = data[studied & (data["diverged"] == 0) & (data["update_ulps"] > 0)]
    return data.assign(excess=data["mean"] - data.groupby(CELL)["mean"].transform("min"))


def _curve(axes: "Axes", encoding: Encoding, cell: pd.DataFrame, x: str, top: float) -> None:
    """Draw a cell's excess loss, and under it a mark where its best stands."""
    update, name = cell["update"].iloc[0], cell["format"].iloc[0]
    axes.plot(cell[x], cell["excess"], **{**encoding.curve(update, len(cell)), "marker": "none", "alpha": 0.8})
    best = float(cell[x].iloc[int(cell["excess"].to_numpy().argmin())])
    badge(axes, encoding, update, name, (best, STRIPS[update == encoding.primary] * top))


FIGURE = FigureSpec("update_collapse", "Loss against the size of an update on the grid", make, caption)
