"""`altgrad config`: reading studies from the command line."""

import json
from pathlib import Path

import pytest

from altgrad.cli import config
from altgrad.errors import ConfigError
from altgrad.study.runs import RunConfig

ROOT = Path(__file__).parents[2]
DEMO = [str(ROOT / "config.yaml"), str(ROOT / "workflow" / "studies" / "demo.yaml")]


def test_check_counts_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    config.runs(DEMO)
    ids = capsys.readouterr().out.split()
    config.check(DEMO)
    steps = RunConfig.model_validate_json(_run(ids[0], capsys)).training.steps
    config.check(DEMO)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("demo: ") and line.endswith(f"{len(ids)} runs, {len(ids) * steps} training steps in all.")


def test_run_prints_what_train_takes(capsys: pytest.CaptureFixture[str]) -> None:
    config.runs(DEMO)
    for identity in capsys.readouterr().out.split():
        assert RunConfig.model_validate_json(_run(identity, capsys)).run_id == identity


def test_run_refuses_an_id_of_another_study() -> None:
    with pytest.raises(ConfigError, match="study 'demo' has no such run"):
        config.run(DEMO, "E4M3")


def test_schema_prints_and_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.schema(None)
    config.schema(tmp_path / "schema.json")
    printed = capsys.readouterr().out
    assert (tmp_path / "schema.json").read_text() == printed
    assert json.loads(printed)["additionalProperties"] is False


def _run(identity: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    config.run(DEMO, identity)
    return capsys.readouterr().out
