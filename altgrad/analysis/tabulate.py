"""From run folders to the tidy tables of a study."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from altgrad.analysis.layers import layer_type
from altgrad.analysis.run_folders import FinishedRun, collect_runs
from altgrad.analysis.run_tables import formats_table, runs_table, updates_table
from altgrad.analysis.study_info import study_info, to_frame
from altgrad.analysis.tables import typed, write_frame
from altgrad.analysis.telemetry_tables import batches, telemetry_tables
from altgrad.parquet import read_table
from altgrad.schema import DIAGNOSTICS, TIMING_SUMMARY
from altgrad.study.config import StudyConfig
from altgrad.study.grid import study_runs


def tabulate_study(
    study: StudyConfig,
    folders: Sequence[Path],
    *,
    included: Sequence[Path] = (),
    diagnostics: Path | None = None,
    corpus_meta: Mapping[str, Any] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return every table of a study.

    Args:
        study: The study.
        folders: Folders of its finished runs; runs that it plans and that are not among them have status `missing`.
        included: Folders of finished runs from elsewhere.
        diagnostics: Folder with `<run_id>.parquet` files; a run without one has no rows.
        corpus_meta: The corpus's `meta.json`; with it, every run must have been trained on that corpus.

    Raises:
        AltGradError: A folder is not a finished run, or not one of this study.
    """
    info = study_info(study, corpus_meta)
    found = collect_runs(study, folders, included, info.corpus_fingerprint)
    planned = study_runs(study)
    configs = [*planned, *(run.config for run in found.values())]
    by_id = {run_id: run.config for run_id, run in found.items()}
    parts = [telemetry_tables(by_id, rows) for rows in batches(run.telemetry() for run in found.values())]
    return {
        "study": to_frame(info),
        "runs": runs_table(planned, found),
        "curves": _stack("curves", (part.curves for part in parts)),
        "counters": _stack("counters", (part.counters for part in parts)),
        "tensors": _stack("tensors", (part.tensors for part in parts)),
        "flip_epochs": _stack("flip_epochs", (part.flip_epochs for part in parts)),
        "tensor_diagnostics": _stack("tensor_diagnostics", (_diagnostics(r, diagnostics) for r in found.values())),
        "formats": formats_table(configs),
        "updates": updates_table(configs),
        "timing_summary": _stack("timing_summary", (timing_summary(r.timing()) for r in found.values())),
    }


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables to `<folder>/<name>.parquet`."""
    for name, data in tables.items():
        write_frame(folder, name, data)


def timing_summary(timing: pd.DataFrame) -> pd.DataFrame:
    """Return one row for a run's timing: medians over its windows, and its peak memory.

    Args:
        timing: The run's timing rows, by rising step.
    """
    windows = timing.iloc[1:] if len(timing) > 1 else timing
    if windows.empty:
        return windows.reindex(columns=[column.name for column in TIMING_SUMMARY])
    medians = windows.drop(columns=["run_id", "step", "peak_memory_bytes"]).median()
    row = {
        "run_id": timing["run_id"].iloc[0],
        "windows": len(windows),
        **medians.to_dict(),
        "peak_memory_bytes": timing["peak_memory_bytes"].max(),
    }
    return pd.DataFrame([row])


def _diagnostics(run: FinishedRun, folder: Path | None) -> pd.DataFrame:
    path = None if folder is None else folder / f"{run.config.run_id}.parquet"
    if path is None or not path.exists():
        return pd.DataFrame()
    data: pd.DataFrame = read_table(path, DIAGNOSTICS).to_pandas()
    types = {name: layer_type(name, run.config.layer_types) for name in data["tensor"].unique()}
    return data.assign(layer_type=data["tensor"].map(types))


def _stack(name: str, frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if not frame.empty]
    return typed(name, pd.concat(filled, ignore_index=True) if filled else pd.DataFrame())
