"""The answer follows from the verdicts, and says no more."""

import math
from pathlib import Path
from typing import Any

import pytest

from altgrad.reporting.source import Source
from altgrad.reporting.study.answer import answer
from altgrad.study.runs import RunConfig
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import make_study
from tests.figures.conftest import replaced
from tests.reporting.conftest import SourceOf

PRIMARY = {"estimand": "did", "update": "manifold", "layers": "all"}


def changed(source: Source, place: dict[str, str], **values: Any) -> Source:
    """Return the source with other values in the rows of the comparisons table that a place names."""
    rows = source.tables["comparisons"].copy()
    found = (rows[list(place)] == list(place.values())).all(axis=1)
    assert found.any()
    for name, value in values.items():
        rows.loc[found, name] = value
    return Source(replaced(source.tables, comparisons=rows), source.figures)


def row(source: Source, **place: str) -> Any:
    rows = source.tables["comparisons"]
    found = rows[(rows[list(place)] == list(place.values())).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


def test_the_format_that_benefits_most_is_named_with_its_numbers(tuned: Source) -> None:
    found, oracle = answer(tuned), row(tuned, **PRIMARY, format="E7M0")
    assert oracle["verdict"] == "gains more" and found.lead == (
        f"E7M0 benefits most from geometry-aware updates, beyond what masters gain: difference in differences"
        f" {oracle['mean']:+.4f} nats"
        f" (95% interval [{oracle['low']:+.4f}, {oracle['high']:+.4f}], Holm p {oracle['p_holm']:.4f}, 8 seeds,"
        f" best of 2 formats in 100 % of bootstrap samples)."
    )


def test_the_rest_has_masters_and_the_lowest_loss_as_questions_of_their_own(tuned: Source) -> None:
    text = answer(tuned).rest
    for storage in ("nearest", "master"):
        benefit = row(tuned, estimand="benefit", update="manifold", layers="all", storage=storage, format="E7M0")
        assert f"{benefit['mean']:+.4f} ({benefit['verdict']})" in text
    assert (
        "In the difference of the two, manifold gains more under nearest rounding than with masters in E4M3 and" in text
    )
    assert "With weights stored in the format by nearest rounding, benefits go from " in text
    assert "manifold helps E4M3 and E7M0." in text
    assert "With FP32 master weights, benefits go from " in text
    assert "no difference is shown in any of the 2 formats." in text
    gap = row(tuned, estimand="gap", update="manifold", layers="all", storage="nearest", format="E4M3")
    assert "The lowest loss of all is another question: with weights stored in the format by nearest" in text
    assert f"rounding it is E4M3 with manifold, {gap['mean']:+.4f} nats [{gap['low']:+.4f}," in text
    assert "edge" not in text and "diverged" not in text.lower()


def test_a_first_place_that_is_not_sure_is_not_called_sure(tuned: Source) -> None:
    best = tuned.tables["best"]
    best = best.assign(probability=best["probability"].where(best["estimand"] != "did", 0.5))
    lead = answer(Source(replaced(tuned.tables, best=best), tuned.figures)).lead
    assert lead.startswith(
        "E7M0 has the largest benefit from geometry-aware updates beyond what masters gain, but which format benefits"
    )
    assert "best of 2 formats in 50 % of bootstrap samples" in lead
    unknown = best.assign(probability=math.nan)
    lead = answer(Source(replaced(tuned.tables, best=unknown), tuned.figures)).lead
    assert "not settled" in lead and "bootstrap" not in lead


def test_the_largest_mean_is_no_answer_where_another_format_is_shown_to_benefit(tuned: Source) -> None:
    source = changed(tuned, {**PRIMARY, "format": "E7M0"}, verdict="no difference shown")
    lead = answer(source).lead
    assert lead.startswith(
        "E4M3 benefits more from geometry-aware updates than masters do; which format benefits most is not settled. The"
    )
    assert lead.endswith("is that of E7M0, whose interval holds 0.")


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("no difference shown", "whose interval holds 0."),
        ("gains more (not after Holm)", "whose interval excludes 0, but not after Holm's correction over the formats."),
        ("gains less", "and its interval lies below 0."),
    ],
)
def test_no_benefit_is_said_as_plainly(tuned: Source, verdict: str, words: str) -> None:
    found = answer(changed(tuned, PRIMARY, verdict=verdict))
    assert found.lead.startswith(
        "No format is shown to benefit more from geometry-aware updates than masters do. The largest difference in"
    )
    assert found.lead.endswith(words)
    precision = tuned.tables["precision"].set_index("format")["detectable"]
    least = precision.idxmax()
    assert f"A true difference of {precision[least]:.4f} nats would have been shown with a probability of 80%" in (
        found.rest
    )
    assert f"the least certain being {least}" in found.rest


def test_seeds_that_can_show_nothing_are_called_that(tuned: Source) -> None:
    source = changed(tuned, PRIMARY, verdict="no difference shown")
    precision = source.tables["precision"].assign(detectable=math.inf)
    text = answer(Source(replaced(source.tables, precision=precision), source.figures)).rest
    assert "No difference, however large, could have passed the correction over the formats with 8 seeds." in text


def test_a_rate_at_the_edge_and_diverged_runs_are_said_in_the_answer(tuned: Source) -> None:
    cells = tuned.tables["cells"]
    source = Source(replaced(tuned.tables, cells=cells.assign(lr_at_edge=cells["format"] == "E7M0")), tuned.figures)
    assert "A learning rate behind it stands at or near the edge of those tried." in answer(source).rest
    text = answer(changed(tuned, {**PRIMARY, "format": "E4M3"}, diverged=3)).rest
    assert "Diverged runs are among those compared in E4M3 (3): their ln(vocabulary size) weighs heavily" in text


def test_runs_that_never_learned_are_said_in_the_answer(tuned: Source) -> None:
    oracle = row(tuned, **PRIMARY, format="E7M0")
    assert oracle["stuck"] > 0 and row(tuned, **PRIMARY, format="E4M3")["stuck"] == 0
    ended = (
        f"{int(oracle['stuck'])} of {4 * oracle['n']} in E7M0 ended no better than a model that counts pairs of tokens."
    )
    assert ended in answer(tuned).rest
    assert "pairs of tokens" not in answer(changed(tuned, PRIMARY, stuck=math.nan)).rest


def test_too_few_seeds_or_steps_are_no_answer(tuned: Source, source_of: SourceOf) -> None:
    found = answer(source_of("one seed"))
    assert found.lead == "No answer: no comparison has the 3 paired seeds that a verdict asks for."
    assert "nothing in them is a finding" in found.rest
    some = answer(changed(tuned, {**PRIMARY, "format": "E4M3"}, verdict="not enough seeds"))
    assert some.lead.startswith("E7M0 benefits most") and "there are too few seeds in E4M3." in some.rest
    assert "bootstrap" not in some.lead  # of one format that is judged, nothing is the best


def test_without_its_arms_or_its_update_there_is_no_answer(tmp_path: Path, source_of: SourceOf) -> None:
    figures = source_of("empty").figures
    one = Source(Pipeline(tmp_path / "a")(make_study(storages=["nearest"]), lambda run: 2.0), figures)
    assert answer(one).text == (
        "No answer: no format has runs of manifold and adamw both under nearest rounding and with FP32 master weights."
    )
    other = make_study(updates=["adamw", "rung"], storages=["master"])
    assert "the update that was fixed beforehand (metric power 1/2) is not in this study" in (
        answer(Source(Pipeline(tmp_path / "b")(other, lambda run: 2.0), figures)).text
    )


def test_equal_runs_show_nothing(tmp_path: Path, source_of: SourceOf) -> None:
    def loss(run: RunConfig) -> float:
        return 2.0 + 0.01 * run.seed

    source = Source(Pipeline(tmp_path)(make_study(), loss), source_of("empty").figures)
    found = answer(source)
    assert found.lead.startswith("No format is shown to benefit") and "+0.0000 nats (95% interval" in found.lead
