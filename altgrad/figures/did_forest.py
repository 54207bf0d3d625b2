"""The study's answer: the difference in differences of every format, with its intervals and its verdict."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.analysis.verdicts import NO_VERDICT
from altgrad.figures.captions import hollow_words, seeds_words
from altgrad.figures.forest import Forest, forest_legend
from altgrad.figures.style import MUTED, Encoding, FigureSpec, empty_figure, new_figure, study_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_AT, VERDICT_AT = 1.02, 1.07
"""Where n and the verdict stand, in widths of the panel."""


def make(tables: Tables) -> "Figure":
    """Draw one row a format and update, the finest mantissa and the primary update first."""
    rows, seeds = _rows(tables, "comparisons").dropna(subset=["mean"]), _rows(tables, "differences")
    if rows.empty:
        return empty_figure(
            "No geometry-aware update has runs under nearest and under master, each with AdamW beside it, so that"
            " there is no difference in differences."
        )
    forest = Forest.of(Encoding.of(tables), rows)
    figure = new_figure(1.1 + forest.height)
    axes = figure.subplots()
    forest.dress(axes, rows, seeds)
    forest.draw(axes, rows, seeds, flips=True)
    forest.name_rows(axes)
    _verdicts(axes, forest, rows)
    axes.set_xlabel("benefit under nearest - benefit under master, in nats of validation loss (right of 0: gains more)")
    forest_legend(figure, forest, f"{study_of(tables).confidence:.0%} t interval", flips=True)
    return figure


def caption(tables: Tables) -> str:
    """Say what the estimate is, and what both intervals are."""
    info, rows = study_of(tables), _rows(tables, "comparisons")
    return (
        f"Difference in differences: how much lower the validation loss is than adamw's where weights are stored in"
        f" the format, rounded to nearest, minus the same with FP32 masters, which takes out what is merely a better"
        f" optimizer; every cell at its own chosen learning rate, paired by seed ({seeds_words(rows['n'])}). Formats"
        f" stand by falling mantissa bits. Marks are means, thick bars {info.confidence:.0%} t intervals, thin lines"
        f" with caps inverted sign-flip intervals, which assume no distribution, where there are seeds enough for one;"
        f" neither is corrected for the number of formats, verdicts are, by Holm's method. The first update sets the"
        f" axis, others widen it only modestly: a mean beyond it is written beside an arrow at its edge, a bar or a"
        f" seed that leaves it is cut. A mark left of 0 need not mean that the update hurts: it may help masters more."
        f" Look for formats whose bars both stay right of 0, and whether the mean grows downwards."
        f"{hollow_words(info, rows['verdict'].isin(NO_VERDICT))}"
    )


def _rows(tables: Tables, name: str) -> pd.DataFrame:
    data = tables[name]
    return data[(data["estimand"] == "did") & (data["layers"] == ALL)]


def _verdicts(axes: "Axes", forest: Forest, rows: pd.DataFrame) -> None:
    """Write each row's n and verdict at the right."""
    place = axes.get_yaxis_transform()
    for x, words in ((N_AT, "n"), (VERDICT_AT, "verdict")):
        axes.text(x, -0.02, words, transform=place, ha="left", va="bottom", fontsize=7, color=MUTED)
    for row in rows.to_dict("records"):
        y, first = forest.places[row["format"], row["update"]], row["update"] == forest.first
        style: dict[str, Any] = {"fontsize": 7.5 if first else 6, "color": "black" if first else MUTED}
        axes.text(N_AT, y, str(row["n"]), transform=place, ha="left", va="center", **style)
        axes.text(VERDICT_AT, y, row["verdict"], transform=place, ha="left", va="center", **style)


FIGURE = FigureSpec("did_forest", "Which format benefits: the difference in differences by format", make, caption)
