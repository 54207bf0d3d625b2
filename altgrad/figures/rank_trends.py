"""Ranks of the weights over the run by layer type (RANK-01, RANK-02), and where their early warning came (RANK-03)."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.cells import CELL, chosen_runs
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.curves import layer_color, layer_curves, layer_legend, layer_types, studied_bands
from altgrad.figures.panels import format_rows, fullest, label_first, say_empty
from altgrad.figures.style import STORAGE_ORDER, Encoding, FigureSpec, empty_figure, in_order, seeds_words

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
    formats, kinds = in_order(bands["format"], encoding.formats), layer_types(tables, bands)
    updates = in_order(bands["update"], encoding.updates)
    columns = [(metric, update) for metric in METRICS for update in updates]
    titles = [f"{METRICS[metric]}\n{update}" for metric, update in columns]
    figure, rows = format_rows(encoding, formats, titles, share_y="col")
    marks = _warnings(tables, bands)
    for name, row in zip(formats, rows, strict=True):
        for axes, (metric, update) in zip(row, columns, strict=True):
            here, warned = (_panel(data, name, metric, update) for data in (bands, marks))
            layer_curves(axes, kinds, here)
            _mark(axes, kinds, warned)
            if here.empty:
                say_empty(axes)
        row[0].set_ylabel("rank")
    label_first(rows, len(updates))
    for axes, (metric, _) in zip(rows[0], columns, strict=True):
        same = bands[bands["metric"] == metric]
        low, high = LOWEST * same["low"].min(), same["high"].max()
        axes.set_ylim(low, high + ROOM * (high - low))
    for axes in rows[-1]:
        axes.locator_params(axis="x", nbins=2)
        axes.set_xlabel("step")
    layer_legend(figure, kinds, ("v", "early warning") if len(marks) else None)
    return figure


def caption(tables: Tables) -> str:
    """Say what the ranks and the triangles are."""
    bands = _bands(tables)
    shown = "".join(f" Shown: {storage}." for storage in in_order(bands["storage"], []))
    triangles = (
        "Triangles at the upper edge, a height a layer type, stand where a weight's trend first warned of collapse"
        if len(_warnings(tables, bands))
        else "No weight's trend warned of collapse"
    )
    return (
        f"Stable rank: squared Frobenius over squared spectral norm. Effective rank: singular values that hold 99% of"
        f" the squared norm. Entropy rank: the exponential of the singular values' entropy. All are means over a layer"
        f" type's tensors. {triangles}; the entropy rank is not watched. Look for lines that go on falling after"
        f" warm-up, and for an update that holds them up.{shown} Each cell is at its own chosen learning rate; lines"
        f" are means over the seeds ({seeds_words(bands['n'])}), shades their range."
    )


def _bands(tables: Tables) -> pd.DataFrame:
    """Return the ranks of the storage that the most formats have, and of its first updates."""
    bands = studied_bands(tables, METRICS)
    bands = bands[bands["layer_type"] != ALL]
    if bands.empty:
        return bands
    bands = bands[bands["storage"] == fullest(bands, "storage", STORAGE_ORDER)]
    return bands[bands["update"].isin(in_order(bands["update"], Encoding.of(tables).updates)[:UPDATES])]


def _warnings(tables: Tables, bands: pd.DataFrame) -> pd.DataFrame:
    """Return the warnings of the runs behind the bands, with their cell and the rank that they are of."""
    runs = chosen_runs(tables["runs"], tables["cells"])[["run_id", *CELL]].merge(bands[CELL].drop_duplicates())
    events = tables["events"]
    found = events[events["event"] == "rank_warning"].merge(runs, on="run_id")
    return found.assign(metric=[json.loads(detail)["metric"] for detail in found["detail"]])


def _panel(data: pd.DataFrame, name: str, metric: str, update: str) -> pd.DataFrame:
    return data[(data["format"] == name) & (data["metric"] == metric) & (data["update"] == update)]


def _mark(axes: "Axes", kinds: Sequence[str], warned: pd.DataFrame) -> None:
    for number, kind in enumerate(kinds):
        steps = warned.loc[warned["layer_type"] == kind, "step"]
        if len(steps):
            axes.plot(
                steps,
                [TOP - APART * number] * len(steps),
                "v",
                color=layer_color(number),
                markersize=3.5,
                transform=axes.get_xaxis_transform(),
                zorder=5,
            )


FIGURE = FigureSpec("rank_trends", "Ranks of the weights over the run", make, caption)
