"""What the reports say in words follows from the tables, and claims no more."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from altgrad.analysis.analyse import analyse_study
from altgrad.analysis.tables import Tables
from altgrad.analysis.tabulate import tabulate_study
from altgrad.figures import benefit
from altgrad.reporting import failure_modes, manifold_vs_standard, sweet_spot, test_matrix
from altgrad.reporting.page import caveats, demonstration, provenance
from altgrad.reporting.requirements import REQUIREMENTS, traced
from altgrad.reporting.test_matrix import _ranges
from altgrad.reporting.text import Grid
from altgrad.schema import ANALYSIS_TABLES, STATISTICS
from altgrad.study.config import RunConfig
from altgrad.study.grid import study_runs
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import CORPUS_META, Rates, fabricate, make_study, write_run
from tests.reporting.conftest import SourceOf

ROOT = Path(__file__).parents[2]
ANY = "manifold_vs_standard.md"


def rows(table: Grid) -> list[dict[str, str]]:
    return [dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows]


def test_headline_table_is_the_comparisons(source_of: SourceOf) -> None:
    source = source_of("sweep", ANY)
    found = rows(manifold_vs_standard.benefits_grid(source))
    benefits = source.tables["comparisons"].query("estimand == 'benefit'").set_index(["storage", "format"])
    assert [(row["storage"], row["format"]) for row in found] == [
        ("nearest", "E4M3"),
        ("nearest", "E7M0"),
        ("master", "E4M3"),
        ("master", "E7M0"),
    ]
    for row in found:
        oracle = benefits.loc[(row["storage"], row["format"])]
        assert row["benefit"] == f"{oracle['mean']:+.4f}" and row["n"] == "3"
        assert row["interval"] == f"[{oracle['low']:+.4f}, {oracle['high']:+.4f}]"
        assert row["verdict"] == oracle["verdict"]
        assert float(row["loss adamw"]) - float(row["loss"]) == pytest.approx(oracle["mean"], abs=1e-4)


def test_answer_names_who_is_helped_and_where_nothing_is_shown(source_of: SourceOf) -> None:
    text = manifold_vs_standard.answer(source_of("sweep", ANY))
    # 0.04 * (1 + 0.1 * seed) over seeds 1 to 3: 0.048; three seeds cannot pass Holm.
    assert "by nearest rounding, it helps E4M3 by 0.0480 nats and E7M0 by 0.0480 nats (not after Holm's" in text
    assert "with FP32 master weights, no difference is shown in 2 of 2 formats" in text


def test_answer_gives_no_verdict_on_few_seeds(source_of: SourceOf) -> None:
    text = manifold_vs_standard.answer(source_of("one seed", ANY))
    assert text == "No verdict on manifold against adamw: no comparison has the 3 paired seeds that a verdict asks for."


def test_a_demonstration_carries_no_verdict(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(layers=["all", "mlp"], analysis={"min_seeds": 3, "min_steps": 41})
    tables = Pipeline(tmp_path)(study, lambda run: 2.0 - 0.1 * (run.update == "manifold") + 0.01 * run.seed)
    source = replace(source_of("empty", ANY), tables=tables)
    assert manifold_vs_standard.answer(source) == (
        "No verdict on manifold against adamw: no run has the 41 steps that a verdict asks for."
    )
    assert "mlp under nearest: E4M3 with manifold (no verdict: not enough steps)" in sweet_spot.answer(source)
    found = [*rows(manifold_vs_standard.benefits_grid(source)), *rows(manifold_vs_standard.gaps_grid(source))]
    assert {row["verdict"] for row in found} == {"not enough steps"}
    assert "Hollow marks have fewer than 3 seeds or 41 steps" in benefit.caption(tables)


def test_a_harm_is_said_by_its_size(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"])
    tables = Pipeline(tmp_path)(study, lambda run: 2.0 + (run.update == "manifold") * (0.03 + 0.002 * run.seed))
    text = manifold_vs_standard.answer(replace(source_of("empty", ANY), tables=tables))
    assert "it hurts E4M3 by 0.0340 nats" in text


def test_answer_without_the_update_that_was_fixed_beforehand(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw", "rung"], storages=["master"])
    source = replace(source_of("empty", ANY), tables=Pipeline(tmp_path)(study, lambda run: 2.0))
    text = manifold_vs_standard.answer(source)
    assert text.startswith("The update that was fixed beforehand (metric power 1/2) is not in this study. rung against")
    assert "no difference is shown in 1 of 1 format." in text


def test_demonstration_is_said_when_seeds_or_steps_are_few(source_of: SourceOf) -> None:
    info = source_of("sweep", ANY).info
    assert demonstration(info, info.min_seeds) == ""
    assert "2 paired seeds and 40 steps a run" in demonstration(info, 2)
    short = replace(info, min_steps=41)
    assert "at least 3 seeds and 41 steps" in demonstration(short, 3)
    assert "answer nothing about the formats" in demonstration(short, 3)


def test_caveats_say_how_rates_were_chosen(source_of: SourceOf) -> None:
    tuned = " ".join(caveats(source_of("sweep", ANY)))
    assert "chosen on the seeds that are reported here: losses are therefore a little optimistic." in tuned
    assert "1 run diverged" not in tuned.replace("2 runs diverged", "")
    assert "2 runs diverged; each counts with the loss of a model that knows nothing" in tuned
    assert "synthetic text" in tuned
    assert "at a single learning rate. Nothing was tuned" in " ".join(caveats(source_of("one seed", ANY)))
    assert "27 of 27 planned runs are missing." in caveats(source_of("empty", ANY))


def test_caveats_name_a_rate_at_the_edge(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"], lrs=[0.01, 0.02])
    source = replace(source_of("empty", ANY), tables=Pipeline(tmp_path)(study, lambda run: 2.0 + run.lr))
    assert "In 2 of 3 cells the best stands at the edge" in caveats(source)[0]
    assert {row["lr"] for row in rows(manifold_vs_standard.details_grid(source))} == {"0.01*"}


def test_caveats_count_the_cells_that_were_not_tuned(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"], lrs=[0.01, 0.02])
    source = replace(source_of("empty", ANY), tables=Pipeline(tmp_path)(study, lambda run: 2.0 + run.lr))
    assert "1 of 3 cells were run at one rate only." in caveats(source)[0]  # the baseline


def with_included(folder: Path, losses: dict[str, float | None]) -> Tables:
    """Return the tables of a whole study beside included runs: one that is compared and one of another model."""
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"])
    other = make_study(model={"n_layer": 2, "n_head": 1, "n_embd": 8, "block_size": 16})
    included = [
        write_run(
            study_runs(s)[-1].model_copy(update={"run_id": name, "seed": 9}), folder, losses[name], lambda *_: Rates()
        )
        for name, s in (("near", study), ("far", other))
    ]
    folders = fabricate(study, folder / "own", lambda run: 2.0)
    frames = tabulate_study(study, folders, included=included, corpus_meta=CORPUS_META)
    return Tables.of({**frames, **analyse_study(Tables.of(frames))})


def test_included_runs_are_counted_apart(tmp_path: Path, source_of: SourceOf) -> None:
    tables = with_included(tmp_path, {"near": None, "far": None})
    source = replace(source_of("empty", ANY), tables=tables)
    facts = {row["what"]: row["value"] for row in rows(provenance(source))}
    assert facts["runs"] == "6 of 6 planned and 2 included"
    assert facts["status"] == "1 diverged and 6 finished"
    assert any(text.startswith("1 run diverged; each counts") for text in caveats(source))


def test_failure_answer_and_evidence(source_of: SourceOf) -> None:
    source = source_of("all diverged", "failure_modes.md")
    assert "E4M3 (master and nearest) and E7M0 (master and nearest) by divergence" in failure_modes.answer(source)
    found = rows(failure_modes.first_grid(source))
    assert {row["runs"] for row in found} == {"3 of 3"} and {row["step"] for row in found} == {"20"}
    healthy = source_of("one seed", "failure_modes.md")
    assert failure_modes.answer(healthy) == (
        "At its chosen learning rate no cell fails: 4 runs, and none passes a mark or diverges."
    )
    assert {row["fails first in"] for row in rows(failure_modes.first_grid(healthy))} == {"did not fail"}


def test_failures_at_any_rate_are_counted(source_of: SourceOf) -> None:
    found = rows(failure_modes.all_runs_grid(source_of("sweep", "failure_modes.md")))
    counts = {(r["format"], r["storage"], r["update"]): (r["runs"], r["divergence"], r["did not fail"]) for r in found}
    assert counts["E7M0", "nearest", "adamw"] == ("9", "1", "8")
    assert counts["E4M3", "nearest", "adamw"] == ("9", "0", "9")


def test_sweet_spot_by_loss(source_of: SourceOf) -> None:
    source = source_of("layers", "sweet_spot.md")
    assert sweet_spot.build(source).alone
    text = sweet_spot.answer(source)
    assert "mlp under nearest: E4M3 with manifold" in text and "lm_head under nearest: E4M3 with manifold" in text
    assert text.startswith("Lowest validation loss with that layer type alone in the format")


def test_sweet_spot_without_single_layer_runs_says_so(source_of: SourceOf) -> None:
    source = source_of("sweep", "sweet_spot.md")
    assert not sweet_spot.build(source).alone
    text = sweet_spot.answer(source)
    assert text.startswith("This study has no runs with one layer type alone in a format, so it cannot say what")
    assert "under nearest rounding with adamw the fewest updates stall" in text
    assert {row["rate"] for row in rows(sweet_spot.build(source).best)} == {"stall_ratio", "underflow_rate"}


def test_sweet_spot_without_nearest_runs_is_a_sentence(tmp_path: Path, source_of: SourceOf) -> None:
    tables = Pipeline(tmp_path)(make_study(storages=["master"]), lambda run: 2.0)
    assert sweet_spot.answer(replace(source_of("empty", ANY), tables=tables)) == (
        "This study has no runs with one layer type alone in a format, so it cannot say what a format costs there. Nor"
        " has it runs under nearest rounding, whose counters would show where updates are lost."
    )


def test_diagnostics_by_layer_type_are_shown(source_of: SourceOf) -> None:
    found = rows(sweet_spot.build(source_of("one seed", "sweet_spot.md")).probes)
    assert {(row["grid alignment"], row["codes in use"], row["stable rank"]) for row in found} == {
        ("0.25", "50 %", "3")
    }
    assert {row["layer type"] for row in found} == {"embedding", "attention", "mlp", "lm_head"}


def test_matrix_has_every_combination_and_its_status(tmp_path: Path, source_of: SourceOf) -> None:
    def loss(run: RunConfig) -> float | None:
        if run.format == "E7M0":
            return float("nan")
        return None if run.update == "manifold" else 2.0

    study = make_study()
    source = replace(source_of("empty", "TEST_MATRIX.md"), tables=Pipeline(tmp_path)(study, loss))
    report = test_matrix.build(source)
    found = {(r["format"], r["update"], r["storage"]): r for r in rows(report.matrix)}
    assert len(found) == 9
    assert found["E4M3", "adamw", "nearest"]["finished"] == "3 (1-3)"
    assert found["E4M3", "manifold", "master"]["status"] == "diverged"
    assert found["E7M0", "adamw", "master"]["status"] == "missing"
    assert found["E7M0", "adamw", "master"]["requirements"] == "none"
    assert found["E4M3", "adamw", "nearest"]["requirements"].startswith(
        "STAB-01/02/03/04; METR-01/02/03/04; GRAD-01/04"
    )
    assert "plans 27 runs in 9 combinations" in report.page.answer
    assert "15 have ended, 6 of them by divergence, and 12 are missing" in report.page.answer


def test_a_requirement_is_traced_to_the_runs_that_show_it(source_of: SourceOf) -> None:
    tables = source_of("one seed", "TEST_MATRIX.md").tables
    shown = traced(tables)
    everything = set(tables["runs"]["run_id"])
    assert {name for name, ids in shown.items() if ids == everything} == {r.id for r in REQUIREMENTS}
    assert not any(traced(source_of("empty", "TEST_MATRIX.md").tables).values())


def test_evidence_asks_for_every_column_named(source_of: SourceOf) -> None:
    tables = source_of("one seed", "TEST_MATRIX.md").tables
    frames = {name: tables[name] for name in (*ANALYSIS_TABLES, *STATISTICS)}
    no_range = Tables.of({**frames, "tensors": tables["tensors"].assign(range_bits=math.nan)})
    assert not traced(no_range)["STAB-03"] and traced(no_range)["STAB-01"]
    no_windows = Tables.of({**frames, "counters": tables["counters"].query("metric != 'flip_rate'")})
    no_epochs = Tables.of({**frames, "flip_epochs": tables["flip_epochs"].iloc[:0]})
    assert not traced(no_windows)["FLIP-02"] and not traced(no_epochs)["FLIP-02"]


def test_without_a_baseline_no_figure_overlays_it(tmp_path: Path) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"], seeds=[1])
    tables = Pipeline(tmp_path)(study, lambda run: math.nan if run.role == "baseline" else 2.0)
    assert not traced(tables)["METR-04"] and traced(tables)["METR-01"]


def test_every_requirement_names_tests_that_exist() -> None:
    assert len({r.id for r in REQUIREMENTS}) == len(REQUIREMENTS) == 17
    missing = [path for r in REQUIREMENTS for path in r.tests if not (ROOT / path).is_file()]
    assert not missing


def test_provenance_counts_what_is_there(source_of: SourceOf) -> None:
    facts = {row["what"]: row["value"] for row in rows(provenance(source_of("all diverged", ANY)))}
    assert facts["runs"] == "27 of 27 planned and 0 included"
    assert facts["status"] == "27 diverged" and facts["seeds"] == "1, 2, 3"
    assert "12,000 training and 3,000 validation tokens" in facts["corpus"] and "0123abcd" in facts["corpus"]
    empty = {row["what"]: row["value"] for row in rows(provenance(source_of("empty", ANY)))}
    assert (empty["runs"], empty["device"], empty["versions"]) == ("0 of 27 planned and 0 included", "none", "none")


def test_seed_ranges() -> None:
    assert [_ranges(n) for n in ([1], [1, 2, 3], [1, 3, 4, 9])] == ["1", "1-3", "1, 3-4, 9"]
