"""What the report on failures says follows from the tables."""

from dataclasses import replace
from pathlib import Path

import pytest

from altgrad.reporting import failure_modes
from altgrad.reporting.document import Fold, Paragraph, Section
from altgrad.reporting.source import Source
from altgrad.reporting.text import Grid
from altgrad.study.runs import RunConfig
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import Rates, make_study
from tests.figures.conftest import replaced
from tests.reporting.conftest import SourceOf, rows
from tests.reporting.tuned import BIGRAM


def section(source: Source, title: str) -> Section:
    (found,) = [section for section in failure_modes.build(source).sections if section.title == title]
    return found


def marks(source: Source) -> str:
    words = section(source, "The marks").blocks[0]
    assert isinstance(words, Paragraph)
    return words.text


def test_failure_answer_and_evidence(source_of: SourceOf) -> None:
    source = source_of("all diverged")
    both = "E4M3 (master and nearest; 12 of 12 runs) and E7M0 (master and nearest; 12 of 12 runs) by divergence"
    assert both in failure_modes.answer(source).text
    found = rows(failure_modes.first_grid(source))
    assert {row["runs"] for row in found} == {"3 of 3"} and {row["step"] for row in found} == {"20"}
    healthy = source_of("one seed")
    assert failure_modes.answer(healthy).text == (
        "At its chosen learning rate no cell of adamw and manifold fails: 4 runs, and none passes a mark or diverges."
    )
    assert {row["fails first in"] for row in rows(failure_modes.first_grid(healthy))} == {"did not fail"}


def test_the_answer_names_stuck_runs_and_what_archives_do_not_know(source_of: SourceOf) -> None:
    tuned = source_of("tuned")
    text = failure_modes.answer(tuned).text
    assert "Whatever the marks say, runs ended no better than bigrams in E7M0-adamw-nearest (" in text
    assert "archive" not in text
    runs = tuned.tables["runs"].assign(archived=True)
    archived = replace(tuned, tables=replaced(tuned.tables, runs=runs))
    assert "which stage failed first is not known" in failure_modes.answer(archived).text


def test_runs_that_ended_no_better_than_bigrams_are_counted_by_cell(source_of: SourceOf) -> None:
    tuned = source_of("tuned")
    found = rows(failure_modes.stuck_grid(tuned))
    assert {(row["format"], row["update"]) for row in found} == {
        ("E7M0", update) for update in ("adamw", "manifold", "steep", "permuted")
    }
    runs = tuned.tables["runs"].query("format == 'E7M0' and update == 'steep'")
    steep = next(row for row in found if row["update"] == "steep")
    assert (int(steep["stuck runs"]), steep["of"]) == ((runs["score"] > 0.99 * BIGRAM).sum(), "8")
    assert failure_modes.stuck_grid(source_of("sweep")).empty == "The loss of bigrams was not computed."


def test_each_format_has_its_first_failure_with_its_evidence(tmp_path: Path, source_of: SourceOf) -> None:
    study = make_study(
        formats=["E4M3", "E7M0", "E5M2"], updates=["adamw"], quantization={"grad_output": "same"}, seeds=[1, 2]
    )

    def rates(run: RunConfig, tensor: str) -> Rates:
        if run.format == "E4M3":
            return Rates(grad_output_overflow=2 if run.seed == 2 and tensor == "lm_head.weight" else 0)
        return Rates(flips=1, updates=1000) if run.format == "E7M0" else Rates()

    def loss(run: RunConfig) -> float | None:
        return None if run.format == "E7M0" and run.storage == "master" else 2.0

    tables = Pipeline(tmp_path)(study, loss, rates)
    source = replace(source_of("empty"), tables=tables)
    found = {row["format"]: row for row in rows(failure_modes.by_format_grid(source))}
    assert list(found) == ["E4M3", "E5M2", "E7M0"]
    backward = found["E4M3"]
    assert (backward["runs"], backward["did not fail"], backward["fails first in"]) == ("4", "2", "backward")
    assert (backward["runs that do"], backward["rate"], backward["value"], backward["step"]) == (
        "2",
        "grad_output_overflow_rate",
        "0.2 %",
        "10",
    )
    assert backward["layer type"] == "lm_head" and backward["mark"] == "0.1 %"
    assert (found["E7M0"]["fails first in"], found["E7M0"]["runs that do"], found["E7M0"]["did not fail"]) == (
        "optimizer",
        "2",
        "0",
    )
    assert found["E5M2"]["fails first in"] == "did not fail" and found["E5M2"]["did not fail"] == "4"
    text = failure_modes.answer(source).text
    assert "E4M3 (master and nearest; 2 of 4 runs) in the backward pass" in text and "Without a failure: E5M2." in text
    assert "E7M0 (nearest; 2 of 4 runs) in the optimizer" in text and "E7M0 (master; 2 of 4 runs) by divergence" in text


def test_the_answer_is_about_the_updates_compared(source_of: SourceOf) -> None:
    tuned = source_of("tuned")
    failures = tuned.tables["failures"]
    others = (failures["update"] == "permuted") & (failures["format"] == "E4M3") & failures["first"]
    marked = failures.assign(stage=failures["stage"].mask(others, "forward"))
    source = replace(tuned, tables=replaced(tuned.tables, failures=marked))
    text = failure_modes.answer(source).text
    assert "of adamw and manifold" in text and "forward" not in text
    found = {row["format"]: row["fails first in"] for row in rows(failure_modes.by_format_grid(source))}
    assert found["E4M3"] == "did not fail"
    assert "forward" in {row["fails first in"] for row in rows(failure_modes.first_grid(source))}


def test_stuck_cells_with_some_layers_in_the_format_are_named_with_them(source_of: SourceOf) -> None:
    tuned = source_of("tuned")
    cells = tuned.tables["cells"]
    some = (cells["format"] == "E4M3") & (cells["layers"] == "mlp") & (cells["update"] == "manifold")
    source = replace(tuned, tables=replaced(tuned.tables, cells=cells.assign(stuck=cells["stuck"].mask(some, 3))))
    text = failure_modes.answer(source).text
    assert "E4M3-manifold-nearest-mlp (3)" in text and "E4M3-manifold-nearest (" not in text


def test_uncast_tensors_are_named_and_cast_ones_have_columns(source_of: SourceOf, tmp_path: Path) -> None:
    plain = source_of("one seed")
    assert "This study does not cast inputs of layers and gradients of layers' outputs:" in marks(plain)
    rates = failure_modes.rates_grid(plain)
    assert not [name for name in rates.columns if name.startswith("grad output")]
    assert {row["edq"] for row in rows(rates)} == {"0.57", "0.67"}  # nearest, and masters
    study = make_study(formats=["E4M3"], seeds=[1], quantization={"input": "same", "grad_output": "same"})
    source = replace(source_of("empty"), tables=Pipeline(tmp_path)(study, lambda run: 2.0))
    assert "does not cast" not in marks(source)
    assert {row["grad output underflow"] for row in rows(failure_modes.rates_grid(source))} == {"30 %"}


def test_events_are_counted_by_format_and_listed(source_of: SourceOf, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of("all diverged")
    monkeypatch.setattr("altgrad.reporting.failure_events.EVENTS_LISTED", 5)
    events, one_by_one = section(source, "Events").blocks
    assert isinstance(events, Grid) and isinstance(one_by_one, Fold)
    found = [(row["format"], row["event"], row["events"], row["runs"], row["first step"]) for row in rows(events)]
    assert sorted(found) == [
        (name, "diverged", n, n, "20") for name, n in (("BF16", "3"), ("E4M3", "12"), ("E7M0", "12"))
    ]
    assert len(one_by_one.grid.rows) == 5
    assert one_by_one.summary == "One by one; 22 more stand in the table events"
    (none,) = section(source_of("one seed"), "Events").blocks
    assert isinstance(none, Grid) and not none.rows and none.empty == "No run logged an event."


def test_failures_at_any_rate_are_counted(source_of: SourceOf) -> None:
    found = rows(failure_modes.all_runs_grid(source_of("sweep")))
    counts = {(r["format"], r["storage"], r["update"]): (r["runs"], r["divergence"], r["did not fail"]) for r in found}
    assert counts["E7M0", "nearest", "adamw"] == ("9", "1", "8")
    assert counts["E4M3", "nearest", "adamw"] == ("9", "0", "9")
