"""Whether the benefit follows the grid's geometry: against mantissa bits, and against the spread of grid spacings."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.badges import DIGIT_WORDS, badge
from altgrad.figures.captions import seeds_words
from altgrad.figures.legends import update_legend
from altgrad.figures.limits import led_range, mark_beyond
from altgrad.figures.panels import keep_in_sight, say_empty, storage_words
from altgrad.figures.style import STORAGE_ORDER, Encoding, FigureSpec, empty_figure, in_order, new_figure, study_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEGIN, SPREAD = 0.2, 0.5
"""How far the second update stands from its format's place, and over how much the others are spread, in bits."""

LIGHT: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.6, "zorder": 2}
"""How all updates but the first are drawn."""


def make(tables: Tables) -> "Figure":
    """Draw one row a storage: mantissa bits at the left, spread of grid spacings at the right."""
    encoding, data = Encoding.of(tables), _rows(tables)
    if data.empty:
        return empty_figure("No geometry-aware update has an AdamW run of the same format, storage and seed beside it.")
    storages, first = in_order(data["storage"], STORAGE_ORDER), in_order(data["update"], encoding.updates)[0]
    figure = new_figure(0.9 + 1.9 * len(storages))
    grid = figure.subplots(len(storages), 2, sharex="col", sharey="row", squeeze=False)
    for (left, right), storage in zip(grid, storages, strict=True):
        here = data[data["storage"] == storage]
        _limit(left, here, first)
        _panel(left, encoding, here, "place", first)
        _panel(right, encoding, here, "ulp_spread", first)
        left.set_title(storage_words(storage), loc="left")
        left.set_ylabel("benefit (nats)")
    _mantissa_axis(grid[-1, 0], encoding, data)
    grid[-1, 1].set_xlabel("spread of the weights' grid spacings (binades)")
    update_legend(figure, encoding, data["update"], curves=False)
    return figure


def caption(tables: Tables) -> str:
    """Say what the spread is."""
    data, info = _rows(tables), study_of(tables)
    return (
        f"Benefit over adamw, positive where the update's validation loss is lower, each cell at its own chosen"
        f" learning rate; means with {info.confidence:.0%} t intervals, paired by seed ({seeds_words(data['n'])});"
        f" {DIGIT_WORDS}, lighter marks are other updates. Left: formats by falling mantissa bits. Right: log2"
        f" of the 90th over the 10th percentile of the grid's spacing at the final weights; 0 is a uniform grid. Look"
        f" for a trend under nearest that is gone under the other storages: a benefit that comes from lost updates."
        f" Points that line up at the left but not at the right follow the mantissa, and not how uneven the grid is."
        f" Each row has its own vertical axis, set by the first update and only modestly widened by others: a mean"
        f" beyond it is written beside an arrow at its edge, an interval that leaves it is cut."
    )


def _rows(tables: Tables) -> pd.DataFrame:
    """Return benefits with their place by mantissa bits and their spread of grid spacings."""
    encoding, data = Encoding.of(tables), tables["comparisons"]
    data = data[(data["estimand"] == "benefit") & (data["layers"] == ALL)].dropna(subset=["mean"])
    data = data.merge(tables["mechanism"][[*CELL, "ulp_spread"]], on=CELL, how="left")
    others = in_order(data["update"], encoding.updates)[1:]
    beside = {update: BEGIN + SPREAD * number / len(others) for number, update in enumerate(others)}
    bits = data["format"].map(encoding.mantissa_bits).astype(float)
    return data.assign(place=bits - data["update"].map(beside).astype(float).fillna(0.0))


def _limit(axes: "Axes", data: pd.DataFrame, first: str) -> None:
    """Keep the first update's means and intervals in sight, and those of others where they are not far off."""
    ends, own = data[["low", "mean", "high"]].to_numpy(float), (data["update"] == first).to_numpy(bool)
    keep_in_sight(axes, *led_range([0.0, *ends[own].ravel()], ends[~own].ravel()))


def _panel(axes: "Axes", encoding: Encoding, data: pd.DataFrame, x: str, first: str) -> None:
    known = data.dropna(subset=[x]).sort_values(x)
    if known.empty:
        say_empty(axes, "the weights' grid was not diagnosed")
        return
    axes.axhline(0, color="black", linewidth=0.8, zorder=1)
    for update, rows in known.groupby("update"):
        color = encoding.color(str(update))
        style = {"color": color, "linewidth": 1.8, "zorder": 3} if update == first else {"color": color, **LIGHT}
        axes.vlines(rows[x], rows["low"], rows["high"], **style)
        if update != first:
            axes.plot(
                rows[x], rows["mean"], linestyle="none", marker=encoding.marker(str(update)), markersize=3, **style
            )
    for update, at, mean in known[["update", x, "mean"]].itertuples(index=False, name=None):
        mark_beyond(axes, at, mean, encoding.color(update))
    primary = known[known["update"] == first]
    if x == "place":
        axes.plot(primary[x], primary["mean"], color=encoding.color(first), linewidth=0.8, alpha=0.6, zorder=3)
    for row in primary.to_dict("records"):
        badge(axes, encoding, first, row["format"], (row[x], row["mean"]))


def _mantissa_axis(axes: "Axes", encoding: Encoding, data: pd.DataFrame) -> None:
    """Name formats under their mantissa bits, the finest at the left."""
    names: dict[int, list[str]] = {}
    for name in encoding.finest_first(data["format"]):
        names.setdefault(encoding.mantissa_bits[name], []).append(name)
    axes.set_xticks(list(names), ["\n".join([str(bits), *same]) for bits, same in names.items()])
    axes.set_xlim(max(names) + 0.5, min(names) - 0.5 - (BEGIN if data["update"].nunique() > 1 else 0.0))
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("mantissa bits")


FIGURE = FigureSpec("benefit_by_geometry", "Benefit against the geometry of the grid", make, caption)
