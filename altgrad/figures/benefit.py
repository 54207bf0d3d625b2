"""What geometry-aware updates gain over AdamW: a forest plot of the paired benefit, by format and storage."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.analysis.verdicts import NO_VERDICT
from altgrad.figures.captions import hollow_words, seeds_words
from altgrad.figures.forest import Forest, forest_legend
from altgrad.figures.panels import storage_title
from altgrad.figures.style import STORAGE_ORDER, Encoding, FigureSpec, empty_figure, in_order, new_figure, study_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make(tables: Tables) -> "Figure":
    """Draw one column a storage, one row a format and update."""
    benefits, seeds = _rows(tables, "comparisons").dropna(subset=["mean"]), _rows(tables, "differences")
    if benefits.empty:
        return empty_figure("No geometry-aware update has an AdamW run of the same format, storage and seed beside it.")
    forest = Forest.of(Encoding.of(tables), benefits)
    storages = in_order(benefits["storage"], STORAGE_ORDER)
    figure = new_figure(1.15 + forest.height)
    panels = figure.subplots(1, len(storages), sharey=True, squeeze=False)[0]
    for axes, storage in zip(panels, storages, strict=True):
        here, single = benefits[benefits["storage"] == storage], seeds[seeds["storage"] == storage]
        forest.dress(axes, here, single, ticks=6 if len(storages) < 3 else 4)
        forest.draw(axes, here, single)
        axes.set_title(storage_title(storage))
    forest.name_rows(panels[0])
    figure.supxlabel("benefit over adamw in nats of validation loss (right of 0: helps)", fontsize=8)
    forest_legend(figure, forest, f"{study_of(tables).confidence:.0%} t interval")
    return figure


def caption(tables: Tables) -> str:
    """Say what the intervals are."""
    info, benefits = study_of(tables), _rows(tables, "comparisons")
    return (
        f"Benefit: validation loss of adamw minus that of the update, same format and storage, each at its own chosen"
        f" learning rate, paired by seed ({seeds_words(benefits['n'])}). Marks are means, bars {info.confidence:.0%}"
        f" t intervals, not corrected for the number of formats; dots are single seeds. Each storage has its own"
        f" axis, set by the first update and only modestly widened by others: a mean beyond it is written beside an"
        f" arrow at its edge, a bar or a seed that leaves it is cut. Look for bars that stay right of 0 under nearest"
        f" and not under master: what helps there too is a better optimizer, not an answer to lost updates."
        f"{hollow_words(info, benefits['verdict'].isin(NO_VERDICT))}"
    )


def _rows(tables: Tables, name: str) -> pd.DataFrame:
    data = tables[name]
    return data[(data["estimand"] == "benefit") & (data["layers"] == ALL)]


FIGURE = FigureSpec("benefit", "Benefit of geometry-aware updates by format and storage", make, caption)
