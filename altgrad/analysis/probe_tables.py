"""From the telemetry of probes and the events of summaries to tables: METR-05, GRAD-02, GRAD-03, RANK, DIAG."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from altgrad.analysis.hessian_density import spectral_density
from altgrad.analysis.layers import ALL, layer_type
from altgrad.analysis.tables import Row

PROBE_METRICS: dict[str, tuple[str, ...]] = {
    "gradient": ("cosine", "snr_db", "stiffness_correlation", "magnitude_correlation"),
    "input": ("dead_fraction",),
    "weight": (
        "grid_alignment_mean",
        "grid_alignment_p99",
        "codes_used_fraction",
        "code_entropy_bits",
        "rung_p10",
        "rung_p50",
        "rung_p90",
        "stiffness_log2_p10",
        "stiffness_log2_p50",
        "stiffness_log2_p90",
        "stable_rank",
        "effective_rank",
        "entropy_rank",
        "rank_warning",
    ),
    "update": (
        "ulp_median",
        "ulp_p90",
        "ulp_p99",
        "ulp_lost_fraction",
        "ulp_zero_fraction",
        "rung_move_entropy_bits",
        "value_move_entropy_bits",
    ),
}
"""Metrics of the probes table by their scope in the telemetry."""

_BINS = {"weight/stiffness": "stiffness", "update/ulp": "update_ulp"}
"""Metric of the distributions table by scope and name of a histogram in the telemetry."""

_BIN = r"(?P<name>\w+)_bin_(?P<bin>-?\d+)"
_ZEROS = "ulp_zero_fraction"
"""The share of updates that are 0 and in no bin: a tensor with this row was probed, even if no bin of it is there."""

HESSIAN_NODE = r"hessian_(?P<kind>node|weight)_(?P<vector>\d+)_(?P<number>\d+)"
"""What nodes and weights of the Hessian's quadrature are called in the telemetry."""


def probes_table(telemetry: pd.DataFrame) -> pd.DataFrame:
    """Return the probes table without its histograms.

    Args:
        telemetry: Rows of tensors in their run's format, with their layer type.
    """
    known = [f"{scope}/{metric}" for scope, metrics in PROBE_METRICS.items() for metric in metrics]
    return telemetry[(telemetry["scope"] + "/" + telemetry["metric"]).isin(known)]


def distributions_table(telemetry: pd.DataFrame, tensors: pd.DataFrame) -> pd.DataFrame:
    """Return histograms by layer type and for all tensors, weighted by the tensors' sizes.

    A tensor without a row of some bin has nothing in it. One whose histogram is not a number is left out.

    Args:
        telemetry: Rows of tensors in their run's format, with their layer type.
        tensors: The tensors table: its elements, summed over the same steps for every tensor, are the weights.
    """
    binned = telemetry[telemetry["metric"].str.fullmatch(_BIN) | (telemetry["metric"] == _ZEROS)]
    if binned.empty:
        return pd.DataFrame()
    parts = binned["metric"].str.extract(f"^{_BIN}$")
    names = (binned["scope"] + "/" + parts["name"]).map(_BINS)
    names = names.mask(binned["metric"] == _ZEROS, _BINS["update/ulp"])
    rows = binned.assign(metric=names, bin=parts["bin"].astype(float)).dropna(subset=["metric"])
    rows = rows.merge(tensors[["run_id", "tensor", "elements"]], on=["run_id", "tensor"])
    place = ["run_id", "step", "metric", "tensor"]
    undefined = rows["value"].isna().groupby([rows[key] for key in place]).transform("any")
    rows = rows[~undefined]
    both = pd.concat([rows.assign(layer_type=ALL), rows], ignore_index=True)
    keys = ["run_id", "step", "layer_type", "metric"]
    probed = both.drop_duplicates([*keys, "tensor"]).groupby(keys)["elements"].sum().rename("probed").reset_index()
    held = both.dropna(subset=["bin"]).assign(held=lambda data: data["value"] * data["elements"])
    summed = held.groupby([*keys, "bin"])["held"].sum().reset_index().merge(probed[probed["probed"] > 0], on=keys)
    return summed.assign(bin=summed["bin"].astype(np.int32), share=summed["held"] / summed["probed"])


def hessian_table(telemetry: pd.DataFrame) -> pd.DataFrame:
    """Return the spectral density of every Hessian that was probed; one that is not finite has none.

    The weights of a probe vector sum to 1, so that one with less has lost nodes that are not finite.

    Args:
        telemetry: Any rows; those of the run's scope are read.
    """
    rows = telemetry[(telemetry["scope"] == "run") & telemetry["metric"].str.fullmatch(HESSIAN_NODE)]
    if rows.empty:
        return pd.DataFrame()
    parts = rows["metric"].str.extract(f"^{HESSIAN_NODE}$")
    places = parts[["vector", "number"]].astype(int)
    wide = rows.assign(kind=parts["kind"], **places).pivot(
        index=["run_id", "step", "vector", "number"], columns="kind", values="value"
    )
    found = []
    for (run, step), group in wide.groupby(level=["run_id", "step"], sort=False):
        # A vector whose Lanczos process ended early has fewer nodes; the rest of its row is without weight.
        vectors = group.index.get_level_values("vector").nunique()
        finite = group[np.isfinite(group.to_numpy()).all(axis=1)]
        nodes, weights = (finite[kind].unstack("number").fillna(0.0).to_numpy() for kind in ("node", "weight"))
        if len(nodes) < vectors or not np.allclose(weights.sum(axis=1), 1.0, atol=1e-3):
            continue
        grid, density = spectral_density(nodes, weights)
        found.append(pd.DataFrame({"run_id": run, "step": step, "eigenvalue": grid, "density": density}))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def event_rows(run_id: str, events: Iterable[Mapping[str, Any]], layer_types: Mapping[str, Iterable[str]]) -> list[Row]:
    """Return rows of the events table for one run.

    Args:
        run_id: The run.
        events: Its events, as its summary has them.
        layer_types: Glob patterns on module names by layer type, as in the config.
    """
    rows = []
    for event in events:
        tensor = str(event.get("tensor", ""))
        detail = {key: value for key, value in event.items() if key not in ("step", "event", "tensor")}
        rows.append(
            {
                "run_id": run_id,
                "step": event["step"],
                "event": event["event"],
                "tensor": tensor,
                "layer_type": layer_type(tensor, layer_types) if tensor else ALL,
                "detail": json.dumps(detail, sort_keys=True),
            }
        )
    return rows
