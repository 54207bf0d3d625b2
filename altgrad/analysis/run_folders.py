"""Run folders, read and checked against the study before a number of theirs is used."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from altgrad.errors import MismatchError, TableError
from altgrad.parquet import read_table
from altgrad.schema import PROBE_TIMES, TELEMETRY, TIMING
from altgrad.study.config import StudyConfig
from altgrad.study.grid import TRAIN_REVISION, result_fields, stated_hash, study_arms, study_runs
from altgrad.study.runs import RunConfig

FACTORS = (
    "run_id",
    "format",
    "custom_format",
    "update",
    "update_spec",
    "storage",
    "layers",
    "layer_patterns",
    "lr",
    "seed",
)
"""Fields of a run's config that are its place in a study; all others must be the study's for a fair comparison."""


INCLUDED = "included"
"""The role of a finished run from elsewhere."""


@dataclass(frozen=True)
class FinishedRun:
    """One run's files.

    Attributes:
        folder: Where they are.
        config: The run's own config.
        summary: Its summary.
        role: baseline, grid or included.
        comparable: Whether it may stand beside the study's runs: same model, training and corpus.
    """

    folder: Path
    config: RunConfig
    summary: Mapping[str, Any]
    role: str
    comparable: bool

    def telemetry(self) -> pd.DataFrame:
        """Return the run's telemetry rows."""
        data: pd.DataFrame = read_table(self.folder / "telemetry.parquet", TELEMETRY).to_pandas()
        return data

    def timing(self) -> pd.DataFrame:
        """Return the run's timing rows; of a run that made no probes, they took 0 s."""
        path = self.folder / "timing.parquet"
        unprobed = {column.name for column in PROBE_TIMES}.isdisjoint(read_table(path).column_names)
        columns = tuple(column for column in TIMING if not (unprobed and column in PROBE_TIMES))
        data: pd.DataFrame = read_table(path, columns).to_pandas()
        return data.reindex(columns=[column.name for column in TIMING], fill_value=0.0)


def collect_runs(
    study: StudyConfig,
    folders: Sequence[Path],
    included: Sequence[Path],
    fingerprint: str | None,
    lrs: Mapping[str, float] | None = None,
) -> dict[str, FinishedRun]:
    """Read run folders and check that each is what the study asked for.

    Args:
        study: The study.
        folders: Folders of the study's own runs.
        included: Folders of finished runs from elsewhere; their own config is the truth.
        fingerprint: The corpus's, which every comparable run must share; None leaves that unchecked.
        lrs: Tuned learning rates by arm.

    Returns:
        By run id, in the order given.

    Raises:
        TableError: A folder is not a finished run, two hold the same run, or two that enter comparisons stand in the
            same place of the study under different ids.
        MismatchError: A run is of another config, corpus or revision than the study's.
    """
    planned = {run.run_id: run for run in study_runs(study, lrs)}
    some = study_arms(study)[0].run("some", 1.0, 0)
    found: dict[str, FinishedRun] = {}
    for folder in folders:
        config, summary = _read(folder)
        _require_planned(folder, config, planned)
        _require_corpus(folder, summary, fingerprint)
        # The same config, but in the order of the study's: a layer type is the first whose patterns match.
        config = planned[config.run_id]
        _add(found, FinishedRun(folder, config, summary, config.role, comparable=True))
    for folder in included:
        config, summary = _read(folder)
        same_text = fingerprint is None or summary.get("corpus_fingerprint") == fingerprint
        same = same_text and not _differing(some, config, FACTORS) and _same_names(study, config)
        config = config.model_copy(update={"layer_types": study.layer_types})
        _add(found, FinishedRun(folder, config, summary, INCLUDED, same))
    _require_one_a_place(found.values())
    return found


def _read(folder: Path) -> tuple[RunConfig, dict[str, Any]]:
    config_path, summary_path = folder / "config.json", folder / "summary.json"
    for path in (config_path, summary_path):
        if not path.is_file():
            raise TableError(str(path), "it is missing, so this is no finished run", "Finish it with altgrad train")
    try:
        summary = json.loads(summary_path.read_text(encoding="utf-8"))
        raw = config_path.read_bytes()
        config = RunConfig.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise MismatchError(
            f"{config_path}: {'.'.join(map(str, first['loc']))}",
            f"{first['msg'].rstrip('.').lower()}, so another version of altgrad wrote it",
            "Train the run again with this version",
        ) from None
    except ValueError as error:
        raise TableError(str(summary_path), f"it is not JSON ({error})", "Train the run again") from None
    if config.revision > TRAIN_REVISION:
        raise MismatchError(
            str(config_path),
            f"it is of training revision {config.revision}, and this altgrad knows up to {TRAIN_REVISION}",
            "Read it with the version that wrote it",
        )
    if summary.get("config_hash") != stated_hash(config, json.loads(raw)):
        raise MismatchError(
            str(folder), "summary.json and config.json are of different runs", "Delete the folder and train again"
        )
    return config, summary


def _require_planned(folder: Path, config: RunConfig, planned: Mapping[str, RunConfig]) -> None:
    known = planned.get(config.run_id)
    if known is None:
        raise MismatchError(
            str(folder),
            f"{config.run_id} is no run of the study",
            "Leave it out, or name it in the study's include_runs",
        )
    differing = _differing(known, config, ())
    if differing:
        key, wanted, given = differing[0]
        raise MismatchError(
            str(folder),
            f"its {key} is {given!r}, and the study's is {wanted!r}",
            "Train the run again with the study's config",
        )


def _same_names(study: StudyConfig, config: RunConfig) -> bool:
    """Return whether the run's update, format and layers mean what the study means by these names."""
    return (
        study.updates.get(config.update, config.update_spec) == config.update_spec
        and study.formats.get(config.format) == config.custom_format
        and study.layer_types.get(config.layers, config.layer_patterns) == config.layer_patterns
    )


def _require_corpus(folder: Path, summary: Mapping[str, Any], fingerprint: str | None) -> None:
    if fingerprint is not None and summary.get("corpus_fingerprint") != fingerprint:
        raise MismatchError(
            str(folder), "it was trained on other tokens than the corpus given", "Train the run again on this corpus"
        )


def _differing(wanted: RunConfig, given: RunConfig, ignore: Sequence[str]) -> list[tuple[str, object, object]]:
    """Return the fields that decide results and differ: (dotted key, wanted, given)."""
    left, right = result_fields(wanted), result_fields(given)
    keys = [key for key in {**left, **right} if key.split(".")[0] not in ignore]
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def _require_one_a_place(runs: Iterable[FinishedRun]) -> None:
    """Refuse two runs of the same cell, learning rate and seed: pairing by seed would silently keep one of them."""
    seen: dict[tuple[object, ...], FinishedRun] = {}
    for run in (run for run in runs if run.comparable):
        config = run.config
        place = (config.format, config.update, config.storage, config.layers, config.lr, config.seed)
        other = seen.setdefault(place, run)
        if other is not run:
            raise TableError(
                str(run.folder),
                f"{other.folder} holds the same format, update, storage, layers, lr and seed under another id",
                "Leave one of them out",
            )


def _add(found: dict[str, FinishedRun], run: FinishedRun) -> None:
    other = found.setdefault(run.config.run_id, run)
    if other is not run:
        raise TableError(
            str(run.folder), f"{other.folder} holds a run of the same id, {run.config.run_id}", "Leave one of them out"
        )
