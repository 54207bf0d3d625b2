"""From a finished run's folder to the diagnostics of its final weights."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import safetensors
import safetensors.torch
from torch import Tensor

from altgrad.errors import CheckpointError, MismatchError
from altgrad.parquet import arrow_schema, write_table
from altgrad.schema import DIAGNOSTICS
from altgrad.study.config import RunConfig
from altgrad.study.loading import load_config
from altgrad.study.reading import read_mapping
from altgrad.telemetry.probes import weight_probes
from altgrad.training.setup import precision_plan

WEIGHTS = "final.safetensors"
_SCALE_SUFFIX = "_scaler.scale"
_ADVICE = "Run `altgrad train` for it again: it hands out the files of a finished run"


def diagnose_run(folder: Path, out: Path) -> None:
    """Write the probes of every quantized weight of a run, one row a metric, sorted by tensor.

    A weight that layers share appears under each layer's name.

    Args:
        folder: The run's folder: config.json, summary.json and final.safetensors.
        out: The Parquet file to write, whole or not at all.

    Raises:
        ConfigError: The config or the summary cannot be read.
        MismatchError: The summary is another run's, or the weights are not those of the config.
        CheckpointError: The weights are missing or damaged, or `out` cannot be written.
    """
    run = load_config(RunConfig, folder / "config.json")
    state = _read_weights(folder, run)
    plan = precision_plan(run)
    rows: list[tuple[str, str, str, float]] = []
    for key in sorted(name for name in state if name.endswith(_SCALE_SUFFIX)):
        name = key.removesuffix(_SCALE_SUFFIX)
        fmt = plan.format_for(name.rpartition(".")[0])
        if fmt is None or name not in state:
            raise MismatchError(
                str(folder / WEIGHTS), f"it holds a scale for {name}, which the run does not quantize", _ADVICE
            )
        probes = weight_probes(state[name], fmt, state[key])
        rows.extend((run.run_id, name, metric, value) for metric, value in probes.items())
    if not rows:
        raise MismatchError(str(folder / WEIGHTS), "it holds no quantized weight", _ADVICE)
    table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=arrow_schema(DIAGNOSTICS))
    write_table(out, table)


def _read_weights(folder: Path, run: RunConfig) -> dict[str, Tensor]:
    """Return the final weights, verified against the hash that the summary has of them."""
    summary = read_mapping(folder / "summary.json")
    if summary.get("run_id") != run.run_id:
        raise MismatchError(
            str(folder), f"its summary is of {summary.get('run_id')}, its config of {run.run_id}", _ADVICE
        )
    files: Any = summary.get("files")
    expected = files.get(WEIGHTS) if isinstance(files, dict) else None
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != expected:
            raise CheckpointError(str(path), "its hash is not the one in summary.json: it is damaged", _ADVICE)
        return safetensors.torch.load(data)
    except (OSError, safetensors.SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(str(path), f"it cannot be read ({reason})", _ADVICE) from None
