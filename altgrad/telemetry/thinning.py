"""Telemetry and timing in few rows: what the tables say of a whole run stays, the course of the run gets coarse.

`thin` keeps what cannot be computed from other rows, and `complete` adds what can. Totals of counts and sums are
exact: the tables of whole runs come out the same. Thinning what is thin already changes nothing.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from altgrad.schema import COUNTS, PROBE_TIMES, SUMS, TELEMETRY, TIMING

FLOAT32_BITS, SHARE_BITS = 24, 12
"""Significant bits of what is rounded: values, and shares of histograms, which are only ever drawn."""

_KEYS = ["scope", "tensor", "metric"]
_BIN = r"_bin_-?\d+$"
_ADDED = {column.name for column in (*COUNTS, *SUMS)} | {"nonfinite"}
_RANGES = ("amax", "amax_ema", "range_bits")
_WINDOWED = ("l2_norm", "linf_norm", *_RANGES)
_PERPLEXITIES = {"val_perplexity": "val_loss", "train_perplexity": "train_loss"}
_SHARES = {
    ("weight", "flip_rate"): (("weight", "flips"), ("weight", "elements")),
    ("weight", "stall_ratio"): (("weight", "flips_among_updated"), ("gradient", "updates")),
    ("update", "edq"): (("update", "realised_dot"), ("update", "intended_sq")),
}
"""Rates that every counted tensor has, and so has the run, by scope and metric: what is divided by what."""

_RUN_SHARES = {
    "overflow_rate": (("weight", "overflow"), ("weight", "elements")),
    "underflow_rate": (("weight", "underflow"), ("weight", "elements")),
    "update_underflow_rate": (("update", "underflow"), ("weight", "elements")),
    "zero_update_rate": (("weight", "zero_update"), ("weight", "elements")),
    "clip_rate": (("gradient", "clipped"), ("weight", "elements")),
    **{
        f"{role}_{name}_rate": ((role, name), (role, "elements"))
        for role in ("input", "grad_output")
        for name in ("overflow", "underflow")
    },
}
"""Rates that only the run has, over all its weights or casts."""

_DERIVED = {*_PERPLEXITIES, *(metric for _, metric in _SHARES), *_RUN_SHARES}

Counted = tuple[str, str]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def thin(telemetry: pd.DataFrame, steps: int, points: int, windows: int) -> pd.DataFrame:
    """Return a run's telemetry in fewer windows, without what `complete` can add.

    Windows end where all runs of as many steps have theirs, so that seeds can still be averaged. Counts and sums are
    added up, and each tensor's total over the run is the same number. Of a tensor's gradient norms one row is left, the
    root mean square of L2 and the largest Linf; of amax and range the last finite value; of probes the last, with its
    histograms. Parameters that nothing counts, such as biases, lose their norms. Validation losses stay as they are.

    Args:
        telemetry: The run's rows.
        steps: The steps that its config asks for.
        points: Most windows of the run's own metrics; train_loss is their mean, others the last finite value.
        windows: Most windows of tensors' counts; at most `points`.

    Returns:
        Rows of `schema.TELEMETRY`, sorted by step, scope, tensor and metric.
    """
    if telemetry.empty:
        return telemetry
    rows = telemetry[~telemetry["metric"].isin(["step_loss", *_DERIVED])].sort_values("step", kind="stable")
    rows = rows.assign(window=-(-rows["step"] * points // steps), part=rows["metric"].str.replace(_BIN, "", regex=True))
    added, of_run = rows["metric"].isin(_ADDED), rows["scope"] == "run"
    kept, windowed = of_run & (rows["metric"] == "val_loss"), rows["metric"].isin(_WINDOWED)
    curves = of_run & ~added & ~kept & ~rows["metric"].str.startswith("hessian_")
    ends = rows[added].groupby("window")["step"].max()
    coarse = rows[added & ~of_run].assign(window=lambda data: -(-data["window"] * windows // points))
    coarse_ends = ends.groupby(-(-ends.index * windows // points)).max()
    parts = [
        rows[kept],
        _added(rows[added & of_run], ends),
        _added(coarse, coarse_ends),
        _rounded(_of_runs(rows[curves], ends)),
        _rounded(_of_tensors(rows[windowed], set(coarse["tensor"]))),
        _rounded(_of_probes(rows[~added & ~curves & ~kept & ~windowed])),
    ]
    return _in_order(_stacked(parts).assign(run_id=telemetry["run_id"].iloc[0]))


def complete(telemetry: pd.DataFrame) -> pd.DataFrame:
    """Return a run's thinned telemetry with the rates and perplexities that follow from its rows."""
    if telemetry.empty:
        return telemetry
    losses = telemetry[telemetry["metric"].isin(list(_PERPLEXITIES.values())) & (telemetry["scope"] == "run")]
    names = {loss: metric for metric, loss in _PERPLEXITIES.items()}
    perplexities = losses.assign(metric=losses["metric"].map(names), value=losses["value"].map(_exp))
    counted = telemetry[telemetry["metric"].isin(_ADDED) & (telemetry["scope"] != "run")]
    by_tensor = counted.pivot(index=["step", "tensor"], columns=["scope", "metric"], values="value")
    by_run = counted.groupby(["step", "scope", "metric"])["value"].sum(skipna=False).unstack(["scope", "metric"])
    parts = [telemetry, perplexities]
    for (scope, metric), (part, whole) in _SHARES.items():
        parts.append(_quotient(by_tensor, part, whole, scope, metric))
        parts.append(_quotient(by_run, part, whole, "run", metric))
    for metric, (part, whole) in _RUN_SHARES.items():
        parts.append(_quotient(by_run, part, whole, "run", metric))
    return _in_order(_stacked(parts).assign(run_id=telemetry["run_id"].iloc[0]))


def thin_timing(timing: pd.DataFrame) -> pd.DataFrame:
    """Return a run's timing in one row, which sums up as all of them do.

    Times are medians over the windows, those of probes means; the first window, which warms up, is left out where
    there are more. The peak of memory is the largest.

    Args:
        timing: The run's rows of `schema.TIMING`.
    """
    if timing.empty:
        return timing
    later = timing.iloc[1:] if len(timing) > 1 else timing
    probes = [column.name for column in PROBE_TIMES]
    others = [c.name for c in TIMING if c.dtype == "float64" and c not in PROBE_TIMES]
    row = timing.iloc[[-1]].copy()
    for names, values in ((others, later[others].median()), (probes, later[probes].mean())):
        row[names] = _round(values.to_numpy(float), FLOAT32_BITS)[None]
    row["peak_memory_bytes"] = timing["peak_memory_bytes"].max()
    return row.reset_index(drop=True)


def round_diagnostics(diagnostics: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `schema.DIAGNOSTICS` with their values rounded as probes of telemetry are."""
    return _rounded(diagnostics.reset_index(drop=True))


def _of_runs(rows: pd.DataFrame, ends: "pd.Series[int]") -> pd.DataFrame:
    """Return the run's own metrics, one value a window; of train_loss the mean over the window's steps."""
    spans = rows["step"] - rows.groupby("metric")["step"].shift(fill_value=0)
    averaged = (rows["metric"] == "train_loss") & np.isfinite(rows["value"])
    rows = rows.assign(span=spans.where(averaged, 0))
    groups = rows.assign(weighted=rows["value"].where(averaged, 0.0) * rows["span"]).groupby(["window", *_KEYS])
    found = groups[["weighted", "span"]].sum().assign(value=_last_finite(rows, ["window", *_KEYS]))
    mean = found["weighted"] / found["span"].where(found["span"] > 0)
    return _at_ends(found.assign(value=mean.fillna(found["value"])), ends)


def _added(rows: pd.DataFrame, ends: "pd.Series[int]") -> pd.DataFrame:
    """Return counts and sums added up by window, so that the windows' total is what all rows add up to."""
    if rows.empty:  # every step of a run was refused
        return rows
    summed = rows.groupby([*_KEYS, "window"])["value"].sum(skipna=False)
    totals = rows.groupby(_KEYS)["value"].sum(skipna=False).to_numpy(float)
    ends_of_groups = np.cumsum(summed.groupby(level=_KEYS).size().to_numpy())
    parts = np.split(summed.to_numpy(float), ends_of_groups[:-1])
    exact = np.concatenate([_split(*pair) for pair in zip(parts, totals, strict=True)])
    return _at_ends(summed.to_frame().assign(value=exact), ends)


def _split(parts: Floats, total: float) -> Floats:
    """Return parts of a sum, each moved by less than a rounding of it, so that they add up to it in any order."""
    if total == 0 or not math.isfinite(total) or not np.isfinite(parts).all():
        return parts
    unit = np.spacing(abs(total))
    moved: Floats = np.round(parts / unit) * unit
    last = int(np.flatnonzero(parts)[-1])
    moved[last] = total - (moved.sum() - moved[last])
    return moved


def _of_tensors(rows: pd.DataFrame, counted: set[str]) -> pd.DataFrame:
    """Return one row for what a counted tensor has in every window: norms over all of them, ranges of the last."""
    mine = rows[rows["tensor"].isin(counted)]
    finite = mine[np.isfinite(mine["value"])]
    l2 = finite[finite["metric"] == "l2_norm"].assign(value=lambda data: data["value"] ** 2)
    parts = [
        np.sqrt(l2.groupby(_KEYS)["value"].mean()),
        finite[finite["metric"] == "linf_norm"].groupby(_KEYS)["value"].max(),
        _last_finite(mine[mine["metric"].isin(_RANGES)], _KEYS),
    ]
    found: pd.DataFrame = pd.concat(parts).reset_index()
    return found.assign(step=rows["step"].max())


def _of_probes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what every probe found when it last ran: a histogram, or the Hessian, is all rows of one step."""
    part = rows["part"].mask(rows["metric"].str.startswith("hessian_"), "hessian")
    last = rows[rows["step"] == rows["step"].groupby([rows["scope"], part]).transform("max")]
    return last[~(_is_share(last) & (last["value"] == 0))]


def _last_finite(rows: pd.DataFrame, keys: list[str]) -> "pd.Series[float]":
    """Return each group's last finite value, NaN where it has none."""
    finite = rows.assign(value=rows["value"].where(np.isfinite(rows["value"])))
    last: pd.Series[float] = finite.groupby(keys)["value"].last()
    return last


def _at_ends(values: pd.DataFrame, ends: "pd.Series[int]") -> pd.DataFrame:
    """Return rows of windows with the step at which each window ends."""
    rows: pd.DataFrame = values.reset_index()
    return rows.assign(step=rows["window"].map(ends))


def _quotient(counts: pd.DataFrame, part: Counted, whole: Counted, scope: str, metric: str) -> pd.DataFrame:
    """Return a rate as rows; none where something was not counted, NaN where it was counted over nothing."""
    if part not in counts or whole not in counts:
        return pd.DataFrame()
    both = counts[[part, whole]].dropna()
    share = both[part] / both[whole].where(both[whole] != 0)
    values = 1.0 - share if metric == "stall_ratio" else share
    rows = values.rename("value").reset_index().assign(scope=scope, metric=metric)
    return rows.assign(tensor=rows["tensor"] if scope != "run" else "")


def _is_share(rows: pd.DataFrame) -> Bools:
    return rows["metric"].str.contains(_BIN, regex=True).to_numpy(bool)


def _stacked(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([part for part in parts if not part.empty])


def _exp(loss: float) -> float:
    return math.inf if loss > math.log(np.finfo(float).max) else math.exp(loss)


def _rounded(rows: pd.DataFrame) -> pd.DataFrame:
    values = rows["value"].to_numpy(float)
    return rows.assign(value=np.where(_is_share(rows), _round(values, SHARE_BITS), _round(values, FLOAT32_BITS)))


def _round(values: Floats, bits: int) -> Floats:
    """Return values with so many significant bits; what is not finite stays."""
    mantissa, exponent = np.frexp(values)
    rounded: Floats = np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent)
    return rounded


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    names: list[Any] = [column.name for column in TELEMETRY]
    ordered = rows.sort_values(["step", *_KEYS], kind="stable", ignore_index=True)[names]
    return ordered.astype({"step": np.int32, "value": float})
