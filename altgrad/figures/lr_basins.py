"""How the loss depends on the learning rate in every cell: trials of tuning, or runs at the rates that were listed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from altgrad.analysis.cells import CELL, scored_runs
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import bigram_words, seeds_words
from altgrad.figures.curves import by_update, crowded_words, first_updates
from altgrad.figures.legends import update_legend
from altgrad.figures.limits import leading, led_range
from altgrad.figures.panels import (
    bigram_line,
    format_rows,
    keep_in_sight,
    log_axis,
    mark_edge,
    say_empty,
    storage_columns,
)
from altgrad.figures.style import BASELINE_COLOR, Encoding, FigureSpec, empty_figure, study_of
from altgrad.figures.trials import lr_units, trial_means, whole_trials
from altgrad.study.grid import BASELINE_UPDATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEYOND = 2.0
"""How far the updates that set the vertical axis move it: this many times as far above the best as the median is."""

TOP, APART = 0.96, 0.08
"""How high the first update's crosses stand, and how far under them the next, as shares of the panel's height."""

MANY = 3
"""From so many columns on, only powers of ten are named."""

SHADE, LIGHT_SHADE = 0.15, 0.06
"""How opaque the basins are of adamw and the primary update, and of the others."""


@dataclass(frozen=True)
class _Searches:
    """What every cell's search for its learning rate came to.

    Attributes:
        means: Cell, lr, n, mean, diverged and chosen; of tuned cells over their trials, of others over their runs.
        seeds: Cell, lr, score and diverged of the single trials or runs behind the means.
        basins: Rows of the tuning table.
        evaluated: Rows of the cells table, of tuned cells.
        baseline: Rows of the cells table, of the baseline at its learning rate.
        units: By what the learning rates of an update are divided, where it is not 1.
    """

    means: pd.DataFrame
    seeds: pd.DataFrame
    basins: pd.DataFrame
    evaluated: pd.DataFrame
    baseline: pd.DataFrame
    units: dict[str, float]

    @classmethod
    def of(cls, tables: Tables) -> "_Searches":
        """Return what is drawn of a study."""
        encoding, baseline = Encoding.of(tables), study_of(tables).baseline_format
        trials, tuning = whole_trials(tables), tables["tuning"]
        cells = tables["cells"][tables["cells"]["layers"] == ALL]
        runs = scored_runs(tables["runs"]).merge(cells.loc[~cells["tuned"], [*CELL, "lr"]], on=[*CELL, "lr"])
        runs = runs.assign(diverged=runs["status"] == "diverged")
        units = {update: unit for update, unit in lr_units(trials).items() if unit != 1}

        def drawn(*parts: pd.DataFrame) -> pd.DataFrame:
            data = pd.concat([part for part in parts if len(part)] or [parts[0]], ignore_index=True)
            return first_updates(encoding, data[data["format"] != baseline])

        def scaled(data: pd.DataFrame, *columns: str) -> pd.DataFrame:
            unit = data["update"].map(units).astype(float).fillna(1.0)
            return data.assign(**{column: data[column] / unit for column in columns})

        columns = [*CELL, "lr", "n", "mean", "diverged", "chosen"]
        single = [*CELL, "lr", "score", "diverged"]
        return cls(
            means=scaled(drawn(trial_means(trials)[columns], cells.loc[~cells["tuned"], columns]), "lr"),
            seeds=scaled(drawn(trials[single], runs[single]), "lr"),
            basins=scaled(tuning[tuning["layers"] == ALL], "basin_low_lr", "basin_high_lr"),
            evaluated=scaled(cells[cells["tuned"]], "lr"),
            baseline=cells[(cells["format"] == baseline) & cells["chosen"]],
            units=units,
        )


def make(tables: Tables) -> "Figure":
    """Draw one panel a format and storage; the vertical axis is a row's own."""
    encoding, searches = Encoding.of(tables), _Searches.of(tables)
    means, best = searches.means, searches.baseline
    if means.empty or means.groupby(CELL)["lr"].nunique().max() < 2:
        return empty_figure("Every cell was run at one learning rate only: there is no sweep to show.")
    grid = format_rows(encoding, means, storage_columns(means))
    for panel in grid:
        for value in best["mean"]:
            panel.axes.axhline(value, color=BASELINE_COLOR, linewidth=0.9, zorder=1)
        bigram_line(panel.axes, study_of(tables))
        here = panel.of(means)
        for number, cell in enumerate(by_update(encoding, here)):
            _cell(panel.axes, encoding, searches, cell, TOP - APART * number)
        if here.empty:
            say_empty(panel.axes)
    for panel in grid.by_format():
        sound = searches.evaluated[searches.evaluated["diverged"] == 0]
        _limit(panel.axes, encoding, panel.of(means), panel.of(sound), best["mean"])
    log_axis(grid.first, means["lr"], sparse=len(grid.rows[0]) >= MANY)
    grid.label("learning rate", "val. loss (nats)")
    update_legend(grid.figure, encoding, means["update"], study_of(tables).baseline_format if len(best) else None)
    return grid.figure


def caption(tables: Tables) -> str:
    """Say what the marks are."""
    searches, info = _Searches.of(tables), study_of(tables)
    means, tuned = searches.means, len(searches.evaluated) + len(searches.basins) > 0
    shade = (
        f" Shades are basins: rates around the best with a loss within 1 % of it. Diamonds are means of the seeds that"
        f" are evaluated, with their {info.confidence:.0%} t interval ({seeds_words(searches.evaluated['n'])});"
        f" tuning never saw them."
        if tuned
        else ""
    )
    cells = tables["cells"]
    edge = cells[cells["chosen"] & (cells["layers"] == ALL)]
    beyond = int((edge["lr_at_edge"] & (edge["lrs"] > 1)).sum())
    units = "".join(f" Rates of {u} have another unit, and are divided by {x:g}." for u, x in searches.units.items())
    return (
        f"Validation loss at the end against the learning rate; dots are single {'trials' if tuned else 'runs'}, lines"
        f" their means ({seeds_words(means['n'])}), full marks the cell's chosen rate, and crosses at the upper edge"
        f" stand where one diverged; each row's axis is set by adamw and the primary update and only modestly"
        f" widened by others, and what leaves the picture is cut. The black line is the"
        f" {info.baseline_format} baseline at its own best.{bigram_words(info)}{shade} Look for how far apart the"
        f" storages' best rates lie, and whether an update moves its basin or deepens it. In {beyond} of {len(edge)}"
        f" cells the best stands at the edge of the rates that were run: a better one may lie beyond.{units}"
        f"{crowded_words(tables)}"
    )


def _cell(axes: "Axes", encoding: Encoding, searches: _Searches, cell: pd.DataFrame, height: float) -> None:
    """Draw one cell: single trials, their mean where none diverged, the chosen rate, its basin and its evaluation."""
    place, update = cell[CELL].iloc[:1], cell["update"].iloc[0]
    color = encoding.color(update)
    seeds, basins, evaluated = (
        data.merge(place, on=CELL) for data in (searches.seeds, searches.basins, searches.evaluated)
    )
    sound = cell[cell["diverged"] == 0]
    shade = SHADE if update in (BASELINE_UPDATE, encoding.primary) else LIGHT_SHADE
    for low, high in zip(basins["basin_low_lr"], basins["basin_high_lr"], strict=True):
        inside = sound[sound["lr"].between(low, high)]
        axes.fill_between(inside["lr"], inside["mean"], -1.0, color=color, alpha=shade, linewidth=0, zorder=1)
    single = seeds[~seeds["diverged"].astype(bool)]
    axes.plot(single["lr"], single["score"], ".", markersize=2, color=color, alpha=0.5, zorder=2)
    mark_edge(axes, seeds.loc[seeds["diverged"].astype(bool), "lr"], "x", height, color=color, markersize=3.5, zorder=3)
    style = encoding.curve(update, len(sound))
    chosen = cell[cell["chosen"]]
    axes.plot(sound["lr"], sound["mean"], **{**style, "marker": "none"})
    mark: dict[str, Any] = {"marker": style["marker"], "color": color, "linestyle": "none", "zorder": 5}
    axes.plot(chosen["lr"], chosen["mean"], markersize=5.0, **mark)
    axes.vlines(evaluated["lr"], evaluated["low"], evaluated["high"], color=color, linewidth=0.8, zorder=5)
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.2, "zorder": 6}
    axes.plot(evaluated["lr"], evaluated["mean"], "d", color=color, markersize=4.5, **hollow)


def _limit(
    axes: "Axes", encoding: Encoding, means: pd.DataFrame, evaluated: pd.DataFrame, baseline: "pd.Series[float]"
) -> None:
    """Let the better half of the learning rates decide the axis, so that a bad one does not flatten the others.

    Args:
        axes: A panel of the row.
        encoding: For which updates set the axis: their choices and evaluations are in sight.
        means: Of the row's learning rates.
        evaluated: Rows of the cells table, without those that diverged.
        baseline: Of the baseline's means.
    """
    first, own = leading(encoding, means), leading(encoding, evaluated)
    always = pd.concat([means.loc[first & means["chosen"], "mean"], evaluated.loc[own, "mean"], baseline])
    values = pd.concat([means.loc[first, "mean"], always])
    low, high = values.min(), values.max()
    high = min(high, max([low + BEYOND * (values.median() - low), *always]))
    others = pd.concat([means.loc[~first & means["chosen"], "mean"], evaluated.loc[~own, "mean"]])
    keep_in_sight(axes, *led_range([low, high], others), room=0.15)


FIGURE = FigureSpec("lr_basins", "Validation loss against the learning rate", make, caption)
