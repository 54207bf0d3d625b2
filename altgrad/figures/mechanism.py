"""What goes with the loss across cells: how much of the intended descent arrives, or how many updates stall."""

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from altgrad.analysis.tables import Tables
from altgrad.figures.badges import DIGIT_WORDS, badge
from altgrad.figures.captions import seeds_words
from altgrad.figures.legends import update_legend
from altgrad.figures.panels import say_empty
from altgrad.figures.style import Encoding, FigureSpec, empty_figure, new_figure, study_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PREDICTORS = {"edq": "EDQ (effective descent quality)", "stall_ratio": "stall ratio"}
"""Columns of the mechanism table that are drawn against the gap, with the words for their axis."""

GIVEN = {"edq": "EDQ", "stall_ratio": "the stall ratio"}
"""What they are called where they are held fixed."""

ON_GRID = "on the grid"
"""What the mechanism_tests table calls all storages but master."""

LINEAR = 0.01
"""Up to this gap in nats, to both sides of 0, the vertical axis is linear; beyond it is logarithmic."""


def make(tables: Tables) -> "Figure":
    """Draw the gap against EDQ at the left and against the stall ratio at the right, one mark a cell."""
    encoding, data = Encoding.of(tables), _cells(tables)
    if data.empty:
        return empty_figure("No run whose weights stand on the grid has a baseline and counters to compare yet.")
    figure = new_figure(4.2)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (x, words) in zip(panels, PREDICTORS.items(), strict=True):
        known = data.dropna(subset=[x])
        for row in known.to_dict("records"):
            at = (row[x], row["gap"])
            badge(axes, encoding, row["update"], row["format"], at, hollow=row["storage"] != "nearest")
        axes.axhline(0, color="black", linewidth=0.8, zorder=1)
        axes.set_xlabel(words)
        axes.set_title(_title(tables["mechanism_tests"], x))
        if known.empty:
            say_empty(axes, "not counted")
    _gap_axis(panels[0], data["gap"])
    panels[0].set_ylabel(f"gap to {study_of(tables).baseline_format} (nats of validation loss)")
    update_legend(figure, encoding, data["update"], curves=False)
    return figure


def caption(tables: Tables) -> str:
    """Say what EDQ and the correlations are."""
    data = _cells(tables)
    return (
        f"One mark a cell whose weights stand on the grid, at its own chosen learning rate; means over the seeds"
        f" ({seeds_words(data['n'])}); {DIGIT_WORDS}, its color and shape the update; full marks are nearest storage,"
        f" hollow ones stochastic and eco."
        f" Left: EDQ, the share of the intended descent that arrives in the weights. Right: the stall ratio, the share"
        f" of weights with a gradient that do not move. Over the panels stand Spearman's rank correlations with the"
        f" gap, with two-sided permutation p-values; the second line holds the other panel's quantity fixed. The"
        f" vertical axis is linear up to {LINEAR} nats and logarithmic beyond. Look for which of the two orders the"
        f" cells: if descent quality explains the loss, its correlation stays when the stall ratio is held fixed, and"
        f" the other way round it vanishes. No correlation is proof of a cause."
    )


def _cells(tables: Tables) -> pd.DataFrame:
    data = tables["mechanism"]
    data = data[(data["storage"] != "master") & data["gap"].notna()]
    return data.dropna(subset=list(PREDICTORS), how="all")


def _title(tests: pd.DataFrame, x: str) -> str:
    """Return the correlations of a column with the gap, alone and with the other one held fixed."""
    found = tests[(tests["storage"] == ON_GRID) & (tests["x"] == x) & (tests["y"] == "gap")]
    return "\n".join(_words(row) for row in found.sort_values("given").to_dict("records"))


def _words(row: dict[Any, Any]) -> str:
    what = f"given {GIVEN[row['given']]}" if row["given"] else "with the gap"
    if math.isnan(row["rho"]):
        return f"{what}: no correlation ({row['n']} cells)"
    level = "p < 0.001" if row["p"] < 0.001 else f"p = {row['p']:.3f}"
    return f"{what}: rho = {row['rho']:+.2f}, {level}, {row['n']} cells"


def _gap_axis(axes: "Axes", gaps: pd.Series) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_yscale("symlog", linthresh=LINEAR, linscale=0.6)
    low, high = min(0.0, 1.3 * gaps.min()) - 0.3 * LINEAR, max(0.0, 1.3 * gaps.max()) + 0.3 * LINEAR
    axes.set_ylim(low, high)
    ladder = [sign * step * 10.0**power for sign in (-1, 1) for power in range(-2, 3) for step in (1, 3)]
    axes.yaxis.set_major_locator(FixedLocator([0.0, *(x for x in ladder if low <= x <= high)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


FIGURE = FigureSpec("mechanism", "What goes with the loss: descent that arrives, or updates that stall", make, caption)
