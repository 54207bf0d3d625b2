"""Which format suits which layer type: what it costs there and what geometry gains, or else where updates are lost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import seeds_words
from altgrad.figures.panels import COLORS, color_bar, in_first_storages, name_row_plainly, storage_title
from altgrad.figures.style import (
    MUTED,
    STORAGE_ORDER,
    Encoding,
    FigureSpec,
    empty_figure,
    in_order,
    new_figure,
    study_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

UPDATES = 2
"""How many updates are drawn, adamw and the primary one first."""

WORDS = {
    "gap": "gap to the baseline (nats), that layer type alone in the format",
    "benefit": "benefit over adamw (nats), that layer type alone in the format",
    "stall": "stall ratio, all layers in the format",
}
"""What numbers are, by estimand."""

SIGNED = "PuOr_r"
"""Colors on both sides of 0, made for color-blind readers; orange is above."""


def make(tables: Tables) -> "Figure":
    """Draw one panel an estimand, update and storage; rows are layer types, columns formats."""
    encoding, info = Encoding.of(tables), study_of(tables)
    data = _values(tables)
    if data.empty:
        return empty_figure("No run has counted anything by layer type yet.")
    formats = encoding.finest_first(data["format"])
    kinds = in_order(data["layer_type"], info.layer_types)
    storages = in_order(data["storage"], STORAGE_ORDER)
    bands = [
        (estimand, update)
        for estimand in in_order(data["estimand"], WORDS)
        for update in in_order(data.loc[data["estimand"] == estimand, "update"], encoding.updates)
    ]
    scales = data["estimand"].nunique()
    figure = new_figure(0.6 + 0.6 * scales + len(bands) * (0.15 + 0.22 * len(kinds)))
    grid = figure.subplots(len(bands), len(storages), sharex=True, sharey=True, squeeze=False)
    for (estimand, update), row in zip(bands, grid, strict=True):
        norm = _norm(estimand, data.loc[data["estimand"] == estimand, "mean"])
        for storage, axes in zip(storages, row, strict=True):
            here = data[(data["estimand"] == estimand) & (data["update"] == update) & (data["storage"] == storage)]
            _panel(axes, here, kinds, formats, norm, SIGNED if estimand == "benefit" else COLORS)
        name_row_plainly(row[-1], f"{estimand}\n{update}")
    for axes, storage in zip(grid[0], storages, strict=True):
        axes.set_title(storage_title(storage))
    for estimand in dict.fromkeys(estimand for estimand, _ in bands):
        rows = [row for (other, _), row in zip(bands, grid, strict=True) if other == estimand]
        color_bar(figure, rows[0][0].images[0], (axes for row in rows for axes in row), WORDS[estimand])
    return figure


def caption(tables: Tables) -> str:
    """Say what is shown."""
    data, info = _values(tables), study_of(tables)
    means = f"Numbers are means over the seeds ({seeds_words(data['n'])}), each cell at its own chosen learning rate"
    if set(data["estimand"]) <= {"stall"}:
        return (
            f"Shown: {WORDS['stall']}. {means}; dark is low, and low is good. This study has no runs with one layer"
            f" type alone in a format, so what each costs is not known."
        )
    return (
        f"Runs with one layer type alone in the format and the others in {info.baseline_format}. Above: what the format"
        f" costs there against the baseline; dark is low, and low is good. Below, where it was run: what the"
        f" geometry-aware update gains over adamw there; orange is a gain, purple a loss. {means}, paired by seed; bold"
        f" where the {info.confidence:.0%} t interval excludes 0. Look for the layer types that set a format's cost,"
        f" and whether the benefit lies in the same ones."
    )


def _values(tables: Tables) -> pd.DataFrame:
    """Return what is drawn: cell, estimand, layer_type, n, mean, and whether the interval excludes 0 as `sure`."""
    comparisons, encoding = tables["comparisons"], Encoding.of(tables)
    single = comparisons[comparisons["estimand"].isin(["gap", "benefit"]) & (comparisons["layers"] != ALL)]
    single = single.dropna(subset=["mean"])
    sure = (single["low"] > 0) | (single["high"] < 0)
    data = single.assign(layer_type=single["layers"], sure=sure) if len(single) else _stalls(tables)
    return in_first_storages(data[data["update"].isin(in_order(data["update"], encoding.updates)[:UPDATES])])


def _stalls(tables: Tables) -> pd.DataFrame:
    """Return stall ratios by layer type of the runs that have every layer in the format."""
    rates = tables["layer_rates"]
    whole = (rates["layers"] == ALL) & (rates["layer_type"] != ALL)
    studied = rates["format"] != study_of(tables).baseline_format
    return rates[(rates["metric"] == "stall_ratio") & whole & studied].assign(estimand="stall", sure=False)


def _norm(estimand: str, means: pd.Series) -> "Normalize":
    """Return the scale of an estimand's colors; that of the benefit has 0 in its middle."""
    from matplotlib.colors import Normalize

    if estimand == "benefit":
        end = float(means.abs().max()) or 1.0
        return Normalize(-end, end)
    return Normalize(float(means.min()), float(means.max()))


def _panel(
    axes: "Axes", data: pd.DataFrame, kinds: Sequence[str], formats: Sequence[str], norm: "Normalize", colors: str
) -> None:
    wide, sure = (
        data.pivot(index="layer_type", columns="format", values=column).reindex(
            index=list(kinds), columns=list(formats)
        )
        for column in ("mean", "sure")
    )
    values = wide.to_numpy(float)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colors, norm=norm, aspect="auto")
    low, high = image.get_clim()
    digits = 2 if high - low >= 0.5 else 3
    for (y, x), value in np.ndenumerate(values):
        if np.isnan(value):
            axes.text(x, y, "-", ha="center", va="center", fontsize=6.5, color=MUTED)
            continue
        red, green, blue, _ = image.cmap(norm(value))
        ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.45 else "white"
        weight = "bold" if sure.iloc[y, x] else "normal"
        words = f"{round(value, digits) + 0.0:.{digits}f}"
        axes.text(x, y, words, ha="center", va="center", fontsize=6.5, color=ink, fontweight=weight)
    axes.set_xticks(range(len(formats)), formats, rotation=45 if len(formats) > 5 else 0)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


FIGURE = FigureSpec("layer_heatmap", "Formats by layer type", make, caption)
