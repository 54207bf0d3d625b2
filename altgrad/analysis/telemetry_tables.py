"""From telemetry to curves, counters by layer type, totals by tensor, flips by epoch, and the tables of probes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from altgrad.analysis.layers import ALL, layer_type, matches
from altgrad.analysis.probe_tables import HESSIAN_NODE, distributions_table, hessian_table, probes_table
from altgrad.schema import COUNTS, RATES, SUMS
from altgrad.study.runs import RunConfig

_COUNTS = [column.name for column in COUNTS]
_SUMS = [column.name for column in SUMS]
_RATES = [column.name for column in RATES]

CASTS = ("input", "grad_output")
"""Scopes of what a layer casts beside its weight."""

_ELSEWHERE = {
    "gradient/updates": "updates",
    "gradient/clip_elements": "clip_elements",
    "gradient/clipped": "clipped",
    "update/underflow": "update_underflow",
    **{f"update/{name}": name for name in _SUMS},
    **{f"{scope}/{name}": f"{scope}_{name}" for scope in CASTS for name in ("elements", "overflow", "underflow")},
}
_NAMES = {**_ELSEWHERE, **{f"weight/{name}": name for name in _COUNTS if name not in _ELSEWHERE.values()}}
"""Column of a count or sum by its `scope/metric` in the telemetry."""


BATCH_ROWS = 1_000_000
"""Telemetry rows that are aggregated at once: one pass a batch is fast, and a batch fits into memory."""


@dataclass(frozen=True)
class TelemetryTables:
    """The tables that come from telemetry.

    Attributes:
        curves: Run-level metrics by step.
        counters: Counts, sums and rates by window and layer type, of the tensors in the run's format.
        tensors: Totals and rates over the whole run, by tensor.
        flip_epochs: Flips by epoch and tensor.
        probes: What probes found, by step and tensor, of the tensors in the run's format.
        distributions: Histograms of probes by step and layer type.
        hessian: The Hessian's spectral density by step.
    """

    curves: pd.DataFrame
    counters: pd.DataFrame
    tensors: pd.DataFrame
    flip_epochs: pd.DataFrame
    probes: pd.DataFrame
    distributions: pd.DataFrame
    hessian: pd.DataFrame


def telemetry_tables(configs: Mapping[str, RunConfig], telemetry: pd.DataFrame) -> TelemetryTables:
    """Aggregate the telemetry of some runs.

    Args:
        configs: Each run's config by its id: its layer types, and which layers are in its format.
        telemetry: Their rows.
    """
    windows = _windows(telemetry)
    places = _places(configs, telemetry)
    windows = windows.merge(places, on=["run_id", "tensor"])
    tensors = _tensors(windows, telemetry)
    probed = telemetry.merge(places[places["studied"]], on=["run_id", "tensor"])
    return TelemetryTables(
        curves=_curves(telemetry),
        counters=_counters(windows[windows["studied"]]),
        tensors=tensors,
        flip_epochs=_flip_epochs(windows, telemetry),
        probes=probes_table(probed),
        distributions=distributions_table(probed, tensors),
        hessian=hessian_table(telemetry),
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
    """Return the rates of summed counts and sums, one column a rate, NaN where a denominator is 0.

    Args:
        counts: One column a count of `schema.COUNTS`, and one a sum of `schema.SUMS`.
    """

    def share(part: str, whole: str) -> "pd.Series[float]":
        quotient: pd.Series[float] = counts[part] / counts[whole].where(counts[whole] > 0).astype(float)
        return quotient

    return pd.DataFrame(
        {
            "flip_rate": share("flips", "elements"),
            "stall_ratio": 1.0 - share("flips_among_updated", "updates"),
            **{f"{n}_rate": share(n, "elements") for n in ("zero_update", "overflow", "underflow", "update_underflow")},
            "edq": share("realised_dot", "intended_sq"),
            "clip_rate": share("clipped", "clip_elements"),
            **{
                f"{scope}_{name}_rate": share(f"{scope}_{name}", f"{scope}_elements")
                for scope in CASTS
                for name in ("overflow", "underflow")
            },
        }
    )


def sum_by(data: pd.DataFrame, keys: list[str], *, sort: bool = False) -> pd.DataFrame:
    """Return counts and sums added up by `keys`, one row a group; a sum with a part that is NaN is NaN.

    Args:
        data: One column a key, a count of `schema.COUNTS` and a sum of `schema.SUMS`.
        keys: The columns to group by.
        sort: Whether the groups are sorted; else they stand in the order of their first rows.
    """
    return data.groupby(keys, sort=sort)[[*_COUNTS, *_SUMS]].sum(skipna=False).reset_index()


def _curves(telemetry: pd.DataFrame) -> pd.DataFrame:
    """Return run-level metrics; the Hessian's nodes and weights have a table of their own."""
    rows = telemetry.loc[telemetry["scope"] == "run", ["run_id", "step", "metric", "value"]]
    return rows[~rows["metric"].str.fullmatch(HESSIAN_NODE)]


def _places(configs: Mapping[str, RunConfig], telemetry: pd.DataFrame) -> pd.DataFrame:
    """Return, for each run and tensor, its layer type and whether it is in the run's format."""
    places = telemetry.loc[telemetry["scope"] != "run", ["run_id", "tensor"]].drop_duplicates()
    pairs = list(zip(places["run_id"], places["tensor"], strict=True))
    return places.assign(
        layer_type=[layer_type(tensor, configs[run].layer_types) for run, tensor in pairs],
        studied=[matches(tensor, configs[run].layer_patterns) for run, tensor in pairs],
    )


def _windows(telemetry: pd.DataFrame) -> pd.DataFrame:
    """Return one row a run, window and tensor, one column a count or sum.

    A count that was not taken is 0: nothing was counted. A sum that was not taken is NaN, unless there was no step.
    """
    keys = (telemetry["scope"] + "/" + telemetry["metric"]).map(_NAMES)
    counted = telemetry.assign(count=keys).dropna(subset=["count"])
    wide = counted.pivot(index=["run_id", "step", "tensor"], columns="count", values="value")
    counts = wide.reindex(columns=_COUNTS).fillna(0.0).round().astype(np.int64)
    sums = wide.reindex(columns=_SUMS).astype(float)
    sums = sums.where(sums.notna().to_numpy() | (counts["elements"].to_numpy() > 0)[:, None], 0.0)
    return pd.concat([counts, sums], axis=1).reset_index().rename_axis(columns=None)


def _counters(windows: pd.DataFrame) -> pd.DataFrame:
    """Return counts, sums and rates by window and layer type, in long form."""
    keys = ["run_id", "step", "layer_type"]
    summed = sum_by(pd.concat([windows.assign(layer_type=ALL), windows]), keys, sort=True)
    wide = pd.concat([summed, rates(summed)], axis=1)
    long = wide.melt(keys, [*_COUNTS, *_SUMS, *_RATES], var_name="metric", value_name="value")
    return long.sort_values(keys, kind="stable")


def _tensors(windows: pd.DataFrame, telemetry: pd.DataFrame) -> pd.DataFrame:
    keys = ["run_id", "tensor", "layer_type", "studied"]
    totals = sum_by(windows, keys)
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
