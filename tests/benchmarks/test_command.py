"""`python -m benchmarks`: what it answers, and how it ends."""

import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks.rows import Result, Row, Series, Target
from benchmarks.setting import Setting

ROWS = Result([Row("a ratio", 2.0, target=Target(1.0))])
CURVE = Result(series=[Series("curve", "steps", "size (KiB)", [1.0, 10.0], [1.0, 9.0])])


def call(*arguments: str) -> int:
    """Run the command in this process and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        command.app(arguments, prog_name="python -m benchmarks")
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(autouse=True)
def sections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Setting]]:
    """Put two quick sections in place of the real ones, on an idle machine; return what was run."""
    ran: list[tuple[str, Setting]] = []

    def add(name: str, result: Result) -> tuple[str, str]:
        module = ModuleType(f"benchmarks.fake_{name}")

        def run(setting: Setting) -> Result:
            ran.append((name, setting))
            return result

        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return module.__name__, f"Title of {name}"

    monkeypatch.setattr(command, "SECTIONS", {name: add(name, r) for name, r in (("rows", ROWS), ("curve", CURVE))})
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    return ran


def test_an_unknown_section_is_one_line_and_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("rows", "nonsense", "--out", str(tmp_path / "out")) == 2
    shown = capsys.readouterr()
    line = "benchmarks: error: SECTIONS: there is no section 'nonsense'. Choose from rows, curve.\n"
    assert (shown.out, shown.err) == ("", line)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_is_one_line_and_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--device", "cuda", "--out", str(tmp_path)) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1 and "no CUDA device" in shown.err


def test_the_sections_are_those_of_the_readme() -> None:
    text = Path(command.__file__).with_name("README.md").read_text(encoding="utf-8")
    source = Path(command.__file__).read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert listed == re.findall(r'^    "(\w+)": \("benchmarks\.', source, re.MULTILINE) and len(listed) == 11


def test_all_sections_by_default_in_order(sections: list[tuple[str, Setting]], tmp_path: Path) -> None:
    assert call("--quick", "--out", str(tmp_path)) == 0
    assert [name for name, _ in sections] == ["rows", "curve"]
    assert {setting for _, setting in sections} == {Setting("cpu", torch.get_num_threads(), quick=True)}
    (path,) = tmp_path.glob("*_quick.json")
    found = json.loads(path.read_bytes())["sections"]
    assert [row["name"] for row in found["rows"]["rows"]] == ["a ratio"] and found["curve"]["series"]


@pytest.mark.parametrize(("section", "suffixes"), [("curve", [".json", ".png", ".svg"]), ("rows", [".json"])])
def test_it_names_the_files_that_it_wrote(
    section: str, suffixes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(section, "--quick", "--out", str(tmp_path)) == 0
    assert sorted(path.suffix for path in tmp_path.iterdir()) == suffixes
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(f"_{section}_quick.json" + ", .svg and .png" * (len(suffixes) > 1))


def test_a_missed_target_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("rows", "--out", str(tmp_path)) == 0
    shown = capsys.readouterr()
    assert "0 of 1 targets met.\n  missed: a ratio: 2, target <= 1\n" in shown.out and not shown.err


def test_a_busy_machine_is_one_line_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert call("rows", "--quick", "--out", str(tmp_path)) == 0
    line = "benchmarks: warning: the machine is busy (load 1.5 on 2 cores): timings will be off\n"
    assert capsys.readouterr().err == line
