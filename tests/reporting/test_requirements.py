"""Which requirements a study shows, does not show, and does not switch on."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from altgrad.analysis.analyse import analyse_study
from altgrad.analysis.study_info import from_frame
from altgrad.analysis.tables import Tables
from altgrad.analysis.tabulate import tabulate_study
from altgrad.reporting import test_matrix
from altgrad.reporting.caveats import caveats
from altgrad.reporting.failure_events import events_grid
from altgrad.reporting.page import provenance
from altgrad.reporting.requirements import REQUIREMENTS, switched_off, traced
from altgrad.reporting.source import Source
from altgrad.reporting.test_matrix import _ranges
from altgrad.reporting.text import Grid
from altgrad.schema import ANALYSIS_TABLES, STATISTICS
from altgrad.study.grid import study_runs
from altgrad.study.runs import RunConfig
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import CORPUS_META, Rates, fabricate, make_study, write_run
from tests.analysis.tuned import tuned_study, tuned_tables
from tests.reporting.conftest import SourceOf, rows

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Matrix:
    """The content of the test matrix."""

    answer: str
    matrix: Grid
    requirements: Grid


def matrix_of(source: Source) -> Matrix:
    shown = traced(source.tables)
    answer = test_matrix.answer(source, shown).text
    return Matrix(answer, test_matrix.matrix_grid(source, shown), test_matrix.requirements_grid(source, shown))


def all_frames(tables: Tables) -> dict[str, pd.DataFrame]:
    return {name: tables[name] for name in (*ANALYSIS_TABLES, *STATISTICS)}


def test_matrix_has_every_combination_and_its_status(tmp_path: Path, source_of: SourceOf) -> None:
    def loss(run: RunConfig) -> float | None:
        if run.format == "E7M0":
            return float("nan")
        return None if run.update == "manifold" else 2.0

    study = make_study()
    source = replace(source_of("empty"), tables=Pipeline(tmp_path)(study, loss))
    report = matrix_of(source)
    found = {(r["format"], r["update"], r["storage"]): r for r in rows(report.matrix)}
    assert len(found) == 9
    assert found["E4M3", "adamw", "nearest"]["finished"] == "3 (1-3)"
    assert found["E4M3", "manifold", "master"]["status"] == "diverged"
    assert found["E7M0", "adamw", "master"]["status"] == "missing"
    assert found["E7M0", "adamw", "master"]["requirements"] == "none"
    assert found["E4M3", "adamw", "nearest"]["requirements"].startswith(
        "STAB-01/02/03/04; METR-01/02/03/04/05; GRAD-01/02/03/04; FLIP-01/02; UPDT-01/02; EDQ; RANK-01/01 (under way)"
    )
    assert "plans 27 runs in 9 combinations" in report.answer
    assert "15 have ended, 6 of them by divergence, and 12 are missing" in report.answer


OFF_BY_DEFAULT = {"STAB-01 (inputs)", "STAB-01 (output gradients)", "STAB-05", "STAB-06", "AUTO-01"}


def runs_of(table: Grid) -> dict[str, str]:
    return {row["requirement"]: row["runs"] for row in rows(table)}


def test_what_a_study_does_not_switch_on_is_not_called_missing(source_of: SourceOf) -> None:
    report = matrix_of(source_of("one seed"))
    found = runs_of(report.requirements)
    assert {name for name, runs in found.items() if runs == "not switched on in this study"} == OFF_BY_DEFAULT
    assert "Every requirement is shown by runs. Not switched on in this study: STAB-01 (inputs)," in report.answer
    empty = matrix_of(source_of("empty"))
    assert runs_of(empty.requirements)["METR-05"] == "0"  # switched on, and no run is there
    assert "No run shows STAB-01, STAB-02" in empty.answer


def test_what_a_study_switches_on_is_traced_or_called_missing(tmp_path: Path, source_of: SourceOf) -> None:
    training = {"steps": 40, "batch_size": 2, "eval_every": 20, "device": "cpu"}
    study = make_study(
        training={**training, "partition_clip": True, "mantissa_shift": {}},
        quantization={"input": "same", "grad_output": "same"},
        telemetry={"window": 10, "probes": {"hessian": 41, "rank": 0, "gradients": 40}},
    )
    source = replace(source_of("empty"), tables=Pipeline(tmp_path)(study, lambda run: 2.0))
    found = runs_of(matrix_of(source).requirements)
    assert {found[name] for name in OFF_BY_DEFAULT - {"AUTO-01"}} == {"27"}
    features = source.info.features
    assert features == ("partition_clip", "mantissa_shift", "input", "grad_output", "probes.gradients")
    facts = {row["what"]: row["value"] for row in rows(provenance(source))}
    assert facts["switched on"] == "partition_clip, mantissa_shift, input, grad_output and probes.gradients"
    bare = Tables.of({**all_frames(source.tables), "tensors": source.tables["tensors"].assign(clip_rate=math.nan)})
    report = matrix_of(replace(source, tables=bare))
    assert runs_of(report.requirements)["STAB-05"] == "0" and "No run shows STAB-05." in report.answer


def test_a_shifted_run_is_counted_and_said(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"], seeds=[1])
    event = {"step": 30, "event": "mantissa_shift", "tensor": "lm_head.weight", "from": "E4M3", "to": "E3M4"}
    folders = fabricate(study, tmp_path, lambda run: 2.0 if run.role == "baseline" else math.nan)
    folders.append(
        write_run(study_runs(study)[-1], tmp_path, 2.0, lambda *_: Rates(), status="shifted", events=[event])
    )
    frames = tabulate_study(study, folders, corpus_meta=CORPUS_META)
    tables = Tables.of({**frames, **analyse_study(Tables.of(frames))})
    source = replace(source_of("empty"), tables=tables)
    assert "1 run shifted the format of a tensor under way" in " ".join(caveats(source))
    report = matrix_of(source)
    assert "2 have ended, 0 of them by divergence, 1 after a shift of formats, and 0 are missing" in report.answer
    assert {row["format"]: row["shifted"] for row in rows(report.matrix)} == {"BF16": "0", "E4M3": "1 (1)"}
    (found,) = rows(events_grid(source))
    assert (found["format"], found["event"], found["first step"], found["of"]) == (
        "E4M3",
        "mantissa_shift",
        "30",
        "lm_head.weight",
    )
    assert found["detail"] == '{"from": "E4M3", "to": "E3M4"}'


def test_a_requirement_is_traced_to_the_runs_that_show_it(source_of: SourceOf) -> None:
    tables = source_of("one seed").tables
    shown = traced(tables)
    everything = set(tables["runs"]["run_id"])
    in_format = {run for run in everything if not run.startswith("BF16")}  # a reference has no grid to be probed
    on_grid = {"DIAG-01", "DIAG-02 (under way)", "DIAG-04", "DIAG-06", "DIAG-07 (under way)", "MANI-04"}
    assert {name for name, ids in shown.items() if ids == in_format} == on_grid
    assert {name for name, ids in shown.items() if not ids} == OFF_BY_DEFAULT
    others = {r.name for r in REQUIREMENTS} - on_grid - OFF_BY_DEFAULT
    assert {name for name, ids in shown.items() if ids == everything} == others
    assert not any(traced(source_of("empty").tables).values())


def test_evidence_asks_for_every_column_named(source_of: SourceOf) -> None:
    tables = source_of("one seed").tables
    frames = all_frames(tables)
    no_range = Tables.of({**frames, "tensors": tables["tensors"].assign(range_bits=math.nan)})
    assert not traced(no_range)["STAB-03"] and traced(no_range)["STAB-01"]
    no_windows = Tables.of({**frames, "counters": tables["counters"].query("metric != 'flip_rate'")})
    no_epochs = Tables.of({**frames, "flip_epochs": tables["flip_epochs"].iloc[:0]})
    assert not traced(no_windows)["FLIP-02"] and not traced(no_epochs)["FLIP-02"]
    probes = tables["probes"]
    undefined = Tables.of(
        {**frames, "probes": probes.assign(value=probes["value"].where(probes["metric"] != "cosine"))}
    )
    assert not traced(undefined)["METR-05"] and traced(undefined)["GRAD-02"]
    elsewhere = Tables.of({**frames, "probes": probes[~probes["tensor"].isin(["lm_head.weight"])]})
    assert not traced(elsewhere)["CLSF-01"] and traced(elsewhere)["RANK-03"]
    no_density = Tables.of({**frames, "hessian": tables["hessian"].iloc[:0]})
    assert not traced(no_density)["DIAG-05"]


def test_without_a_baseline_no_figure_overlays_it(tmp_path: Path) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"], seeds=[1])
    tables = Pipeline(tmp_path)(study, lambda run: math.nan if run.role == "baseline" else 2.0)
    assert not traced(tables)["METR-04"] and traced(tables)["METR-01"]


def test_every_requirement_names_tests_that_exist() -> None:
    assert len({r.name for r in REQUIREMENTS}) == len(REQUIREMENTS) == 38
    assert len({r.id for r in REQUIREMENTS}) == 33
    missing = [path for r in REQUIREMENTS for path in r.tests if not (ROOT / path).is_file()]
    assert not missing


def test_seed_ranges() -> None:
    assert [_ranges(n) for n in ([1], [1, 2, 3], [1, 3, 4, 9])] == ["1", "1-3", "1, 3-4, 9"]


def test_tuning_is_shown_by_the_runs_at_frozen_rates(tmp_path: Path) -> None:
    study = tuned_study(make_study, formats=["E4M3"], storages=["nearest"], seeds=[1, 2])
    tables = tuned_tables(study, tmp_path, lambda arm: 2, lambda arm, lr, seed: 2.0, lambda run: 2.0)
    assert traced(tables)["AUTO-01"] == set(tables["runs"]["run_id"])
    assert "AUTO-01" not in switched_off(traced(tables), from_frame(tables["study"]).features)
    untuned = Tables.of({**all_frames(tables), "tuning": tables["tuning"].query("update == 'adamw'")})
    assert {run for run in traced(untuned)["AUTO-01"] if "manifold" in run} == set()
