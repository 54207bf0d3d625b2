"""Ranks of the weights over the run by layer type (RANK-01, RANK-02), and where their early warning came (RANK-03)."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.cells import CELL, chosen_runs
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import means_words, shown_words
from altgrad.figures.course import course_rows, course_words, has_steps, metric_course
from altgrad.figures.curves import layer_color, layer_curves, layer_legend, layer_types, studied_bands
from altgrad.figures.panels import Column, fullest, mark_edge, say_empty
from altgrad.figures.style import STORAGE_ORDER, Encoding, FigureSpec, empty_figure, in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = {"stable_rank": "stable rank", "effective_rank": "effective rank", "entropy_rank": "entropy rank"}

UPDATES = 2
"""How many updates are drawn; six columns are what the width holds."""

TOP, APART, ROOM = 0.95, 0.06, 0.4
"""How high the first layer type's marks stand, how far under them the next, and their share of the curves' height."""

LOWEST = 0.7
"""Where the vertical axis begins, as a share of the smallest rank: a loss of 30 % warns."""


def make(tables: Tables) -> "Figure":
    """Draw one row a format; a column a rank and update, of one storage; one line a layer type."""
    encoding, bands = Encoding.of(tables), _bands(tables)
    if bands.empty:
        return empty_figure("No run with every layer in a format has probed the ranks of its weights yet.")
    kinds, updates = layer_types(tables, bands), in_order(bands["update"], encoding.updates)
    columns = [
        Column(f"{words}\n{update}", {"metric": metric, "update": update})
        for metric, words in METRICS.items()
        for update in updates
    ]
    found, marks = metric_course(encoding, bands, columns), _warnings(tables, bands)
    grid = found.grid
    for panel in grid:
        here = panel.of(found.data)
        layer_curves(panel.axes, kinds, here)
        _mark(panel.axes, kinds, panel.of(marks))
        if here.empty:
            say_empty(panel.axes)
    for panel in grid.by_metric():
        same = panel.of(bands)
        low, high = LOWEST * same["low"].min(), same["high"].max()
        panel.axes.set_ylim(low, high + ROOM * (high - low))
    for panel in grid.rows[-1] if found.over_steps else ():
        panel.axes.locator_params(axis="x", nbins=2)
    found.label("rank")
    layer_legend(grid.figure, kinds, ("v", "early warning") if len(marks) else None)
    return grid.figure


def caption(tables: Tables) -> str:
    """Say what the ranks and the triangles are."""
    bands = _bands(tables)
    triangles = (
        "Triangles at the upper edge, a height a layer type, stand where a weight's trend first warned of collapse"
        if len(_warnings(tables, bands))
        else "No weight's trend warned of collapse"
        if has_steps(bands)
        else "Warnings of collapse stand among the events"
    )
    return (
        f"Stable rank: squared Frobenius over squared spectral norm. Effective rank: singular values that hold 99% of"
        f" the squared norm. Entropy rank: the exponential of the singular values' entropy. All are means over a layer"
        f" type's tensors. {triangles}; the entropy rank is not watched. Look for lines that go on falling after"
        f" warm-up, and for an update that holds them up.{shown_words(bands, 'storage')}"
        f" {means_words(bands['n'])}, shades their range.{course_words(bands)}"
    )


def _bands(tables: Tables) -> pd.DataFrame:
    """Return the ranks of the storage that the most formats have, and of its first updates."""
    bands = studied_bands(tables, METRICS, by_layer=True)
    if bands.empty:
        return bands
    bands = bands[bands["storage"] == fullest(bands, "storage", STORAGE_ORDER)]
    first = in_order(bands["update"], Encoding.of(tables).updates)[:UPDATES]
    return course_rows(bands[bands["update"].isin(first)])


def _warnings(tables: Tables, bands: pd.DataFrame) -> pd.DataFrame:
    """Return the warnings of the runs behind the bands, if steps are drawn, with their cell and the rank warned of."""
    runs = chosen_runs(tables["runs"], tables["cells"])[["run_id", *CELL]].merge(bands[CELL].drop_duplicates())
    events = tables["events"]
    found = events[events["event"] == "rank_warning"].merge(runs, on="run_id")
    found = found if has_steps(bands) else found.iloc[:0]
    return found.assign(metric=[json.loads(detail)["metric"] for detail in found["detail"]])


def _mark(axes: "Axes", kinds: Sequence[str], warned: pd.DataFrame) -> None:
    for number, kind in enumerate(kinds):
        steps = warned.loc[warned["layer_type"] == kind, "step"]
        if len(steps):
            mark_edge(axes, steps, "v", TOP - APART * number, color=layer_color(number), markersize=3.5, zorder=5)


FIGURE = FigureSpec("rank_trends", "Ranks of the weights over the run", make, caption)
