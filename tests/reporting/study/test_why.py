"""The sentence on why says what controls and storages leave of the benefit, and nothing where none was run."""

import re

import numpy as np
from scipy import stats

from altgrad.reporting.source import Source
from altgrad.reporting.study.answer import answer
from altgrad.reporting.study.why import why
from tests.figures.conftest import replaced
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


def test_controls_are_compared_seed_by_seed(tuned: Source) -> None:
    assert "Seed by seed, permuted gains less than manifold in E4M3 and E7M0 (95% intervals, not" in why(tuned)
    rows = tuned.tables["differences"]
    benefits = (rows["estimand"] == "benefit") & (rows["storage"] == "nearest") & (rows["layers"] == "all")
    mine = rows[benefits & (rows["update"] == "manifold")].set_index(["format", "seed"])["value"]
    control = benefits & (rows["update"] == "permuted")
    noise = np.random.default_rng(1).normal(0, 0.01, int(control.sum()))
    same = [mine[place] for place in zip(rows.loc[control, "format"], rows.loc[control, "seed"], strict=True)]
    moved = rows.copy()
    moved.loc[control, "value"] = same + noise
    gaps = moved[control].assign(gap=-noise).groupby("format")["gap"]
    assert (abs(gaps.mean()) < stats.t.ppf(0.975, 7) * gaps.sem()).all()  # the oracle: neither is told apart
    source = Source(replaced(tuned.tables, differences=moved), tuned.figures)
    assert "permuted is not told apart from manifold in E4M3 and E7M0 (95%" in why(source)
    more = rows.copy()
    more.loc[control, "value"] = [value + 1.0 for value in same] + noise
    assert "permuted gains more than manifold in E4M3 and E7M0" in why(
        Source(replaced(tuned.tables, differences=more), tuned.figures)
    )


def test_shares_are_over_the_seeds_that_both_have(tuned: Source) -> None:
    rows = tuned.tables["differences"]
    mine = (rows["estimand"] == "benefit") & (rows["update"] == "manifold") & (rows["layers"] == "all")
    few = rows[~(mine & (rows["storage"] == "stochastic") & (rows["seed"] > 4))]
    own = few[mine[few.index] & (few["format"] == "E7M0") & (few["seed"] <= 4)].groupby("storage")["value"].sum()
    text = why(Source(replaced(tuned.tables, differences=few), tuned.figures))
    assert shares(text, "stochastic rounding")["E7M0"] == round(100 * own["stochastic"] / own["nearest"])


def test_nothing_is_said_where_nothing_was_run_for_it(source_of: SourceOf) -> None:
    assert why(source_of("sweep")) == "" and "As to why" not in answer(source_of("sweep")).rest
