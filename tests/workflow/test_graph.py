"""The graph: what a change schedules, what it leaves alone, and what it refuses."""

import json
import shlex

import pytest

from altgrad.study.budget import check_budget
from altgrad.study.config import StudyConfig
from altgrad.study.grid import canonical_json, study_arms
from altgrad.study.loading import load_study
from altgrad.study.runs import TuneConfig
from altgrad.study.tuned import tuned_arms
from tests.workflow.conftest import ROOT, TINY, Project

TRAINED = {"train_baseline": 1, "train": 2, "diagnose_baseline": 1, "diagnose": 2}
AFTER_RUNS = {"tabulate": 1, "analyse": 1, "plot": 1, "report": 1, "publish": 1, "all": 1}


def test_the_whole_graph_from_nothing(project: Project) -> None:
    assert project.planned(project.overlay()) == {"prepare": 1, **TRAINED, **AFTER_RUNS}


def test_a_finished_study_is_left_alone(finished: Project) -> None:
    done = finished.snakemake("-n", "--configfile", finished.overlay())
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr


def test_a_new_seed_trains_only_its_runs(finished: Project) -> None:
    grid = {**TINY["grids"][0], "seeds": [1, 2]}
    assert finished.planned(finished.overlay(grids=[grid])) == {"train": 2, "diagnose": 2, **AFTER_RUNS}


def test_a_changed_update_trains_only_its_runs(finished: Project) -> None:
    changed = {"manifold": {"metric_power": 0.25}}
    assert finished.planned(finished.overlay(updates=changed)) == {"train": 1, "diagnose": 1, **AFTER_RUNS}


def test_another_title_trains_nothing(finished: Project) -> None:
    assert finished.planned(finished.overlay(title="Another")) == AFTER_RUNS


def test_runs_of_an_earlier_config_are_taken_in_without_training(finished: Project) -> None:
    grid = {**TINY["grids"][0], "updates": ["adamw"]}
    left = finished.overlay(grids=[grid], include_runs=["results/tiny/runs/*"])
    assert finished.planned(left) == AFTER_RUNS


def test_a_glob_that_names_no_run_stops_before_any_job(finished: Project) -> None:
    done = finished.snakemake("-n", "--configfile", finished.overlay(include_runs=["elsewhere/*"]))
    assert done.returncode != 0
    assert "altgrad: error: include_runs: elsewhere/*: it matches no folder of a finished run" in done.stderr


def test_a_changed_figure_trains_nothing(finished: Project) -> None:
    finished.edit("workflow/rules/common.smk", r'"plot": (\d+)', r'"plot": 1\1')
    assert finished.planned(finished.overlay()) == {"plot": 1, "report": 1, "all": 1}


def test_two_studies_share_no_file(finished: Project) -> None:
    before = {path for path in finished.folder.rglob("*") if {"results", "reports"} & set(path.parts)}
    overlay = finished.overlay(study="other")
    assert finished.planned(overlay) == {"prepare": 1, **TRAINED, **AFTER_RUNS}
    done = finished.snakemake("--configfile", overlay, "--cores", "2")
    assert done.returncode == 0
    after = {path for path in finished.folder.rglob("*") if {"results", "reports"} & set(path.parts)}
    new = {path.relative_to(finished.folder).parts[:2] for path in after - before}
    assert new == {("results", "other"), ("reports", "other")}


def test_verbs_get_their_slice_of_the_config_word_for_word(finished: Project) -> None:
    study = load_study([finished.folder / "config.yaml", finished.folder / "tiny.yaml"])
    for arm in study_arms(study):
        words, text = finished.call(f"sweep-{arm.arm}")
        assert text == canonical_json(arm) + "\n"
        assert words == shlex.split("--config - --corpus results/tiny/corpus/synthetic --out results/tiny/runs")
    words, text = finished.call("prepare-synthetic")
    assert json.loads(text) == study.corpus.model_dump(mode="json")
    words, text = finished.call("tabulate-tables")
    assert StudyConfig.model_validate_json(text) == study
    assert words[words.index("--runs") + 1] == "results/tiny/runs" and "--tuning" not in words
    assert not (finished.folder / "evil").exists()


def test_training_is_a_child_of_snakemake_itself(finished: Project) -> None:
    """No shell stays between them, so that signals and measurements reach the training."""
    parents = {path.read_text() for path in (finished.folder / "results/tiny/runs").glob("*/summary.json")}
    assert len(parents) == 1


def test_a_failed_job_shows_its_log_and_stops_the_rest(project: Project) -> None:
    done = project.snakemake("--configfile", project.overlay(), "--cores", "2", STUB_FAILS="diagnose")
    assert done.returncode == 1
    assert "altgrad: error: diagnose: it was told to fail. Do not tell it" in done.stdout + done.stderr
    assert not (project.folder / "results/tiny/tables").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--configfile", "nameless.yaml"], "nameless.yaml: study: it is missing, and the runs would mix"),
        (
            ["--config", "study=typo", 'training={"stepz": 3}'],
            "--config: training.stepz: unknown key. Did you mean steps.",
        ),
    ],
)
def test_a_bad_config_ends_in_one_line_before_any_job(project: Project, arguments: list[str], message: str) -> None:
    (project.folder / "nameless.yaml").write_text("training: {steps: 3}\n")
    done = project.snakemake(*arguments, "-n")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("altgrad: error: ")]
    assert message in line
    assert "Building DAG" not in done.stderr and "Traceback" not in done.stderr
    assert not (project.folder / "results").exists()


def test_a_study_over_its_budget_stops_before_any_job_and_one_within_it_does_not(project: Project) -> None:
    money = {"usd": 1e-6, "usd_per_hour": 3.0, "tokens_per_s": 1000.0}
    done = project.snakemake("-n", "--configfile", project.overlay(budget=money))
    assert done.returncode == 2 and "Building DAG" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("altgrad: error: ")]
    assert "budget.usd: study 'tiny' is estimated to cost up to" in line and "and 0.00 are allowed" in line
    assert project.planned(project.overlay(budget={**money, "usd": 1000.0}))["tabulate"] == 1


@pytest.mark.parametrize("overlay", ["", "reference", "confirmation", "demo", "files"])
def test_every_study_of_the_project_is_within_its_budget(overlay: str) -> None:
    check_budget(load_study([ROOT / "config.yaml", *([ROOT / f"workflow/studies/{overlay}.yaml"] if overlay else [])]))


def test_no_path_leads_out_of_the_study(project: Project) -> None:
    overlay = project.overlay()
    for path, message in {
        "results/tiny/runs/../../../evil/summary.json": "No rule to produce",
        "results/tiny/runs/E4M3-evil/summary.json": "No rule to produce",
        "reports/tiny/evil.md": "No rule to produce",
    }.items():
        done = project.snakemake("-n", "--configfile", overlay, "--", path)
        assert done.returncode == 1
        assert message in done.stdout + done.stderr


def test_lint_and_rulegraph_need_no_gpu_and_no_network(project: Project) -> None:
    done = project.snakemake("--lint")
    assert done.returncode == 0, done.stdout + done.stderr
    done = project.snakemake("--rulegraph", "--configfile", project.overlay())
    assert done.returncode == 0 and done.stdout.startswith("digraph")


def test_the_demo_profile_runs_the_demo(project: Project) -> None:
    done = project.snakemake("-n", "--workflow-profile", "profiles/demo", "--", "reports/demo/manifold_vs_standard.md")
    assert done.returncode == 0 and "results/demo/corpus/synthetic/train.bin" in done.stdout


def test_cells_are_tuned_before_their_runs_and_a_new_seed_tunes_none(project: Project) -> None:
    grid = {key: value for key, value in TINY["grids"][0].items() if key != "lrs"}
    rule = {"lowest_lr": 1e-3, "start": 3, "max_lrs": 8, "seeds": [101]}
    changes = {"study": "tuned", "grids": [grid], "tuning": rule}
    overlay = project.overlay(**changes)
    assert project.planned(overlay) == {"prepare": 1, "tune": 2, **TRAINED, **AFTER_RUNS}
    done = project.snakemake("--configfile", overlay, "--cores", "2", "--resources", "gpu=2")
    assert done.returncode == 0, done.stdout + done.stderr
    study = load_study([project.folder / "config.yaml", project.folder / overlay])
    for arm in tuned_arms(study):
        words, text = project.call(f"tune-{arm.arm}.json")
        config = TuneConfig.model_validate_json(text)
        assert config.tuning == study.tuning and config.arm.model_copy(update={"seeds": arm.seeds}) == arm
        assert words[words.index("--trials") + 1] == "results/tuned/trials"
        words, _ = project.call(f"sweep-{arm.arm}")
        assert words[-2:] == ["--tuning", f"results/tuned/tuning/{arm.arm}.json"]
    words, _ = project.call("tabulate-tables")
    assert words[words.index("--tuning") + 1] == "results/tuned/tuning"
    more = project.overlay(**{**changes, "grids": [{**grid, "seeds": [1, 2]}]})
    assert project.planned(more) == {"train": 2, "diagnose": 2, **AFTER_RUNS}
    retuned = project.overlay(**{**changes, "tuning": {**rule, "max_lrs": 9}})
    assert project.planned(retuned) == {"tune": 2, "train": 2, "diagnose": 2, **AFTER_RUNS}


def test_the_longest_command_fits_the_operating_system() -> None:
    """A word of a command line has at most 131,072 bytes in Linux, and a rule's shell command is one word."""
    study = load_study([ROOT / "config.yaml"])
    longest = max(len(canonical_json(arm)) for arm in study_arms(study))
    assert max(longest, len(shlex.quote(study.model_dump_json()))) < 131_072 - 1000
