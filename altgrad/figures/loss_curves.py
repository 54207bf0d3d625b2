"""Loss against steps, each format over the baseline (METR-04)."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.cells import CELL, chosen_runs
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.captions import seeds_words
from altgrad.figures.curves import by_update, crowded_words, first_updates
from altgrad.figures.legends import update_legend
from altgrad.figures.limits import leading, led_range
from altgrad.figures.panels import format_rows, keep_in_sight, mark_edge, say_empty, storage_columns
from altgrad.figures.style import BASELINE_COLOR, Encoding, FigureSpec, empty_figure, study_of
from altgrad.study.grid import BASELINE_UPDATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EARLY = 0.45
"""Share of the steps after which curves must be in sight: what comes before would flatten everything else."""


ENOUGH = 4
"""Evaluations a run that make a curve; with fewer, the training loss of every window is drawn."""

LABELS = {"val_loss": "val. loss (nats)", "train_loss": "train. loss (nats)"}


def make(tables: Tables) -> "Figure":
    """Draw one panel a format and storage; the vertical axis is a row's own."""
    encoding, info = Encoding.of(tables), study_of(tables)
    runs = _studied(tables)
    metric = _metric(tables, runs)
    curves, relative = _curves(tables, runs, metric)
    if curves.empty:
        return empty_figure("No run with every layer in a format has a loss yet.")
    grid = format_rows(encoding, runs, storage_columns(runs))
    for panel in grid:
        if relative:
            panel.axes.axhline(0, color=BASELINE_COLOR, linewidth=0.9, zorder=2)
        for cell in by_update(encoding, panel.of(curves)):
            _cell(panel.axes, encoding, cell)
        here = panel.of(runs)
        _diverged(panel.axes, encoding, here)
        if here.empty:
            say_empty(panel.axes)
    for panel in grid.by_format():
        _limit(panel.axes, encoding, panel.of(curves), relative)
    grid.label("step", "gap (nats)" if relative else LABELS[metric])
    update_legend(grid.figure, encoding, runs["update"], info.baseline_format if relative else None)
    return grid.figure


def caption(tables: Tables) -> str:
    """Say what the lines are."""
    runs, info = _studied(tables), study_of(tables)
    metric = _metric(tables, runs)
    curves, relative = _curves(tables, runs, metric)
    loss = (
        "Validation loss through the quantized weights"
        if metric == "val_loss"
        else "Training loss, the mean of a window of steps, since runs are validated too seldom for a curve,"
    )
    over = (
        f"{loss} minus that of the {info.baseline_format} baseline with the same seed, at the same step: the black line"
        f" is the baseline."
        if relative
        else f"{loss.removesuffix(',')}; there is no baseline to compare it with step by step."
    )
    return (
        f"{over} Each cell is at its own chosen learning rate. Thick lines are means over the seeds"
        f" ({seeds_words(_sizes(curves))}) for as long as every seed runs, thin lines single seeds of adamw and the"
        f" primary update, crosses at the upper edge where runs diverged. Look for curves that end on the black line,"
        f" and for those that still come nearer. Each row has its own vertical axis, set by the means of adamw"
        f" and the primary update and only modestly widened by what else is drawn; the first steps are cut off, and so"
        f" is a curve that leaves the picture.{crowded_words(tables)}"
    )


def _studied(tables: Tables) -> pd.DataFrame:
    """Return the drawn runs at their cell's chosen learning rate, with every layer in the format."""
    runs = chosen_runs(tables["runs"], tables["cells"])
    runs = runs[(runs["layers"] == ALL) & (runs["format"] != study_of(tables).baseline_format)]
    return first_updates(Encoding.of(tables), runs)


def _metric(tables: Tables, runs: pd.DataFrame) -> str:
    """Return which loss makes a curve: that of validation where most runs have it often enough."""
    curves = tables["curves"]
    evaluated = curves[(curves["metric"] == "val_loss") & curves["run_id"].isin(runs["run_id"])]
    often = evaluated.groupby("run_id").size().median() >= ENOUGH
    return "val_loss" if often else "train_loss"


def _curves(tables: Tables, runs: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, bool]:
    """Return runs' losses by step, and whether they are above the baseline's, as they are where there is one."""
    info, columns = study_of(tables), ["run_id", "step", "value"]
    losses = tables["curves"].loc[tables["curves"]["metric"] == metric, columns].sort_values(["run_id", "step"])
    losses = losses.assign(after=losses.groupby("run_id")["step"].shift(fill_value=0))
    curves = losses.merge(runs[["run_id", "seed", *CELL]], on="run_id")
    chosen = chosen_runs(tables["runs"], tables["cells"])
    own = chosen[(chosen["format"] == info.baseline_format) & (chosen["update"] == BASELINE_UPDATE)]
    baseline = losses.merge(own[["run_id", "seed"]], on="run_id")[["seed", "step", "after", "value"]]
    same = ["seed", "step", *(["after"] if metric == "train_loss" else [])]  # means of the same window
    paired = curves.merge(baseline, on=same, suffixes=("", "_baseline"))
    if paired.empty:
        return curves, False
    return paired.assign(value=paired["value"] - paired["value_baseline"]), True


def _sizes(curves: pd.DataFrame) -> list[int]:
    return curves.groupby(CELL)["seed"].nunique().tolist()


def _diverged(axes: "Axes", encoding: Encoding, runs: pd.DataFrame) -> None:
    """Mark where runs diverged, at the upper edge: their last losses may be out of sight, or none."""
    for update, part in runs[runs["status"] == "diverged"].groupby("update"):
        mark_edge(axes, part["steps"], "x", 0.94, color=encoding.color(str(update)), markersize=4.5, zorder=5)


def _cell(axes: "Axes", encoding: Encoding, cell: pd.DataFrame) -> None:
    update = cell["update"].iloc[0]
    if update in (BASELINE_UPDATE, encoding.primary):
        for _, run in cell.groupby("run_id", sort=True):
            axes.plot(run["step"], run["value"], color=encoding.color(update), linewidth=0.4, alpha=0.35, zorder=2)
    whole = _whole_means(cell)
    axes.plot(whole.index, whole, **encoding.curve(update, len(whole)))


def _whole_means(cell: pd.DataFrame) -> "pd.Series[float]":
    """Return a cell's means over the seeds by step, for as long as every seed runs."""
    steps = cell.groupby("step")["value"]
    return steps.mean()[steps.size() == cell["seed"].nunique()]


def _limit(axes: "Axes", encoding: Encoding, curves: pd.DataFrame, relative: bool) -> None:
    """Keep in sight the means of adamw and the primary update from `EARLY` on and the baseline, the rest where near."""
    late = curves[curves["step"] >= EARLY * curves["step"].max()]
    if late.empty:
        return
    first = leading(encoding, late)
    own, others = (
        [mean for _, cell in part.groupby(CELL) for mean in _whole_means(cell)] for part in (late[first], late[~first])
    )
    keep_in_sight(axes, *led_range([*own, *([0.0] if relative else [])], [*others, *late.loc[first, "value"]]))


FIGURE = FigureSpec("loss_curves", "Loss of each format over the baseline, by step", make, caption)
