"""From weights to their diagnostics: of a finished run, of one that was interrupted, or of any file with a plan."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import safetensors
from torch import Tensor

from altgrad.errors import AltGradError, CheckpointError, ConfigError, MismatchError
from altgrad.nn.plan import PrecisionPlan, new_scaler
from altgrad.nn.support import WEIGHT_DTYPES
from altgrad.numerics.catalog import formats
from altgrad.numerics.format import FloatFormat
from altgrad.parquet import arrow_schema, write_table
from altgrad.schema import DIAGNOSTICS
from altgrad.study.reading import read_mapping
from altgrad.study.runs import RunConfig
from altgrad.telemetry.probes import sign_kept, weight_probes
from altgrad.training.checkpoint import write_bytes
from altgrad.training.run_weights import ADVICE, DIAGNOSTICS_FILE, WEIGHTS, RunWeights, read_weights, readable
from altgrad.training.setup import build_model, precision_plan

PLAN_OPTIONS = ("scaling", "per_row", "power_of_two")
"""The keys of a plan's file that are no patterns."""

VOCABULARY = "wte.weight"
"""The weight that has a row for each token."""

_SCALE_SUFFIX = "_scaler.scale"
_TIED = ("wte.weight", "lm_head.weight")

_Row = tuple[str, str, str, float]


def diagnose_run(folder: Path, out: Path, say: Callable[[str], None]) -> None:
    """Write the probes of every quantized weight of a run, one row a metric, sorted by tensor.

    A weight that layers share appears under each layer's name. A run that has not ended is read from its newest restart
    state that is whole. A run from an archive, which has no weights, has its diagnostics with it.

    Args:
        folder: The run's folder: config.json, summary.json and final.safetensors, or a folder `state/`; or one of the
            folders in that.
        out: The Parquet file to write, whole or not at all.
        say: Takes messages for the user.

    Raises:
        ConfigError: The config or the summary cannot be read.
        MismatchError: The files belong to different runs, or the restart state could be that of several.
        CheckpointError: The weights are missing or damaged, or there are none.
        TableError: `out` cannot be written.
    """
    if not _hand_out_archived(folder, out):
        _write(out, _run_rows(read_weights(folder, say)))


def diagnose_weights(file: Path, plan_file: Path, out: Path) -> None:
    """Write the probes of the weights in a safetensors file, each in the format that a plan gives it.

    Weights are tensors `<module>.weight` (or another name that ends in `_weight`) of two dimensions or more; of more,
    all but the first are one. The scale is the file's own where it has one (`<weight>_scaler.scale`), and else is taken
    from the weight as training does at its start. The column `run_id` has the file's name without its suffix.

    Args:
        file: The safetensors file.
        plan_file: YAML or JSON: a glob on dotted names of modules or tensors -> a format's name, or null to leave
            alone; the first match decides. The keys `scaling`, `per_row` and `power_of_two` are options of the scale.
        out: The Parquet file to write, whole or not at all.

    Raises:
        ConfigError: The plan cannot be read, or has no effect on the file.
        CheckpointError: The weights cannot be read.
        MismatchError: A weight, or its scale, is none that can be diagnosed.
        TableError: `out` cannot be written.
    """
    plan = _read_plan(plan_file)
    rows: list[_Row] = []
    with _opened(file) as tensors:
        names = set(tensors.keys())
        for name, fmt in sorted(_planned(tensors, plan, plan_file).items()):
            weight = _matrix(file, name, tensors.get_tensor(name))
            if f"{name}{_SCALE_SUFFIX}" in names:
                scale = _usable(file, name, tensors.get_tensor(f"{name}{_SCALE_SUFFIX}"), weight)
            else:
                scale = new_scaler(weight, fmt, **plan.options).scale
            rows.extend((file.stem, name, *probe) for probe in weight_probes(weight, fmt, scale).items())
    if not rows:
        raise ConfigError(
            str(plan_file),
            f"it gives no weight of {file} a format",
            "Give a pattern that matches, for example '*'",
        )
    _write(out, rows)


def _hand_out_archived(folder: Path, out: Path) -> bool:
    """Copy the diagnostics of a run that came from an archive, which has no weights; return whether it did."""
    path, summary = folder / DIAGNOSTICS_FILE, folder / "summary.json"
    if (folder / WEIGHTS).exists() or not path.exists() or not summary.exists():
        return False
    with readable(path):
        data = path.read_bytes()
    files = read_mapping(summary).get("files", {})
    if hashlib.sha256(data).hexdigest() != files.get(DIAGNOSTICS_FILE):
        raise CheckpointError(str(path), "its hash is not the one in summary.json: it is damaged", ADVICE)
    write_bytes(out, data)
    return True


def _write(out: Path, rows: list[_Row]) -> None:
    table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=arrow_schema(DIAGNOSTICS))
    write_table(out, table)


def _run_rows(weights: RunWeights) -> list[_Row]:
    """Return the rows of every weight that has a scale."""
    where, run, state, _ = weights
    plan, shifted = precision_plan(run), _shifted(weights)
    beginning = _initial_weights(run, state)
    rows: list[_Row] = []
    for key in sorted(name for name in state if name.endswith(_SCALE_SUFFIX)):
        name = key.removesuffix(_SCALE_SUFFIX)
        fmt = shifted.get(name) or plan.format_for(name.rpartition(".")[0])
        if fmt is None or name not in state:
            raise MismatchError(str(where), f"it holds a scale for {name}, which the run does not quantize", ADVICE)
        probes = weight_probes(state[name], fmt, state[key])
        if name in beginning:
            probes["sign_kept"] = sign_kept(beginning[name], state[name])
        rows.extend((run.run_id, name, *probe) for probe in probes.items())
    if not rows:
        raise MismatchError(str(where), "it holds no quantized weight", ADVICE)
    return rows


def _initial_weights(run: RunConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that a run began with, by all their names."""
    if VOCABULARY not in state:
        return {}
    return dict(build_model(run, state[VOCABULARY].shape[0]).named_parameters(remove_duplicate=False))


def _shifted(weights: RunWeights) -> dict[str, FloatFormat]:
    """Return the formats of the weights that shifted, a shared weight under all its names."""
    where, run, state, shifts = weights
    if not isinstance(shifts, Mapping) or not all(isinstance(name, str) for name in shifts.values()):
        raise CheckpointError(str(where), f"its shifts are {shifts!r}, not formats by weight", ADVICE)
    found: dict[str, FloatFormat] = {}
    for name, fmt in shifts.items():
        if f"{name}{_SCALE_SUFFIX}" not in state:
            raise MismatchError(str(where), f"{name} is said to have shifted, and is no quantized weight", ADVICE)
        tied = run.model.tie_weights and name in _TIED
        found |= dict.fromkeys(_TIED if tied else (name,), formats[fmt])
    return found


def _read_plan(path: Path) -> PrecisionPlan:
    """Return the plan in a file."""
    data = read_mapping(path)
    options: dict[str, Any] = {key: data.pop(key) for key in PLAN_OPTIONS if key in data}
    for key, value in options.items():
        if not isinstance(value, str if key == "scaling" else bool):
            allowed = "delayed, current or none, as text" if key == "scaling" else "true or false"
            raise ConfigError(f"{path}: {key}", f"{value!r} is not one of its values", f"Give {allowed}")
    for pattern, value in data.items():
        if value is not None and not isinstance(value, str):
            raise ConfigError(
                f"{path}: {pattern}", f"{value!r} is not a format's name", "Give a name, or null to leave weights alone"
            )
    with _in_plan(path):
        return PrecisionPlan(data, **options)


@contextmanager
def _in_plan(path: Path) -> Iterator[None]:
    """Name a plan's file in the errors that it causes."""
    try:
        yield
    except AltGradError as error:
        raise ConfigError(f"{path}: {error.where}", error.why, error.what_to_do) from None


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    advice = "Give a safetensors file"
    with readable(file, advice):
        with safetensors.safe_open(file, framework="pt") as tensors:
            yield tensors


def _planned(tensors: Any, plan: PrecisionPlan, plan_file: Path) -> dict[str, FloatFormat]:
    """Return the formats of the weights in an open file that a plan gives one."""
    weights: dict[str, str] = {}
    for name in tensors.keys():
        module, _, own = name.rpartition(".")
        if (own == "weight" or own.endswith("_weight")) and len(tensors.get_slice(name).get_shape()) > 1:
            weights[name] = module
    with _in_plan(plan_file):
        plan.check_patterns(sorted({*weights, *weights.values()}))
    found = {
        name: next((rule.fmt for rule in plan.rules if rule.matches(module) or rule.matches(name)), None)
        for name, module in weights.items()
    }
    return {name: fmt for name, fmt in found.items() if fmt is not None}


def _matrix(file: Path, name: str, weight: Tensor) -> Tensor:
    """Return a weight as a matrix (rows, all else); refuse what has no arithmetic of rounding."""
    if weight.dtype not in WEIGHT_DTYPES:
        dtype = str(weight.dtype).removeprefix("torch.")
        raise MismatchError(f"{file}: {name}", f"it is {dtype}", "Cast it to float32, or give it null in the plan")
    return weight.flatten(1)


def _usable(file: Path, name: str, scale: Tensor, weight: Tensor) -> Tensor:
    """Return a stored scale (one, or one a row) if it is one."""
    fits = scale.shape in ((), (weight.shape[0], 1)) and scale.dtype in WEIGHT_DTYPES
    if not fits or not bool(((scale > 0) & scale.isfinite()).all()):
        raise MismatchError(
            f"{file}: {name}{_SCALE_SUFFIX}",
            f"it is no scale for a weight of {weight.shape[0]} rows",
            "It must be positive, of shape () or (rows, 1)",
        )
    return scale
