"""The names of a run's files, and its JSON file read back."""

import datetime
import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.rows import PeerRow, Result, Row, Series, Target
from benchmarks.setting import Setting

FULL, QUICK = Setting("cpu", 2, quick=False), Setting("cpu", 1, quick=True)

RESULTS = {
    "first": Result(
        rows=[
            Row("at most", 1.15, "x", 1.0, 1.3, Target(1.15), "a note"),
            Row("at least", 0.1 + 0.2, "x", target=Target(5.0, at_least=True)),
            Row("free", 1e-7, "ms"),
        ],
        series=[Series("curve", "parameters", "time (ms)", [1.0, 2.0], [0.5, 1 / 3])],
    ),
    "second": Result(
        rows=[Row("Größe", 3)],
        peers=[
            PeerRow("right", "1.0", {1024: Row("right", 2.5, "x", 2.0, 3.0)}, inputs=9),
            PeerRow("wrong", "2.0", {1024: Row("wrong", 1.5, "x", 1.0, 2.0)}, 4, 1, 9),
            PeerRow("absent", "", why_not="not installed"),
        ],
    ),
    "empty": Result(),
}


def row(name: str, value: float, unit: str = "x", **more: object) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "low": None, "high": None, "target": None, "note": ""} | more


def written(path: Path, setting: Setting) -> dict[str, dict[str, dict[str, list[object]]]]:
    report.write_json(path, RESULTS, setting)
    data: dict[str, dict[str, dict[str, list[object]]]] = json.loads(path.read_bytes())
    return data


def today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


@pytest.mark.parametrize(
    ("setting", "partial", "words"),
    [
        (FULL, [], "2-threads_{}"),
        (FULL, ["rounding", "peers"], "2-threads_{}_rounding-peers"),
        (QUICK, [], "1-thread_{}_quick"),
        (QUICK, ["growth"], "1-thread_{}_growth_quick"),
    ],
)
def test_the_name_of_the_files(
    setting: Setting, partial: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "hardware", lambda device: "AMD EPYC(tm) 7B13 @ 2.5/3.5 GHz, 2 cores")
    days = [today()]
    found = report.stem(setting, partial)
    days.append(today())
    assert found in [f"gpt13m_amd-epyc-tm-7b13-2-5-3-5-ghz-2-cores_{words.format(day)}" for day in days]
    # The figure's suffix takes the place of nothing.
    assert Path(found).with_suffix(".svg").name == f"{found}.svg"


def test_the_file_holds_every_row(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.json"
    sections = written(path, FULL)["sections"]
    assert sections["first"] == {
        "rows": [
            row("at most", 1.15, low=1.0, high=1.3, target="<= 1.15", note="a note", verdict="met"),
            row("at least", 0.30000000000000004, target=">= 5", verdict="missed"),
            row("free", 1e-7, "ms", verdict=""),
        ],
        "peers": [],
        "series": [
            {"name": "curve", "x_label": "parameters", "y_label": "time (ms)", "x": [1.0, 2.0], "y": [0.5, 1 / 3]}
        ],
    }
    assert sections["second"]["rows"] == [row("Größe", 3, verdict="")]
    assert sections["empty"] == {"rows": [], "peers": [], "series": []}
    assert list(sections) == ["first", "second", "empty"]
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]


def test_the_file_holds_every_peer(tmp_path: Path) -> None:
    right, wrong, absent = written(tmp_path / "run.json", FULL)["sections"]["second"]["peers"]
    assert right == {
        "name": "right",
        "version": "1.0",
        "ratios": {"1024": row("right", 2.5, low=2.0, high=3.0)},
        "wrong": 0,
        "wrong_in_range": 0,
        "inputs": 9,
        "why_not": "",
        "exact": "yes",
    }
    assert isinstance(wrong, dict) and isinstance(absent, dict)
    assert (wrong["wrong"], wrong["wrong_in_range"], wrong["exact"]) == (4, 1, "no; 4 of 9 wrong, 1 in range")
    assert (absent["ratios"], absent["exact"]) == ({}, "not installed")


def test_a_quick_run_judges_nothing_in_the_file(tmp_path: Path) -> None:
    rows = written(tmp_path / "run.json", QUICK)["sections"]["first"]["rows"]
    assert [entry["verdict"] for entry in rows if isinstance(entry, dict)] == ["not judged", "not judged", ""]


def test_the_file_says_what_the_numbers_depend_on(tmp_path: Path) -> None:
    import numpy as np
    import torch

    found = written(tmp_path / "run.json", QUICK)["environment"]
    expected = {"device": "cpu", "threads": 1, "quick": True, "torch": torch.__version__, "numpy": np.__version__}
    assert {key: found[key] for key in expected} == expected


def test_a_later_file_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    written(path, FULL)
    report.write_json(path, {"first": Result([Row("one", 1.0)])}, FULL)
    assert json.loads(path.read_bytes())["sections"].keys() == {"first"}
