"""When a target is met, and what the tables say of it, by hand."""

import math

import pytest

from benchmarks import report
from benchmarks.rows import PeerRow, Result, Row, Target
from benchmarks.setting import Setting

FULL, QUICK = Setting("cpu", 2, quick=False), Setting("cpu", 2, quick=True)
ABOVE, BELOW = math.nextafter(1.15, 2), math.nextafter(1.15, 1)


@pytest.mark.parametrize(
    ("value", "at_most", "at_least"),
    [
        (1.15, "met", "met"),
        (ABOVE, "missed", "met"),
        (BELOW, "met", "missed"),
        (math.inf, "missed", "met"),
        (-math.inf, "met", "missed"),
        (math.nan, "missed", "missed"),
    ],
)
def test_a_target_is_met_at_its_limit(value: float, at_most: str, at_least: str) -> None:
    assert Row("a", value, target=Target(1.15)).verdict() == at_most
    assert Row("a", value, target=Target(1.15, at_least=True)).verdict() == at_least


def test_no_target_no_verdict() -> None:
    assert Row("a", math.inf).verdict() == ""


def test_the_limit_0_is_a_target() -> None:
    assert Row("a", 0.0, target=Target(0.0)).verdict() == "met"
    assert Row("a", 1.0, target=Target(0.0)).verdict() == "missed"


def test_targets_in_words() -> None:
    assert [str(Target(1.15)), str(Target(5.0, at_least=True))] == ["<= 1.15", ">= 5"]


ROWS = [Row("good", 1.0, target=Target(1.0)), Row("bad", 2.5, target=Target(1.0)), Row("free", 12345.6, "ms")]


def test_what_a_run_prints(capsys: pytest.CaptureFixture[str]) -> None:
    result = Result([*ROWS, Row("spread", 1.23456, low=1.0, high=1.5, note="why")])
    report.print_section("some", "Title", result, FULL)
    report.print_summary({"some": result}, FULL)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "some: Title",
        "  measured  value     25-75 %  target          note",
        "  --------  --------  -------  ------  ------  ----",
        "  good      1                  <= 1    met",
        "  bad       2.5                <= 1    missed",
        "  free      12346 ms",
        "  spread    1.23      1 - 1.5                  why",
        "",
        "1 of 2 targets met.",
        "  missed: bad: 2.5, target <= 1",
    ]


def test_a_quick_run_judges_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_section("some", "Title", Result(ROWS), QUICK)
    report.print_summary({"some": Result(ROWS)}, QUICK)
    shown = capsys.readouterr().out
    assert shown.count("not judged") == 2 and shown.endswith("\nA quick run: small sizes, nothing judged.\n")
    assert "met" not in shown and "missed" not in shown


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (PeerRow("p", "1", inputs=9), "yes"),
        (PeerRow("p", "1", wrong=4, inputs=9), "in range; 4 of 9 wrong"),
        (PeerRow("p", "1", wrong=4, wrong_in_range=1, inputs=9), "no; 4 of 9 wrong, 1 in range"),
        (PeerRow("p", "", why_not="not installed"), "not installed"),
    ],
)
def test_exactness_in_words(line: PeerRow, words: str) -> None:
    assert line.exact() == words
