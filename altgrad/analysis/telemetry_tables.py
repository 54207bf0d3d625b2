"""From telemetry to curves, counters by layer type, totals by tensor and flips by epoch."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from altgrad.analysis.layers import ALL, layer_type, matches
from altgrad.schema import COUNTS, RATES
from altgrad.study.config import RunConfig

_NAMES = {
    "gradient/updates": "updates",
    "update/underflow": "update_underflow",
    **{f"weight/{c.name}": c.name for c in COUNTS if c.name not in ("updates", "update_underflow")},
}
"""Column of a count by its `scope/metric` in the telemetry."""

_COUNTS = [column.name for column in COUNTS]
_RATES = [column.name for column in RATES]


BATCH_ROWS = 1_000_000
"""Telemetry rows that are aggregated at once: one pass a batch is fast, and a batch fits into memory."""


@dataclass(frozen=True)
class TelemetryTables:
    """The tables that come from telemetry.

    Attributes:
        curves: Run-level metrics by step.
        counters: Counts and rates by window and layer type, of the tensors in the run's format.
        tensors: Totals and rates over the whole run, by tensor.
        flip_epochs: Flips by epoch and tensor.
    """

    curves: pd.DataFrame
    counters: pd.DataFrame
    tensors: pd.DataFrame
    flip_epochs: pd.DataFrame


def telemetry_tables(configs: Mapping[str, RunConfig], telemetry: pd.DataFrame) -> TelemetryTables:
    """Aggregate the telemetry of some runs.

    Args:
        configs: Each run's config by its id: its layer types, and which layers are in its format.
        telemetry: Their rows.
    """
    windows = _windows(telemetry)
    windows = windows.merge(_places(configs, windows), on=["run_id", "tensor"])
    curves = telemetry.loc[telemetry["scope"] == "run", ["run_id", "step", "metric", "value"]]
    return TelemetryTables(
        curves=curves,
        counters=_counters(windows[windows["studied"]]),
        tensors=_tensors(windows, telemetry),
        flip_epochs=_flip_epochs(windows, telemetry),
    )


def batches(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield runs' telemetry stacked into batches of at least `BATCH_ROWS`, the last one smaller."""
    waiting: list[pd.DataFrame] = []
    for data in frames:
        waiting.append(data)
        if sum(map(len, waiting)) >= BATCH_ROWS:
            yield pd.concat(waiting, ignore_index=True)
            waiting = []
    if waiting:
        yield pd.concat(waiting, ignore_index=True)


def rates(counts: pd.DataFrame) -> pd.DataFrame:
    """Return the rates of summed counts, one column a rate, NaN where a denominator is 0.

    Args:
        counts: One column a count of `schema.COUNTS`.
    """
    elements = counts["elements"].where(counts["elements"] > 0).astype(float)
    updates = counts["updates"].where(counts["updates"] > 0).astype(float)
    return pd.DataFrame(
        {
            "flip_rate": counts["flips"] / elements,
            "stall_ratio": 1.0 - counts["flips_among_updated"] / updates,
            **{f"{n}_rate": counts[n] / elements for n in ("zero_update", "overflow", "underflow", "update_underflow")},
        }
    )


def _places(configs: Mapping[str, RunConfig], windows: pd.DataFrame) -> pd.DataFrame:
    """Return, for each run and tensor, its layer type and whether it is in the run's format."""
    places = windows[["run_id", "tensor"]].drop_duplicates()
    pairs = list(zip(places["run_id"], places["tensor"], strict=True))
    return places.assign(
        layer_type=[layer_type(tensor, configs[run].layer_types) for run, tensor in pairs],
        studied=[matches(tensor, configs[run].layer_patterns) for run, tensor in pairs],
    )


def _windows(telemetry: pd.DataFrame) -> pd.DataFrame:
    """Return one row a run, window and tensor, one column a count."""
    keys = (telemetry["scope"] + "/" + telemetry["metric"]).map(_NAMES)
    counted = telemetry.assign(count=keys).dropna(subset=["count"])
    wide = counted.pivot(index=["run_id", "step", "tensor"], columns="count", values="value")
    wide = wide.reindex(columns=_COUNTS).fillna(0.0).round().astype(np.int64)
    return wide.reset_index().rename_axis(columns=None)


def _counters(windows: pd.DataFrame) -> pd.DataFrame:
    """Return counts and rates by window and layer type, in long form."""
    keys = ["run_id", "step", "layer_type"]
    both = pd.concat([windows.assign(layer_type=ALL), windows])
    summed = both.groupby(keys, sort=True)[_COUNTS].sum().reset_index()
    wide = pd.concat([summed, rates(summed)], axis=1)
    long = wide.melt(keys, [*_COUNTS, *_RATES], var_name="metric", value_name="value")
    return long.sort_values(keys, kind="stable")


def _tensors(windows: pd.DataFrame, telemetry: pd.DataFrame) -> pd.DataFrame:
    keys = ["run_id", "tensor", "layer_type", "studied"]
    totals = windows.groupby(keys, sort=False)[_COUNTS].sum().reset_index()
    table = pd.concat([totals, rates(totals)], axis=1)
    last = _by_tensor(telemetry, "weight", {"amax": "last", "range_bits": "last"})
    squared = telemetry.assign(value=telemetry["value"] ** 2)
    l2 = _by_tensor(squared, "gradient", {"l2_norm": "mean"})
    linf = _by_tensor(telemetry, "gradient", {"linf_norm": "max"})
    gradient = pd.DataFrame({"gradient_l2": np.sqrt(l2["l2_norm"]), "gradient_linf": linf["linf_norm"]})
    return table.join(last, on=["run_id", "tensor"]).join(gradient, on=["run_id", "tensor"])


def _by_tensor(telemetry: pd.DataFrame, scope: str, how: Mapping[str, str]) -> pd.DataFrame:
    """Return, indexed by run and tensor, one column a metric, its finite values summed up as `how` says."""
    mine = (telemetry["scope"] == scope) & telemetry["metric"].isin(list(how)) & np.isfinite(telemetry["value"])
    rows = telemetry[mine]
    wide = rows.pivot(index=["run_id", "tensor", "step"], columns="metric", values="value").reindex(columns=list(how))
    summary: pd.DataFrame = wide.groupby(level=["run_id", "tensor"]).agg(dict(how))
    return summary


def _flip_epochs(windows: pd.DataFrame, telemetry: pd.DataFrame) -> pd.DataFrame:
    """Return flips by epoch: a window counts to the epoch in which it ends."""
    progress = telemetry[(telemetry["scope"] == "run") & (telemetry["metric"] == "epoch")]
    # The first epoch is (0, 1], so that a window that ends with it is still in it.
    epochs = progress[["run_id", "step"]].assign(epoch=np.ceil(progress["value"]).clip(lower=1).astype(np.int32))
    keys = ["run_id", "tensor", "layer_type", "epoch"]
    data = windows.merge(epochs, on=["run_id", "step"])
    summed = data.groupby(keys, sort=False)[["elements", "flips"]].sum().reset_index()
    return summed.assign(flip_rate=summed["flips"] / summed["elements"])
