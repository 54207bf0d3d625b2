"""What the reports say in words follows from the tables, and claims no more."""

from dataclasses import replace
from pathlib import Path

import pytest

from altgrad.analysis.analyse import analyse_study
from altgrad.analysis.cells import CELL
from altgrad.analysis.tables import Tables
from altgrad.analysis.tabulate import tabulate_study
from altgrad.figures import benefit
from altgrad.reporting import manifold_vs_standard, sweet_spot
from altgrad.reporting.caveats import caveats, demonstration
from altgrad.reporting.page import provenance
from altgrad.study.grid import study_runs
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import CORPUS_META, Rates, fabricate, make_study, write_run
from tests.figures.conftest import replaced
from tests.reporting.conftest import SourceOf, rows

ROOT = Path(__file__).parents[2]


def test_headline_table_is_the_comparisons(source_of: SourceOf) -> None:
    source = source_of("sweep")
    found = rows(manifold_vs_standard.benefits_grid(source))
    benefits = source.tables["comparisons"].query("estimand == 'benefit'").set_index(["storage", "format"])
    cells = rows(manifold_vs_standard.cells_grid(source))
    losses = {(row["format"], row["storage"], row["update"]): float(row["loss"]) for row in cells}
    assert [(row["storage"], row["format"]) for row in found] == [
        ("nearest", "E4M3"),
        ("nearest", "E7M0"),
        ("master", "E4M3"),
        ("master", "E7M0"),
    ]
    for row in found:
        oracle = benefits.loc[(row["storage"], row["format"])]
        assert row["benefit"] == f"{oracle['mean']:+.4f}" and row["n"] == "3"
        assert row["t interval"] == f"[{oracle['low']:+.4f}, {oracle['high']:+.4f}]"
        unbounded = "unbounded" if oracle["mean"] else "[+0.0000, +0.0000]"  # three seeds cannot bound one
        assert row["sign-flip interval"] == unbounded
        assert (row["p (sign flip)"], row["p (Holm)"]) == (f"{oracle['p_sign_flip']:.4f}", f"{oracle['p_holm']:.4f}")
        assert row["verdict"] == oracle["verdict"]
        assert losses[row["format"], row["storage"], "adamw"] - losses[
            row["format"], row["storage"], "manifold"
        ] == pytest.approx(oracle["mean"], abs=1e-4)


def test_answer_names_who_is_helped_and_where_nothing_is_shown(source_of: SourceOf) -> None:
    text = manifold_vs_standard.answer(source_of("sweep")).text
    # 0.04 * (1 + 0.1 * seed) over seeds 1 to 3: 0.048; three seeds cannot pass Holm.
    assert (
        "by nearest rounding, manifold helps E4M3 (+0.0480) and E7M0 (+0.0480), but not after Holm's correction."
        in text
    )
    assert "With FP32 master weights, no difference is shown in any of the 2 formats." in text


def test_answer_gives_no_verdict_on_few_seeds(source_of: SourceOf) -> None:
    text = manifold_vs_standard.answer(source_of("one seed")).text
    assert text == "No verdict on manifold against adamw: no comparison has the 3 paired seeds that a verdict asks for."


def test_a_demonstration_carries_no_verdict(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(layers=["all", "mlp"], analysis={"min_seeds": 3, "min_steps": 41})
    tables = Pipeline(tmp_path)(study, lambda run: 2.0 - 0.1 * (run.update == "manifold") + 0.01 * run.seed)
    source = replace(source_of("empty"), tables=tables)
    assert manifold_vs_standard.answer(source).text == (
        "No verdict on manifold against adamw: no run has the 41 steps that a verdict asks for."
    )
    assert "mlp under nearest: E4M3 with manifold (no verdict: not enough steps)" in sweet_spot.answer(source).text
    found = [*rows(manifold_vs_standard.benefits_grid(source)), *rows(manifold_vs_standard.gaps_grid(source))]
    assert {row["verdict"] for row in found} == {"not enough steps"}
    assert "Hollow marks have fewer than 3 seeds or 41 steps" in benefit.caption(tables)


def test_a_harm_is_said_by_its_size(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"])
    tables = Pipeline(tmp_path)(study, lambda run: 2.0 + (run.update == "manifold") * (0.03 + 0.002 * run.seed))
    text = manifold_vs_standard.answer(replace(source_of("empty"), tables=tables)).text
    assert "manifold hurts E4M3 (-0.0340)" in text


def test_answer_without_the_update_that_was_fixed_beforehand(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw", "rung"], storages=["master"])
    source = replace(source_of("empty"), tables=Pipeline(tmp_path)(study, lambda run: 2.0))
    text = manifold_vs_standard.answer(source).text
    assert text.startswith("The update that was fixed beforehand (metric power 1/2) is not in this study. rung against")
    assert "no difference is shown in E4M3." in text


def test_demonstration_is_said_when_seeds_or_steps_are_few(source_of: SourceOf) -> None:
    info = source_of("sweep").info
    assert demonstration(info, info.min_seeds) == ""
    assert "2 paired seeds and 40 steps a run" in demonstration(info, 2)
    short = replace(info, min_steps=41)
    assert "at least 3 seeds and 41 steps" in demonstration(short, 3)
    assert "answer nothing about the formats" in demonstration(short, 3)


def test_caveats_say_how_rates_were_chosen(source_of: SourceOf) -> None:
    tuned = " ".join(caveats(source_of("sweep")))
    assert "chosen on the seeds that are reported here: losses are therefore a little optimistic." in tuned
    assert "1 run diverged" not in tuned.replace("2 runs diverged", "")
    assert "2 runs diverged, in E7M0-" in tuned and "each counts with the loss of a model that knows nothing" in tuned
    assert "synthetic text" in tuned
    assert "at a single learning rate. Nothing was tuned" in " ".join(caveats(source_of("one seed")))
    assert "27 of 27 planned runs are missing." in caveats(source_of("empty"))


def test_caveats_name_a_rate_at_the_edge(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"], lrs=[0.01, 0.02])
    source = replace(source_of("empty"), tables=Pipeline(tmp_path)(study, lambda run: 2.0 + run.lr))
    assert "In 2 of 3 cells the best stands at or near the edge" in caveats(source)[0]
    lrs = {(row["format"], row["lr"], row["chosen"]) for row in rows(manifold_vs_standard.cells_grid(source))}
    assert lrs == {("E4M3", "0.01*", "best of 2, same seeds"), ("BF16", "0.01", "the only one")}


def test_caveats_count_the_cells_that_were_not_tuned(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"], lrs=[0.01, 0.02])
    source = replace(source_of("empty"), tables=Pipeline(tmp_path)(study, lambda run: 2.0 + run.lr))
    assert "1 of 3 cells were run at one rate only." in caveats(source)[0]  # the baseline


def test_caveats_name_cells_whose_rate_was_a_lucky_choice(source_of: SourceOf) -> None:
    tuned = source_of("tuned")
    assert "lucky" not in " ".join(caveats(tuned))
    trials, cells = tuned.tables["trials"], tuned.tables["cells"]
    unlucky = {("E7M0", "manifold", "nearest", "all"): 1.06, ("E4M3", "adamw", "nearest", "mlp"): 1.07}
    low = trials.assign(
        score=[
            cells.set_index(CELL)["mean"][key] / unlucky.get(key, 1.04)
            for key in trials[CELL].itertuples(index=False, name=None)
        ]
    )
    (said,) = (text for text in caveats(replace(tuned, tables=replaced(tuned.tables, trials=low))) if "lucky" in text)
    assert said.startswith(f"In 2 of {len(tuned.cells)} cells the evaluated seeds ended more than 5% higher")
    by = tuned.cells[("E7M0", "manifold", "nearest", "all")]["mean"] * (1 - 1 / 1.06)
    assert f"E7M0-manifold-nearest (+{by:.4f})" in said and "E4M3-adamw-nearest-mlp (+" in said


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
    source = replace(source_of("empty"), tables=tables)
    facts = {row["what"]: row["value"] for row in rows(provenance(source))}
    assert facts["runs"] == "6 of 6 planned and 2 included"
    assert facts["status"] == "1 diverged and 6 finished"
    assert any(text.startswith("1 run diverged, in ") for text in caveats(source))


def test_sweet_spot_by_loss(source_of: SourceOf) -> None:
    source = source_of("layers")
    text = sweet_spot.answer(source).text
    assert "mlp under nearest: E4M3 with manifold" in text and "lm_head under nearest: E4M3 with manifold" in text
    assert text.startswith("Lowest validation loss with that layer type alone in the format")


def test_sweet_spot_without_single_layer_runs_says_so(source_of: SourceOf) -> None:
    source = source_of("sweep")
    text = sweet_spot.answer(source).text
    assert text.startswith("This study has no runs with one layer type alone in a format, so it cannot say what")
    assert "under nearest rounding with adamw the fewest updates stall" in text
    assert {row["rate"] for row in rows(sweet_spot.best_grid(source, sweet_spot._spots(source)))} == {
        "stall_ratio",
        "underflow_rate",
    }


def test_sweet_spot_without_nearest_runs_is_a_sentence(tmp_path: Path, source_of: SourceOf) -> None:
    tables = Pipeline(tmp_path)(make_study(storages=["master"]), lambda run: 2.0)
    assert sweet_spot.answer(replace(source_of("empty"), tables=tables)).text == (
        "This study has no runs with one layer type alone in a format, so it cannot say what a format costs there. Nor"
        " has it runs under nearest rounding, whose counters would show where updates are lost."
    )


def test_diagnostics_by_layer_type_are_shown(source_of: SourceOf) -> None:
    found = rows(sweet_spot.probes_grid(source_of("one seed")))
    assert {(row["grid alignment"], row["codes in use"], row["stable rank"]) for row in found} == {
        ("0.25", "50 %", "3")
    }
    assert {row["layer type"] for row in found} == {"embedding", "attention", "mlp", "lm_head"}


def test_provenance_counts_what_is_there(source_of: SourceOf) -> None:
    facts = {row["what"]: row["value"] for row in rows(provenance(source_of("all diverged")))}
    assert facts["runs"] == "27 of 27 planned and 0 included"
    assert facts["status"] == "27 diverged" and facts["seeds"] == "1, 2, 3"
    assert "12,000 training and 3,000 validation tokens" in facts["corpus"] and "0123abcd" in facts["corpus"]
    empty = {row["what"]: row["value"] for row in rows(provenance(source_of("empty")))}
    assert (empty["runs"], empty["device"], empty["versions"]) == ("0 of 27 planned and 0 included", "none", "none")
