"""Curves, rates and probes of each cell at its chosen learning rate: mean, smallest and largest over the seeds."""

import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import typed
from altgrad.analysis.telemetry_tables import rates, sum_by
from altgrad.schema import RATES

CURVE_METRICS = ("val_loss", "train_loss")
RATE_METRICS = tuple(column.name for column in RATES)


def bands_table(
    chosen: pd.DataFrame, curves: pd.DataFrame, counters: pd.DataFrame, probes: pd.DataFrame
) -> pd.DataFrame:
    """Return, for each cell, loss curves (layer type empty), and rates and probes by layer type, over the seeds.

    Args:
        chosen: Rows of the runs table at their cell's chosen learning rate.
        curves: The curves table.
        counters: The counters table.
        probes: The probes table; its metrics are averaged over a layer type's tensors, each counting once.
    """
    losses = curves[curves["metric"].isin(CURVE_METRICS)].assign(layer_type="")
    shares = counters[counters["metric"].isin(RATE_METRICS)]
    keys = [*CELL, "lr"]
    place = chosen[["run_id", *keys]].assign(seeds=chosen.groupby(keys)["run_id"].transform("size"))
    values = pd.concat([losses, shares, probe_means(probes)]).dropna(subset=["value"]).merge(place, on="run_id")
    groups = values.groupby([*keys, "layer_type", "metric", "step"], sort=False)
    summary = groups["value"].agg(n="size", mean="mean", low="min", high="max").reset_index()
    seeds = groups["seeds"].first().to_numpy()
    return typed("bands", summary.assign(complete=summary["n"].to_numpy() == seeds))


def probe_means(probes: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of every probe over a layer type's tensors, and over all; undefined values are left out.

    Args:
        probes: The probes table.

    Returns:
        run_id, step, layer_type, metric and value.
    """
    both = pd.concat([probes.assign(layer_type=ALL), probes])
    return both.groupby(["run_id", "step", "layer_type", "metric"], sort=False)["value"].mean().reset_index()


def totals_by_layer(tensors: pd.DataFrame) -> pd.DataFrame:
    """Return whole-run rates by run and layer type, `all` included, over the tensors in the run's format.

    Args:
        tensors: The tensors table.

    Returns:
        run_id, layer_type and a column a rate of `schema.RATES`.
    """
    studied = tensors[tensors["studied"]]
    keys = ["run_id", "layer_type"]
    both = pd.concat([studied.assign(layer_type=ALL), studied])
    totals = sum_by(both, keys)
    return pd.concat([totals[keys], rates(totals)], axis=1)


def layer_rates_table(
    chosen: pd.DataFrame, totals: pd.DataFrame, tensors: pd.DataFrame, diagnostics: pd.DataFrame
) -> pd.DataFrame:
    """Return, for each cell and layer type, whole-run rates and diagnostics of the tensors in the cell's format.

    Args:
        chosen: Rows of the runs table at their cell's chosen learning rate.
        totals: From `totals_by_layer`.
        tensors: The tensors table.
        diagnostics: The tensor_diagnostics table; its metrics are averaged over a layer type's tensors, and over all.
    """
    keys = ["run_id", "layer_type"]
    shares = totals.melt(keys, list(RATE_METRICS), var_name="metric", value_name="value")
    in_format = diagnostics.merge(tensors.loc[tensors["studied"], ["run_id", "tensor"]], on=["run_id", "tensor"])
    both = pd.concat([in_format.assign(layer_type=ALL), in_format])
    probes = both.groupby([*keys, "metric"], sort=False)["value"].mean().reset_index()
    values = pd.concat([shares, probes]).dropna(subset=["value"]).merge(chosen[["run_id", *CELL]], on="run_id")
    groups = values.groupby([*CELL, "layer_type", "metric"], sort=False)["value"]
    return typed("layer_rates", groups.agg(n="size", mean="mean", low="min", high="max").reset_index())
