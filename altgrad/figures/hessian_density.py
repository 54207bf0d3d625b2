"""The spectral density of the loss's Hessian at the first and the last probe (DIAG-05)."""

import math
from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import means_words, steps_words
from altgrad.figures.curves import crowded_words, first_updates, update_curves
from altgrad.figures.legends import update_legend
from altgrad.figures.panels import Column, first_storages, format_rows
from altgrad.figures.style import (
    BASELINE_COLOR,
    Encoding,
    FigureSpec,
    empty_figure,
    in_order,
    study_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DECADES = 10
"""How far the vertical axis reaches under the highest density: below is the smoothing's tail."""


def make(tables: Tables) -> "Figure":
    """Draw one row a format; a column a storage and probe, the first left of the last; one line an update."""
    encoding, baseline = Encoding.of(tables), study_of(tables).baseline_format
    data = _probes(tables)
    reference = data[data["format"] == baseline]
    studied = first_updates(encoding, data[data["format"] != baseline])
    if studied.empty:
        return empty_figure("No run with every layer in a format has probed the Hessian of its loss yet.")
    columns = [
        Column(f"{storage}, {probe} probe", {"storage": storage, "probe": probe})
        for storage in first_storages(studied)
        for probe in in_order(studied["probe"], ["first", "last"])
    ]
    grid = format_rows(encoding, studied, columns, share_y="all", share_x="col")
    for panel in grid:
        _reference(panel.axes, reference[reference["probe"] == panel.place["probe"]])
        update_curves(panel.axes, encoding, panel.of(studied), _line)
    _limit(grid.first, data["density"])
    grid.label("eigenvalue", "density")
    update_legend(grid.figure, encoding, studied["update"], baseline if len(reference) else None)
    return grid.figure


def caption(tables: Tables) -> str:
    """Say what a density is, and when the probes were."""
    data, baseline = _probes(tables), study_of(tables).baseline_format
    return (
        f"Density of the eigenvalues of the loss's Hessian in the weights, by stochastic Lanczos, smoothed, on a"
        f" logarithmic axis; its integral is 1, and it is cut {DECADES} decades under the highest. Probes are each"
        f" cell's {_probes_words(data)}. Most eigenvalues lie near 0. Look for how far the right end reaches, which is"
        f" the sharpest direction and bounds the learning rate, for a left end below 0, and for formats that end"
        f" sharper than the {baseline} baseline, the black line. {means_words(data['n'])}.{crowded_words(tables)}"
    )


def _probes(tables: Tables) -> pd.DataFrame:
    """Return each cell's densities at its last probe, and at its first where it is another; `probe` says which."""
    data = tables["hessian_bands"]
    data = data[(data["layers"] == ALL) & data["density"].notna()]
    steps = data.groupby(CELL)["step"]
    first, last = steps.transform("min"), steps.transform("max")
    early, late = data[(data["step"] == first) & (first < last)], data[data["step"] == last]
    return pd.concat([early.assign(probe="first"), late.assign(probe="last")])


def _probes_words(data: pd.DataFrame) -> str:
    probes = data.groupby("probe", sort=True)["step"]
    return " and ".join(f"{probe} ({steps_words(steps)})" for probe, steps in probes) or "last"


def _reference(axes: "Axes", rows: pd.DataFrame) -> None:
    axes.plot(rows["eigenvalue"], rows["density"], color=BASELINE_COLOR, linewidth=0.9, zorder=2)


def _line(axes: "Axes", encoding: Encoding, rows: pd.DataFrame) -> None:
    style = encoding.curve(rows["update"].iloc[0], len(rows))
    axes.plot(rows["eigenvalue"], rows["density"], **style)


def _limit(axes: "Axes", densities: pd.Series) -> None:
    axes.set_yscale("log")
    top = math.ceil(math.log10(densities.max()))
    axes.set_ylim(10.0 ** (top - DECADES), 10.0**top)


FIGURE = FigureSpec("hessian_density", "Density of the Hessian's eigenvalues", make, caption)
