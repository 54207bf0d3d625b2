"""The sentence on why says what controls and storages leave of the benefit, and nothing where none was run."""

import re

from altgrad.reporting.source import Source
from altgrad.reporting.study.answer import answer
from altgrad.reporting.study.why import why
from tests.reporting.conftest import SourceOf
from tests.reporting.study.test_answer import changed, row
from tests.reporting.tuned import LEFT, PART

NEAREST = {"estimand": "benefit", "layers": "all", "storage": "nearest", "update": "manifold"}


def shares(text: str, who: str) -> dict[str, int]:
    """Return the shares that the sentence gives, by format."""
    (part,) = (part for part in text.split(";") if who in part)
    return {name: int(share) for name, share in re.findall(r"(E\dM\d) (-?\d+) %", part)}


def test_shares_are_those_of_the_tables_and_near_the_truth(tuned: Source) -> None:
    text = why(tuned)
    assert text in answer(tuned).rest
    whole, part = (row(tuned, **{**NEAREST, "storage": s}, format="E7M0")["mean"] for s in ("nearest", "stochastic"))
    stochastic = shares(text, "stochastic rounding")
    assert stochastic["E7M0"] == round(100 * part / whole)
    assert abs(stochastic["E7M0"] - 100 * LEFT["stochastic"]) < 5
    permuted = shares(text, "another weight's spacing")
    assert set(permuted) == {"E4M3", "E7M0"} and abs(permuted["E7M0"] - 100 * PART["permuted"]) < 5
    assert "fed back" not in text and "steep" not in text


def test_formats_that_are_not_shown_to_be_helped_have_no_share(tuned: Source) -> None:
    source = changed(tuned, {**NEAREST, "format": "E4M3"}, verdict="no difference shown")
    assert set(shares(why(source), "stochastic rounding")) == {"E7M0"}


def test_nothing_is_said_where_nothing_was_run_for_it(source_of: SourceOf) -> None:
    assert why(source_of("sweep")) == "" and "As to why" not in answer(source_of("sweep")).rest
