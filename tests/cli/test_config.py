"""`altgrad config`: reading studies from the command line."""

import json
from pathlib import Path

import pytest

from altgrad.cli import config
from altgrad.errors import ConfigError
from altgrad.study.grid import study_arms
from altgrad.study.loading import load_study
from altgrad.study.runs import ArmConfig, RunConfig, TuneConfig
from tests.analysis.tuned import fabricate_tuning

ROOT = Path(__file__).parents[2]
DEMO = [str(ROOT / "config.yaml"), str(ROOT / "workflow" / "studies" / "demo.yaml")]


@pytest.fixture
def tuning(tmp_path: Path) -> Path:
    """What tuning the demonstration would leave of one cell."""
    fabricate_tuning(load_study(DEMO), tmp_path / "tuning", lambda arm: 1, lambda arm, lr, seed: 2.0)
    for path in (tmp_path / "tuning").iterdir():
        if path.stem != "E4M3-manifold-nearest-all":
            path.unlink()
    return tmp_path / "tuning"


def test_check_counts_the_runs_and_what_is_tuned(capsys: pytest.CaptureFixture[str]) -> None:
    study = load_study(DEMO)
    arms = study_arms(study)
    config.check(DEMO)
    first, second = capsys.readouterr().out.splitlines()
    runs = sum(len(arm.seeds) for arm in arms)
    assert first == f"demo: {study.title}. {runs} runs, {runs * study.training.steps} training steps in all."
    assert second == f"Before them, {len(arms)} cells are tuned, with 3 to 4 trials each."


def test_runs_are_listed_once_they_are_tuned(tuning: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.runs(DEMO)
    assert capsys.readouterr().out == ""
    config.runs(DEMO, tuning)
    names = capsys.readouterr().out.split()
    assert names == ["E4M3-manifold-nearest-all-s1", "E4M3-manifold-nearest-all-s2"]
    config.run(DEMO, names[1], tuning)
    run = RunConfig.model_validate_json(capsys.readouterr().out)
    assert run.run_id == names[1] and run.lr == 0.005657


def test_arms_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    config.arms(DEMO)
    names = capsys.readouterr().out.split()
    assert names == [arm.arm for arm in study_arms(load_study(DEMO))]
    config.arm(DEMO, names[-1])
    arm = ArmConfig.model_validate_json(capsys.readouterr().out)
    config.arm(DEMO, names[-1], tuning=True)
    assert TuneConfig.model_validate_json(capsys.readouterr().out).arm == arm


def test_run_refuses_an_id_of_another_study() -> None:
    with pytest.raises(ConfigError, match="study 'demo' has no such run"):
        config.run(DEMO, "E4M3")


def test_schema_prints_and_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.schema(None)
    config.schema(tmp_path / "schema.json")
    printed = capsys.readouterr().out
    assert (tmp_path / "schema.json").read_text() == printed
    assert json.loads(printed)["additionalProperties"] is False
