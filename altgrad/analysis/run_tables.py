"""One row a run: what it was, how it ended, and what it scored; and the formats and updates that occur."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from altgrad.analysis.run_folders import INCLUDED, FinishedRun
from altgrad.analysis.tables import Row, frame
from altgrad.numerics.format import FloatFormat
from altgrad.study.config import UpdateSpec
from altgrad.study.runs import ArmConfig, RunConfig
from altgrad.study.scores import score

UNKNOWN_LR = 1.0
"""In place of a learning rate that has not been tuned, in configs that are only looked at."""

MISSING = "missing"
"""The status of a run that the study plans and whose folder was not given."""

COPIED = (
    "status",
    "val_loss",
    "val_perplexity",
    "train_loss",
    "steps",
    "steps_planned",
    "tokens",
    "tokens_per_s",
    "wall_s",
    "peak_memory_bytes",
    "parameters",
    "update_ulps",
    "git_revision",
    "corpus_fingerprint",
)
"""Columns of the runs table that are fields of a summary as they stand."""


def runs_table(arms: Iterable[ArmConfig], lrs: Mapping[str, float], found: Mapping[str, FinishedRun]) -> pd.DataFrame:
    """Return the runs table: every planned run, there or missing, then the included ones.

    A planned run that was given only as an included one is missing: the included one has a row of its own. A run whose
    arm has not been tuned is missing too, and has no learning rate.

    Args:
        arms: The study's arms, in its order.
        lrs: Tuned learning rates by arm.
        found: The runs that are there, by id.
    """
    rows: list[Row] = []
    own = {run_id: run for run_id, run in found.items() if run.role != INCLUDED}
    for arm in arms:
        lr = lrs.get(arm.arm) if arm.lr is None else arm.lr
        for config in arm.runs(UNKNOWN_LR if lr is None else lr):
            run = own.get(config.run_id)
            rows.append(_finished_row(run) if run else _missing_row(config, lr))
    rows += [_finished_row(run) for run in found.values() if run.role == INCLUDED]
    return frame("runs", rows)


def formats_table(configs: Iterable[RunConfig]) -> pd.DataFrame:
    """Return every format that occurs, references last, the others by rising exponent width."""
    found: dict[str, FloatFormat] = {}
    for config in configs:
        found.setdefault(config.format, config.float_format())
    order = sorted(found.values(), key=lambda f: (f.is_reference, f.bits, f.exponent_bits, f.name))
    rows: list[Row] = [
        {
            "format": fmt.name,
            "exponent_bits": fmt.exponent_bits,
            "mantissa_bits": fmt.mantissa_bits,
            "bias": fmt.bias,
            "max": fmt.max,
            "smallest_subnormal": fmt.smallest_subnormal,
            "range_bits": math.log2(fmt.max / fmt.smallest_subnormal),
            "num_values": fmt.num_values,
            "reference": fmt.is_reference,
            "source": fmt.source,
        }
        for fmt in order
    ]
    return frame("formats", rows)


def updates_table(configs: Iterable[RunConfig]) -> pd.DataFrame:
    """Return every update that occurs: those that are no geometry-aware ones first, then in the order of the runs."""
    specs: dict[str, UpdateSpec] = {}
    for config in configs:
        specs.setdefault(config.update, config.update_spec)
    order = sorted(specs, key=lambda name: specs[name].geometry_aware)
    rows: list[Row] = [
        {
            "update": name,
            "optimizer": specs[name].optimizer,
            "metric_power": specs[name].metric_power,
            "metric": specs[name].metric,
            "precondition": specs[name].precondition,
            "geometry_aware": specs[name].geometry_aware,
            "primary": _is_primary(specs[name]),
        }
        for name in order
    ]
    return frame("updates", rows)


def _is_primary(spec: UpdateSpec) -> bool:
    """Return whether this is the geometry-aware update that was fixed beforehand: the normalised metric, p = 1/2."""
    return (
        spec.geometry_aware
        and spec.optimizer == "manifold_adamw"
        and spec.precondition == "update"
        and spec.metric == "ulp"
        and spec.metric_power == 0.5
    )


def _identity(config: RunConfig) -> Row:
    names = ("run_id", "study", "format", "update", "storage", "layers", "lr", "seed", "revision")
    return {name: getattr(config, name) for name in names}


def _missing_row(config: RunConfig, lr: float | None) -> Row:
    status = {"role": config.role, "status": MISSING, "comparable": False, "steps_planned": config.training.steps}
    return {**_identity(config), "lr": math.nan if lr is None else lr, **status}


def _finished_row(run: FinishedRun) -> Row:
    summary = run.summary
    return {
        **_identity(run.config),
        "role": run.role,
        "comparable": run.comparable,
        "score": score(summary, str(run.folder)),
        **{name: summary.get(name) for name in COPIED},
        "device": _device(summary),
        "versions": json.dumps(summary.get("versions", {}), sort_keys=True),
        "config_hash": summary["config_hash"],
        "events": len(summary.get("events", [])),
        "archived": bool(summary.get("archived", False)),
    }


def _device(summary: Mapping[str, Any]) -> str:
    kind, name = str(summary.get("device", "unknown")), str(summary.get("device_name", ""))
    return f"{kind} ({name})" if name and name != kind else kind
