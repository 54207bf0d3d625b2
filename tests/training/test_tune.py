"""Tuning a cell, and training an arm's seeds in one process: what they leave, how they go on, what they refuse."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from altgrad.errors import MismatchError, TableError
from altgrad.study.config import StudyConfig
from altgrad.study.grid import study_arms, trial_id
from altgrad.study.runs import ArmConfig, TuneConfig
from altgrad.study.tuned import learning_rates, read_choice, read_choices
from altgrad.study.tuning import Trial, best_rung, smoothed_best
from altgrad.training.loop import Trainer
from altgrad.training.process import Interrupts
from altgrad.training.run import train_run
from altgrad.training.sweep import train_arm
from altgrad.training.tune import tune_cell
from tests.training.conftest import TINY

RULE = {"lowest_lr": 1e-2, "start": 3, "max_lrs": 5, "seeds": [101, 102]}


def silent(message: str) -> None:
    """Say nothing."""


@pytest.fixture
def study() -> StudyConfig:
    grid = {**{key: value for key, value in TINY["grids"][0].items() if key != "lrs"}, "seeds": [1, 2]}
    return StudyConfig.model_validate({**TINY, "grids": [grid], "tuning": RULE})


@pytest.fixture
def cell(study: StudyConfig) -> TuneConfig:
    assert study.tuning is not None
    return TuneConfig(arm=study_arms(study)[-1], tuning=study.tuning)


def timeless(path: Path) -> Any:
    """Return what tuning wrote, without the times that its trials took."""
    result = json.loads(path.read_text())
    for trial in result["trials"]:
        del trial["wall_s"]
    return result


def test_the_choice_is_the_best_of_the_trials_and_every_trial_is_told(
    cell: TuneConfig, corpus_folder: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    out = tmp_path / "tuning" / "cell.json"
    assert tune_cell(cell, corpus_folder, tmp_path / "trials", out, said.append) == 0
    result = json.loads(out.read_text())
    scores: dict[float, list[float]] = {}
    for trial in result["trials"]:
        summary = json.loads((tmp_path / "trials" / trial["run_id"] / "summary.json").read_text())
        assert (trial["lr"], trial["seed"], trial["val_loss"]) == (summary["lr"], summary["seed"], summary["val_loss"])
        assert trial["run_id"] == trial_id(cell.arm, trial["lr"], trial["seed"])
        scores.setdefault(trial["lr"], []).append(summary["val_loss"])
    assert all(len(of_rate) == 2 for of_rate in scores.values())
    trials = {rung: Trial(sum(pair) / 2, 0, max(pair)) for rung, pair in enumerate(scores[lr] for lr in sorted(scores))}
    assert result["lr"] == sorted(scores)[smoothed_best(trials)]
    assert result["lrs"] == len(scores) and list(scores)[:3] == [0.01, 0.01414, 0.02]
    assert result["lr_at_edge"] == (min(best_rung(trials), len(trials) - 1 - best_rung(trials)) < 2)
    best = sum(scores[result["lr"]]) / 2
    inside = [lr for lr in scores if result["basin_low_lr"] <= lr <= result["basin_high_lr"]]
    assert all(sum(scores[lr]) / 2 <= 1.01 * best for lr in inside) and result["lr"] in inside
    assert read_choice(out, cell.arm) == result
    assert said[-1] == f"{cell.arm.arm}: learning rate {result['lr']:g}, the best of {result['lrs']}"


def test_an_interrupted_search_goes_on_to_the_same_result(
    cell: TuneConfig, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tune_cell(cell, corpus_folder, tmp_path / "a", tmp_path / "a.json", silent) == 0
    steps = iter([0] * 30)
    with monkeypatch.context() as patch:
        patch.setattr(Interrupts, "pending", lambda self: next(steps, signal.SIGTERM))
        assert tune_cell(cell, corpus_folder, tmp_path / "b", tmp_path / "b.json", silent) == 128 + signal.SIGTERM
    assert not (tmp_path / "b.json").exists()
    said: list[str] = []
    assert tune_cell(cell, corpus_folder, tmp_path / "b", tmp_path / "b.json", said.append) == 0
    assert sum("finished already" in line for line in said) == 2
    assert timeless(tmp_path / "a.json") == timeless(tmp_path / "b.json")


def test_a_signal_that_comes_as_a_trial_ends_is_not_lost(
    cell: TuneConfig, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def note(trainer: Trainer) -> float:
        ended.append(trainer.run.run_id)
        os.kill(os.getpid(), signal.SIGTERM)
        return real(trainer)

    real = Trainer.evaluate
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", lambda t: note(t) if t.step == t.run.training.steps else real(t))
        assert tune_cell(cell, corpus_folder, tmp_path / "t", tmp_path / "t.json", silent) == 128 + signal.SIGTERM
    assert len(ended) == 1 and (tmp_path / "t" / ended[0] / "summary.json").exists()


def test_a_diverged_trial_is_a_result(study: StudyConfig, corpus_folder: Path, tmp_path: Path) -> None:
    assert study.tuning is not None
    wild = study.tuning.model_copy(update={"lowest_lr": 1e7})
    cell = TuneConfig(arm=study_arms(study)[0].model_copy(update={"lr": None}), tuning=wild)
    assert tune_cell(cell, corpus_folder, tmp_path / "trials", tmp_path / "cell.json", silent) == 0
    result = json.loads((tmp_path / "cell.json").read_text())
    assert any(trial["diverged"] and trial["val_loss"] is None for trial in result["trials"])
    assert result["largest_stable_lr"] is None and not result["stable_at_edge"]


def test_runs_of_one_process_end_with_the_bytes_of_runs_of_their_own(
    study: StudyConfig, corpus_folder: Path, tmp_path: Path
) -> None:
    arm = study_arms(study)[-1]
    assert train_arm(arm, 0.01, corpus_folder, tmp_path / "together", silent) == 0
    for run in arm.runs(0.01):
        train_run(run, corpus_folder, tmp_path / "alone" / run.run_id, False, silent)
        for name in ("config.json", "telemetry.parquet", "final.safetensors"):
            one, other = (tmp_path / folder / run.run_id / name for folder in ("together", "alone"))
            assert one.read_bytes() == other.read_bytes(), name


def test_an_arm_goes_on_after_the_run_that_was_interrupted(
    study: StudyConfig, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm, said = study_arms(study)[-1], list[str]()
    steps = iter([0] * 15)
    with monkeypatch.context() as patch:
        patch.setattr(Interrupts, "pending", lambda self: next(steps, signal.SIGINT))
        assert train_arm(arm, 0.01, corpus_folder, tmp_path, silent) == 128 + signal.SIGINT
    assert (tmp_path / "E4M3-manifold-stochastic-all-s1" / "summary.json").exists()
    assert train_arm(arm, 0.01, corpus_folder, tmp_path, said.append) == 0
    assert "E4M3-manifold-stochastic-all-s1: finished already; handing out its files" in said
    assert (tmp_path / "E4M3-manifold-stochastic-all-s2" / "summary.json").exists()


def test_a_choice_of_another_config_is_refused(
    cell: TuneConfig, study: StudyConfig, corpus_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"{cell.arm.arm}.json"
    tune_cell(cell, corpus_folder, tmp_path / "trials", path, silent)
    assert learning_rates(read_choices(study, tmp_path)) == {cell.arm.arm: json.loads(path.read_text())["lr"]}
    more_seeds = cell.arm.model_copy(update={"seeds": (1, 2, 3)})
    assert read_choice(path, more_seeds)["lr"] > 0
    longer = cell.arm.training.model_copy(update={"steps": 13})
    with pytest.raises(MismatchError, match=r"it was tuned for E4M3-manifold-stochastic-all with another config"):
        read_choice(path, ArmConfig.model_validate({**dict(cell.arm), "training": longer}))
    path.write_text("{}")
    with pytest.raises(TableError, match=r"it is no result of tuning \('lr'\)\. Make it with altgrad tune"):
        read_choice(path, cell.arm)
