"""From weights to their diagnostics: of a finished run, of one that was interrupted, or of any file with a plan."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import safetensors
import safetensors.torch
from torch import Tensor

from altgrad.errors import AltGradError, CheckpointError, ConfigError, MismatchError
from altgrad.nn.plan import PrecisionPlan, new_scaler
from altgrad.nn.support import WEIGHT_DTYPES
from altgrad.numerics.catalog import formats
from altgrad.numerics.format import FloatFormat
from altgrad.parquet import arrow_schema, write_table
from altgrad.schema import DIAGNOSTICS
from altgrad.study.config import RunConfig
from altgrad.study.grid import config_hash
from altgrad.study.loading import load_config, parse
from altgrad.study.reading import read_mapping
from altgrad.telemetry.probes import weight_probes
from altgrad.training.checkpoint import MANIFEST, StateFolder
from altgrad.training.setup import precision_plan
from altgrad.training.stamp import STAMP, read_stamp

WEIGHTS = "final.safetensors"
PLAN_OPTIONS = ("scaling", "per_row", "power_of_two")
"""The keys of a plan's file that are no patterns."""

_SCALE_SUFFIX = "_scaler.scale"
_TIED = ("wte.weight", "lm_head.weight")
_ADVICE = "Run `altgrad train` for it again: it hands out the files of a finished run"
_TRIES = 5

_Row = tuple[str, str, str, float]


class _Weights(NamedTuple):
    """A run's weights, from wherever they were read.

    Attributes:
        source: The file or folder, for errors.
        run: The run.
        state: The model's state.
        shifts: What the run says of weights whose format changed under way: their new formats' names by weight.
    """

    source: Path
    run: RunConfig
    state: Mapping[str, Tensor]
    shifts: Any


def diagnose_run(folder: Path, out: Path, say: Callable[[str], None]) -> None:
    """Write the probes of every quantized weight of a run, one row a metric, sorted by tensor.

    A weight that layers share appears under each layer's name. A run that has not ended is read from its newest restart
    state that is whole; the folder is only read, and a process that trains in it is not disturbed.

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
    finished = (folder / "summary.json").exists()
    weights = _read_finished(folder) if finished else _read_interrupted(folder, say)
    _write(out, _run_rows(weights))


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


def _write(out: Path, rows: list[_Row]) -> None:
    table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=arrow_schema(DIAGNOSTICS))
    write_table(out, table)


def _run_rows(weights: _Weights) -> list[_Row]:
    """Return the rows of every weight that has a scale."""
    where, run, state, _ = weights
    plan, shifted = precision_plan(run), _shifted(weights)
    rows: list[_Row] = []
    for key in sorted(name for name in state if name.endswith(_SCALE_SUFFIX)):
        name = key.removesuffix(_SCALE_SUFFIX)
        fmt = shifted.get(name) or plan.format_for(name.rpartition(".")[0])
        if fmt is None or name not in state:
            raise MismatchError(str(where), f"it holds a scale for {name}, which the run does not quantize", _ADVICE)
        rows.extend((run.run_id, name, *probe) for probe in weight_probes(state[name], fmt, state[key]).items())
    if not rows:
        raise MismatchError(str(where), "it holds no quantized weight", _ADVICE)
    return rows


def _shifted(weights: _Weights) -> dict[str, FloatFormat]:
    """Return the formats of the weights that shifted, a shared weight under all its names."""
    where, run, state, shifts = weights
    if not isinstance(shifts, Mapping) or not all(isinstance(name, str) for name in shifts.values()):
        raise CheckpointError(str(where), f"its shifts are {shifts!r}, not formats by weight", _ADVICE)
    found: dict[str, FloatFormat] = {}
    for name, fmt in shifts.items():
        if f"{name}{_SCALE_SUFFIX}" not in state:
            raise MismatchError(str(where), f"{name} is said to have shifted, and is no quantized weight", _ADVICE)
        tied = run.model.tie_weights and name in _TIED
        found |= dict.fromkeys(_TIED if tied else (name,), formats[fmt])
    return found


def _read_finished(folder: Path) -> _Weights:
    """Return the final weights, verified against the hash that the summary has of them."""
    run = load_config(RunConfig, folder / "config.json")
    summary = read_mapping(folder / "summary.json")
    if summary.get("run_id") != run.run_id:
        raise MismatchError(
            str(folder), f"its summary is of {summary.get('run_id')}, its config of {run.run_id}", _ADVICE
        )
    files: Any = summary.get("files")
    expected = files.get(WEIGHTS) if isinstance(files, dict) else None
    path = folder / WEIGHTS
    with _readable(path):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != expected:
            raise CheckpointError(str(path), "its hash is not the one in summary.json: it is damaged", _ADVICE)
        return _Weights(path, run, safetensors.torch.load(data), summary.get("shifts", {}))


@contextmanager
def _readable(path: Path, advice: str = _ADVICE) -> Iterator[None]:
    """Turn what a file of weights can throw while it is read into one line."""
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        raise CheckpointError(str(path), f"it cannot be read ({reason})", advice) from None


class _ReadOnlyState(StateFolder):
    """Restart state that is looked at while its run may go on: nothing in it is removed or rewritten."""

    def _clean(self) -> None:
        """Leave the files of unfinished writes to the process that makes them."""

    def _write_manifest(self, entries: object) -> None:
        """Leave the fallback to the process that resumes."""


def _read_interrupted(folder: Path, say: Callable[[str], None]) -> _Weights:
    """Return the weights of the newest restart state that is whole."""
    home = _find_state(folder)
    run = _stamped_run(home)
    for _ in range(_TRIES):
        before, messages = _manifest(home), list[str]()
        try:
            loaded = _ReadOnlyState(home, messages.append).load()
        except CheckpointError:
            if _manifest(home) == before:
                raise
            continue  # its run went on meanwhile and replaced what the manifest named
        if loaded is not None:
            break
    else:
        raise CheckpointError(str(home), "its run goes on faster than it can be read", "Wait for its end and try again")
    entry, payload = loaded
    for message in messages:
        say(message)
    say(f"{run.run_id}: not finished; these are the weights of step {entry.step} of {run.training.steps}")
    return _Weights(home / entry.file, run, payload["model"], payload.get("shifts", {}))


def _manifest(home: Path) -> bytes:
    path = home / MANIFEST
    return path.read_bytes() if path.exists() else b""


def _find_state(folder: Path) -> Path:
    """Return the one folder of restart state that belongs to a run's folder, or is that folder itself."""
    if (folder / MANIFEST).exists():
        return folder
    homes = [path.parent for path in sorted(folder.glob(f"state/*/{MANIFEST}"))]
    if not homes:
        raise CheckpointError(str(folder), "it holds neither a finished run nor the restart state of one", _ADVICE)
    config = folder / "config.json"
    if config.exists():
        wanted = config_hash(load_config(RunConfig, config))
        homes = [home for home in homes if config_hash(_stamped_run(home)) == wanted]
        if not homes:
            raise MismatchError(
                str(folder), "its restart state is of another run than its config.json", "Name a folder in state/"
            )
    if len(homes) > 1:
        names = ", ".join(f"{home.name} ({_stamped_run(home).run_id})" for home in homes)
        raise MismatchError(
            str(folder / "state"), f"it holds the restart state of several runs: {names}", "Name one of these folders"
        )
    return homes[0]


def _stamped_run(home: Path) -> RunConfig:
    """Return the run that a folder of restart state belongs to, from its stamp.

    The stamp has every field that decides the result under its dotted name; the rest of a config is filled in.
    """
    data: dict[str, Any] = {"study": "unknown", "role": "grid", "layer_types": {}}
    try:
        for key, value in (read_stamp(home) or {}).items():
            if not key.startswith(("environment.", "corpus.")):
                *sections, last = key.split(".")
                place = data
                for section in sections:
                    place = place.setdefault(section, {})
                place[last] = value
    except (AttributeError, TypeError):
        raise CheckpointError(str(home / STAMP), "it is damaged", "Delete the folder to start the run anew") from None
    return parse(RunConfig, data, lambda _: str(home / STAMP))


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
    with _readable(file, advice):
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
