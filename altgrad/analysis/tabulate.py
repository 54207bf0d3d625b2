"""From run folders to the tidy tables of a study."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from altgrad.analysis.hypotheses import plan_table
from altgrad.analysis.layers import layer_type
from altgrad.analysis.probe_tables import event_rows
from altgrad.analysis.run_folders import FinishedRun, collect_runs
from altgrad.analysis.run_tables import formats_table, runs_table, updates_table
from altgrad.analysis.study_info import study_info, to_frame
from altgrad.analysis.tables import Row, frame, typed, write_frame
from altgrad.analysis.telemetry_tables import TelemetryTables, batches, telemetry_tables
from altgrad.analysis.tuning_tables import require_corpus, trials_table, tuning_table
from altgrad.parquet import read_table
from altgrad.schema import DIAGNOSTICS, PROBE_TIMES, TIMING_SUMMARY
from altgrad.study.config import StudyConfig
from altgrad.study.grid import study_arms
from altgrad.study.hypotheses import read_hypotheses
from altgrad.study.tuned import learning_rates, read_choices


def tabulate_study(
    study: StudyConfig,
    folders: Sequence[Path],
    *,
    included: Sequence[Path] = (),
    tuning: Path | None = None,
    diagnostics: Path | None = None,
    corpus_meta: Mapping[str, Any] | None = None,
    counted: Mapping[str, float] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return every table of a study.

    Args:
        study: The study.
        folders: Folders of its finished runs; runs that it plans and that are not among them have status `missing`.
        included: Folders of finished runs from elsewhere.
        tuning: Folder with `<arm>.json` files; runs of an arm that is tuned and has none are missing.
        diagnostics: Folder with `<run_id>.parquet` files; a run without one has no rows.
        corpus_meta: The corpus's `meta.json`; with it, every run must have been trained on that corpus.
        counted: The losses of models that count on that corpus; see `study_info`.

    Raises:
        AltGradError: A folder is not a finished run, or not one of this study.
    """
    info = study_info(study, corpus_meta, counted)
    choices = read_choices(study, tuning)
    require_corpus(choices, info.corpus_fingerprint)
    lrs, arms = learning_rates(choices), study_arms(study)
    found = collect_runs(study, folders, included, info.corpus_fingerprint, lrs)
    configs = [*(arm.run(arm.arm, 1.0, 0) for arm in arms), *(run.config for run in found.values())]
    by_id = {run_id: run.config for run_id, run in found.items()}
    parts = [telemetry_tables(by_id, rows) for rows in batches(run.telemetry() for run in found.values())]
    events = [row for run in found.values() for row in _events(run)]
    return {
        "study": to_frame(info),
        "runs": runs_table(arms, lrs, found),
        "tuning": tuning_table(choices),
        "trials": trials_table(choices),
        **{
            field.name: _stack(field.name, (getattr(part, field.name) for part in parts))
            for field in fields(TelemetryTables)
        },
        "events": frame("events", events),
        "tensor_diagnostics": _stack("tensor_diagnostics", (_diagnostics(r, diagnostics) for r in found.values())),
        "formats": formats_table(configs),
        "updates": updates_table(configs),
        "plan": _plan(study),
        "timing_summary": _stack("timing_summary", (timing_summary(r.timing()) for r in found.values())),
    }


def _plan(study: StudyConfig) -> pd.DataFrame:
    if study.hypotheses is None:
        return frame("plan", [])
    hypotheses, sha256 = read_hypotheses(Path(study.hypotheses), study)
    return plan_table(hypotheses, study.hypotheses, sha256)


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables to `<folder>/<name>.parquet`."""
    for name, data in tables.items():
        write_frame(folder, name, data)


def timing_summary(timing: pd.DataFrame) -> pd.DataFrame:
    """Return one row for a run's timing: medians over its windows, means of what few windows have, and its peak memory.

    Args:
        timing: The run's timing rows, by rising step.
    """
    windows = timing.iloc[1:] if len(timing) > 1 else timing
    if windows.empty:
        return windows.reindex(columns=[column.name for column in TIMING_SUMMARY])
    times = windows.drop(columns=["run_id", "step", "peak_memory_bytes"])
    probes = [column.name for column in PROBE_TIMES]
    row = {
        "run_id": timing["run_id"].iloc[0],
        "windows": len(windows),
        **times.drop(columns=probes).median().to_dict(),
        **times[probes].mean().to_dict(),
        "peak_memory_bytes": timing["peak_memory_bytes"].max(),
    }
    return pd.DataFrame([row])


def _events(run: FinishedRun) -> list[Row]:
    return event_rows(run.config.run_id, run.summary.get("events", ()), run.config.layer_types)


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
