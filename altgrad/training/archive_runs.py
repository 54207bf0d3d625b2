"""Finished runs on their way into an archive: found in a results folder, verified, and thinned."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import ValidationError

from altgrad.errors import AltGradError, CheckpointError
from altgrad.parquet import arrow_schema, read_table
from altgrad.schema import DIAGNOSTICS, TELEMETRY, TIMING
from altgrad.study.grid import stated_hash
from altgrad.study.runs import RunConfig
from altgrad.telemetry.thinning import round_diagnostics, thin, thin_timing
from altgrad.training.archive_file import KINDS, TABLES, ArchivedRun
from altgrad.training.diagnosis import diagnose_run
from altgrad.training.run import FINISHED
from altgrad.training.stamp import state_key

ARCHIVED = "archived"
"""The summary's mark of a run that came from an archive."""

_SUMMARY = "summary.json"


@dataclass(frozen=True)
class Thinning:
    """How many rows of a run's telemetry stay; see `thin`.

    Attributes:
        points: Most windows of the run's own metrics.
        windows: Most windows of tensors' counts.
    """

    points: int
    windows: int


def finished_folders(folder: Path) -> list[Path]:
    """Return where a run's folder has finished files: one a state, or the folder itself where none stands behind it."""
    states = sorted(path.parent for path in folder.glob(f"state/*/{FINISHED}/{_SUMMARY}"))
    declared = folder / _SUMMARY
    if declared.exists() and declared.read_bytes() not in [(state / _SUMMARY).read_bytes() for state in states]:
        return [*states, folder]
    return states


def read_finished(
    kind: str, folder: Path, declared: Path, diagnostics: Path, thinning: Thinning, say: Callable[[str], None]
) -> ArchivedRun | None:
    """Return a finished run as an archive takes it; None where another version of altgrad made it.

    Args:
        kind: One of `KINDS`; of a trial, config and summary are enough.
        folder: Where its finished files are.
        declared: The run's folder.
        diagnostics: The file of the run's diagnostics. If it is not there or not of these weights, they are made.
        thinning: How many rows of telemetry stay.
        say: Takes messages for the user.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    summary = _json(folder, _SUMMARY)
    files = summary.pop("files", {})
    summary.pop(ARCHIVED, None)
    config = _json(folder, "config.json", files)
    run = current_run(config, summary)
    if run is None:
        return None
    key, tables = state_key(run, summary["corpus_fingerprint"]), dict[str, pa.Table]()
    if kind == KINDS[0]:
        for name in ("telemetry", "timing"):
            _verified(folder, f"{name}.parquet", files)
        telemetry = read_table(folder / "telemetry.parquet", TELEMETRY).to_pandas()
        timing = read_table(folder / "timing.parquet", TIMING).to_pandas()
        measured = _diagnostics(folder, declared, diagnostics, say).to_pandas()
        tables = {
            "telemetry": _table("telemetry", thin(telemetry, run.training.steps, thinning.points, thinning.windows)),
            "timing": _table("timing", thin_timing(timing)),
            "diagnostics": _table("diagnostics", round_diagnostics(measured)),
        }
    return ArchivedRun(kind, key, config, summary, tables)


def _table(name: str, data: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(data, arrow_schema(TABLES[name]), preserve_index=False).drop_columns(["run_id"])


def current_run(config: Mapping[str, Any], summary: Mapping[str, Any]) -> RunConfig | None:
    """Return the run that config and summary are of; None if this version of altgrad reads another one in them."""
    try:
        run = RunConfig.model_validate(config)
    except (ValidationError, AltGradError):
        return None
    theirs = (stated_hash(run, config), run.run_id)
    same = (summary.get("config_hash"), summary.get("run_id")) == theirs and "corpus_fingerprint" in summary
    return run if same else None


def _diagnostics(folder: Path, declared: Path, file: Path, say: Callable[[str], None]) -> pa.Table:
    """Return a finished run's diagnostics: those that were made of it since, or new ones of its weights."""
    summary = declared / _SUMMARY
    if file.exists() and summary.exists() and summary.read_bytes() == (folder / _SUMMARY).read_bytes():
        if file.stat().st_mtime_ns >= summary.stat().st_mtime_ns:
            return read_table(file, DIAGNOSTICS)
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / file.name
        diagnose_run(folder, path, say)
        return read_table(path, DIAGNOSTICS)


def _json(folder: Path, name: str, files: dict[str, str] | None = None) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(_verified(folder, name, files or {}))
    except ValueError:
        raise _damaged(folder / name) from None
    return data


def _verified(folder: Path, name: str, files: dict[str, str]) -> bytes:
    """Return a finished file's bytes, verified by the hash that the summary has of it."""
    try:
        data = (folder / name).read_bytes()
    except OSError:
        raise _damaged(folder / name) from None
    if name in files and hashlib.sha256(data).hexdigest() != files[name]:
        raise _damaged(folder / name)
    return data


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(str(path), "it is damaged or missing", f"Delete {path.parent} to train the run again")
