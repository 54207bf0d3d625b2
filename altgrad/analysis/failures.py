"""Where a format fails first in a run: in the forward pass, the backward pass, the optimizer, or by divergence.

The thresholds stand here and nowhere else. They are marks for reading, not tests: a run above one is told where and by
how much, and a run below all of them "did not fail" in the sense of this table. Inputs and output gradients have rates
only where a study casts them (`quantization.input`, `quantization.grad_output`); without that, weights alone decide the
forward pass, and nothing can fail in the backward pass.
"""

import math
from dataclasses import dataclass

import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Row, frame, records

NONE = "none"
DIVERGENCE = "divergence"


@dataclass(frozen=True)
class Mark:
    """A rate from which on a stage counts as failing.

    Attributes:
        stage: forward, backward or optimizer.
        metric: The rate.
        threshold: From which value.
        storages: Where it is a failure; elsewhere the rate says nothing about lost updates.
        reason: Why this value, and why there.
    """

    stage: str
    metric: str
    threshold: float
    storages: tuple[str, ...]
    reason: str


_EVERYWHERE = ("master", "nearest", "stochastic", "eco")

MARKS = (
    Mark(
        "forward",
        "overflow_rate",
        0.001,
        _EVERYWHERE,
        "the scale follows the largest weight, so that hardly any should be clamped; one in a thousand is a cut tail",
    ),
    Mark(
        "forward",
        "underflow_rate",
        0.05,
        _EVERYWHERE,
        "one weight in twenty read as 0 is a pruned layer; a uniform grid loses about 1 in 70 of a normal sample",
    ),
    Mark(
        "forward",
        "input_overflow_rate",
        0.001,
        _EVERYWHERE,
        "as for weights: the scale follows the largest input of late, and one in a thousand beyond it is a cut tail",
    ),
    Mark(
        "forward",
        "input_underflow_rate",
        0.1,
        _EVERYWHERE,
        "activations have heavier tails than weights: where the largest is ten standard deviations away, a uniform grid"
        " loses 1 in 32 of a normal sample. At one in ten the layer reads other inputs than it was given",
    ),
    Mark(
        "backward",
        "grad_output_overflow_rate",
        0.001,
        _EVERYWHERE,
        "as for inputs; what is clamped are the largest gradients, which hold most of the norm",
    ),
    Mark(
        "backward",
        "grad_output_underflow_rate",
        0.5,
        _EVERYWHERE,
        "gradients spread over many binades and the large ones hold most of the norm, so that a tail rounding to 0 is"
        " normal in a narrow format; from one half on most elements send nothing back",
    ),
    Mark(
        "optimizer",
        "stall_ratio",
        0.95,
        ("nearest",),
        "of a hundred updated weights fewer than five move. Only nearest rounding loses what does not move: a master"
        " keeps it, and stochastic rounding keeps it on average",
    ),
    Mark(
        "optimizer",
        "update_underflow_rate",
        0.95,
        ("nearest",),
        "of a hundred weights at least 95 had an update that was lost for good; masters hold every update",
    ),
)
"""Every threshold, in the order of the stages."""

STAGES = ("forward", "backward", "optimizer", DIVERGENCE)
"""The stages in the order of a step's course."""


def failures_table(runs: pd.DataFrame, chosen: set[str], totals: pd.DataFrame, counters: pd.DataFrame) -> pd.DataFrame:
    """Return every failing stage of every run that ended, and a row `none` for a run without one.

    A stage fails in a layer type where the whole run's rate is at or above its mark. Its step is the first window
    that is. The first failing stage is the one with the earliest step; of equals, the one earlier in a step's course.

    Args:
        runs: Runs that ended, rows of the runs table.
        chosen: Ids of the runs at their cell's chosen learning rate.
        totals: Whole-run rates by run and layer type: run_id, layer_type and a column a rate.
        counters: The counters table.
    """
    marked = counters[counters["metric"].isin([mark.metric for mark in MARKS])]
    windows = {(str(run), str(name)): rows for (run, name), rows in marked.groupby(["run_id", "metric"], sort=False)}
    by_run = {key: group for key, group in totals.groupby("run_id", sort=False)}
    found_rows: list[Row] = []
    for run in records(runs):
        found = _marks_passed(run, by_run.get(run["run_id"]), windows)
        if run["status"] == "diverged":
            found.append(_evidence(DIVERGENCE, ALL, "nonfinite", math.nan, math.nan, int(run["steps"])))
        found.sort(key=lambda row: (row["step"], STAGES.index(row["stage"])))
        place = {name: run[name] for name in ("run_id", *CELL, "lr", "seed")}
        for number, row in enumerate(found or [_evidence(NONE, ALL, "", math.nan, math.nan, -1)]):
            found_rows.append({**place, "chosen": run["run_id"] in chosen, "first": number == 0, **row})
    return frame("failures", found_rows)


def _marks_passed(run: Row, totals: pd.DataFrame | None, windows: dict[tuple[str, str], pd.DataFrame]) -> list[Row]:
    if totals is None:
        return []
    found = []
    for mark in (mark for mark in MARKS if run["storage"] in mark.storages):
        over = totals[totals[mark.metric] >= mark.threshold]
        for kind, value in zip(over["layer_type"], over[mark.metric], strict=True):
            steps = windows[run["run_id"], mark.metric]
            reached = steps[(steps["layer_type"] == kind) & (steps["value"] >= mark.threshold)]["step"]
            found.append(_evidence(mark.stage, kind, mark.metric, float(value), mark.threshold, int(reached.min())))
    return found


def _evidence(stage: str, kind: str, metric: str, value: float, threshold: float, step: int) -> Row:
    return {
        "stage": stage, "layer_type": kind, "metric": metric, "value": value, "threshold": threshold, "step": step,
    }  # fmt: skip
