"""`altgrad budget` from end to end, its throughput stated."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from altgrad.cli import main as command
from altgrad.study.budget import estimate, stated_pace
from altgrad.study.config import StudyConfig
from altgrad.study.loading import load_study
from tests.study.conftest import study_data

__all__ = ["study_data"]

Data = dict[str, Any]


@pytest.fixture
def study(tmp_path: Path, study_data: Data) -> Path:
    """A study of 2 baseline runs and 4 cells with 2 runs each, the cells tuned with 3 to 8 rates and 1 seed."""
    study_data["grids"][0] |= {"storages": ["nearest"], "lrs": None}
    study_data["tuning"] = {"lowest_lr": 1e-3, "start": 3, "max_lrs": 8, "seeds": [101]}
    study_data["budget"] = {"usd_per_hour": 36.0, "tokens_per_s": 64.0}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_data))
    return path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["altgrad", "budget", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def rows(text: str) -> dict[str, list[str]]:
    """Return the table's rows by their part, cut where two spaces stand."""
    table = [line.split("  ") for line in text.splitlines() if line.startswith(("tuning,", "evaluation,", "all "))]
    return {cells[0]: [cell.strip() for cell in cells[1:] if cell.strip()] for cells in table}


def test_every_part_is_shown_as_expected_and_at_most(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, study, "--json", tmp_path / "budget.json") == 0
    text = capsys.readouterr().out
    table = rows(text)
    # A run has 20 steps of 64 tokens, 20 s; a validation of 512 tokens at 192 a second takes 2.67 s. With 5 s besides,
    # 27.67 s; a job starts in 30 s. So 4 cells with 6 expected trials are 784 s, which are 7.84 dollars.
    evaluation = [f"evaluation, {part}" for part in ("baseline", "grid 1", "all")]
    assert list(table) == ["tuning, grid 1", "tuning, all", *evaluation, "all"]
    assert table["tuning, grid 1"][:5] == ["nearest", "adamw, manifold", "all", "4", "24"]
    assert table["tuning, grid 1"][7:] == ["0.218", "7.84", "32", "0.279", "10.05"]
    assert table["evaluation, grid 1"][3:5] == ["4", "8"]
    assert table["all"][0] == "34" and table["all"][5] == "42"
    document = json.loads((tmp_path / "budget.json").read_text())
    assert document["total"]["most"]["runs"] == 42 and document["limit_usd"] is None
    for bound, column in (("expected", 4), ("most", 7)):
        assert f"{document['total'][bound]['usd']:.2f}" == table["all"][column]
    (part,) = [part for part in document["parts"] if part["stage"] == "tuning"]
    assert part["costs"]["expected"]["usd"] == pytest.approx(7.84)
    assert "a cell tries 3 to 8 learning rates, 6 expected; seeds for each: 1." in text
    assert "64 tokens/s, stated in budget.tokens_per_s" in text and "no limit is set" in text


def test_the_numbers_are_those_of_the_estimate(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, study, "--tokens-per-s", "1e3", "--json", tmp_path / "budget.json") == 0
    assert "1,000 tokens/s, given by --tokens-per-s" in capsys.readouterr().out
    loaded = load_study([study])
    found = estimate(loaded, stated_pace(loaded, 1000.0, "given by --tokens-per-s")).as_dict()
    assert json.loads((tmp_path / "budget.json").read_text()) == json.loads(json.dumps({**found, "limit_usd": None}))


def test_what_if(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def runs(*changes: str) -> int:
        options = [word for change in changes for word in ("--set", change)]
        assert call(monkeypatch, study, *options, "--json", tmp_path / "budget.json") == 0
        total = json.loads((tmp_path / "budget.json").read_text())["total"]["most"]
        assert isinstance(total["runs"], int)
        return total["runs"]

    assert runs() == 42
    assert runs("tuning.max_lrs=5") == 30
    assert runs("grids.0.seeds=[1,2,3]", 'grids.0.formats=["E4M3"]', "title=Another") == 2 + 2 * (8 + 3)
    assert "small: Another" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "training.stepz=3"], "--set: training.stepz: unknown key. Did you mean steps."),
        (["--set", "grids.4.seeds=[1]"], "--set grids.4.seeds: the study has no such section."),
        (["--set", "grids.4={}"], "--set grids.4: the study has no such section."),
        (["--set", "title.first=x"], "--set title.first: the study has no such section."),
        (["--set", "training.steps"], "--set training.steps: it has no value. Give KEY=VALUE"),
        (["--tokens-per-s", "nan"], "--tokens-per-s: nan is no throughput. Give a finite number above 0."),
        (["--tokens-per-s", "0"], "--tokens-per-s: 0 is no throughput."),
        (["--tokens-per-s", "9", "--measure"], "--measure: it does not go with --tokens-per-s. Give one of them."),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    study: Path,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, study, *options) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f"altgrad: error: {message}") and shown.err.count("\n") == 1


def test_above_the_limit_all_is_shown_and_the_status_is_2(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, study, "--set", "budget.usd=10", "--json", tmp_path / "budget.json") == 2
    shown = capsys.readouterr()
    assert rows(shown.out)["all"][0] == "34" and "10.00 are allowed." in shown.out
    assert shown.err.startswith("altgrad: error: budget.usd: study 'small' is estimated to cost up to ")
    assert json.loads((tmp_path / "budget.json").read_text())["limit_usd"] == 10


def test_where_nothing_is_stated_it_is_measured(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(config: StudyConfig, say: Any) -> Any:
        say("measuring")
        return stated_pace(config, 32.0, "measured here")

    monkeypatch.setattr("altgrad.training.calibration.measure_pace", measured)
    for options in (["--set", "budget.tokens_per_s=null"], ["--measure"]):
        assert call(monkeypatch, study, *options) == 0
        shown = capsys.readouterr()
        assert "32 tokens/s, measured here" in shown.out and shown.err == "measuring\n"
