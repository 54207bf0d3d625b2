"""What intervals cover and how often a study without effects gives a verdict: simulated, with deterministic seeds."""

import math
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tests.analysis.simulate import (
    CONFIDENCE,
    COUNTS,
    DISTRIBUTIONS,
    FORMATS,
    LRS,
    TABLES,
    coverage,
    did_verdicts,
    false_verdicts,
    flip_power,
    standard_error,
    study_runs_frame,
    study_tables,
)
from tests.analysis.simulate_tuning import CASES, CHOICES, CLIFFS, beside_cliff, curve, null

DOCUMENT = Path(__file__).parents[2] / "docs" / "statistics.md"
SIMULATIONS = 1000
STUDIES = 60


def documented(header: str) -> dict[tuple[str, ...], list[float]]:
    """Return the shares of a table of the document by the cells that stand before them."""
    after = DOCUMENT.read_text(encoding="utf-8").split(f"| {header} |\n", 1)[1]
    rows = [line.strip("| ").split(" | ") for line in after.split("\n\n", 1)[0].splitlines()[1:]]
    found = {}
    for row in rows:
        shares = [float(cell.split(" ± ")[0]) for cell in row if "±" in cell]
        found[tuple(row[: len(row) - len(shares)])] = shares
    return found


def agrees(measured: float, simulations: int, expected: float, expected_simulations: float = math.inf) -> bool:
    """Whether a share is within four Monte Carlo standard errors of an expected one."""
    share = min(max(expected, 0.01), 0.99)
    error = math.hypot(standard_error(share, simulations), standard_error(share, expected_simulations))
    return abs(measured - expected) <= 4 * error


@pytest.mark.parametrize(("distribution", "n"), list(product(DISTRIBUTIONS, COUNTS)))
def test_coverage(distribution: str, n: int) -> None:
    """Four Monte Carlo standard errors are 0.028 at 0.95."""
    t, flip = coverage(distribution, n, SIMULATIONS, seed=1)
    shares = documented(TABLES[0][0])[distribution, str(n)]
    assert agrees(t, SIMULATIONS, shares[0], TABLES[0][2])
    assert agrees(flip, SIMULATIONS, shares[1], TABLES[0][2])
    # Of 2^(n-1) equally likely patterns, those that may be rejected are rejected, where differences are symmetric.
    patterns = 2 ** (n - 1)
    exact = 1 - math.floor((1 - CONFIDENCE) * patterns) / patterns
    assert exact >= CONFIDENCE
    if not distribution.startswith(("lognormal", "mixture")):
        assert agrees(flip, SIMULATIONS, exact)
        assert t >= CONFIDENCE - 4 * standard_error(CONFIDENCE, SIMULATIONS)
    if distribution == "normal":
        assert agrees(t, SIMULATIONS, CONFIDENCE)


def test_a_study_without_effects_seldom_gives_a_verdict() -> None:
    """Holm keeps the family's rate at 0.05 (standard error 0.028); uncorrected it would be 0.3."""
    after, before = false_verdicts(STUDIES, LRS[:1], seed=1)
    assert after <= 0.05 + 3 * standard_error(0.05, STUDIES)
    # The verdicts are there to be false: a t interval that does not hold 0, before Holm, in one format of twenty.
    assert agrees(before, STUDIES * len(FORMATS), 0.05)


def test_documented_rates_keep_to_the_level() -> None:
    header, _, simulations = TABLES[-1]
    rows = documented(header)
    assert len(rows) == 4
    for after, before in rows.values():
        assert after <= 0.05 + 3 * standard_error(0.05, simulations)
        assert before <= 0.05 + 3 * standard_error(0.05, simulations)  # of one study's formats, which depend
        assert after < 7 * before


def test_an_effect_that_is_there_gives_a_verdict() -> None:
    generator = np.random.default_rng(1)
    for benefit, word in ((0.3, "gains more"), (-0.3, "gains less")):
        assert did_verdicts(study_runs_frame(generator, 9, LRS[:2], benefit), study_tables(9)) == [word] * len(FORMATS)


def test_eight_seeds_cannot_pass_holm() -> None:
    # 7 * 2^-7 is above 0.05, 7 * 2^-8 is not: see the nine seeds above.
    runs = study_runs_frame(np.random.default_rng(1), 8, LRS[:1], 0.3)
    assert did_verdicts(runs, study_tables(8)) == ["gains more (not after Holm)"] * len(FORMATS)


@pytest.mark.parametrize("n", [9, 16])
def test_power_of_the_verdicts_test_at_the_planned_effect(n: int) -> None:
    header, _, simulations = TABLES[2]
    for more, share in enumerate(documented(header)[(str(n),)]):
        assert agrees(flip_power(n, more, SIMULATIONS, seed=1), SIMULATIONS, share, simulations)


def test_document_names_what_exists() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    root = DOCUMENT.parents[1]
    named = re.findall(r"`((?:altgrad|tests)/[\w/]+\.py)`", text)
    assert len(set(named)) > 10 and not [path for path in named if not (root / path).is_file()]
    assert "python -m tests.analysis.simulate" in text
    for function, path in re.findall(r"^\| `(\w+)` \| .* \| `(altgrad/[\w/]+\.py)` \|", text, re.MULTILINE):
        assert f"def {function}(" in (root / path).read_text(encoding="utf-8"), function


@pytest.mark.parametrize("case", ["flat, inside the start", "flat, above the start", "lopsided, inside the start"])
def test_the_parabola_keeps_false_verdicts_near_their_level_and_the_lowest_mean_does_not(case: str) -> None:
    simulations = 400
    loss = curve(*CASES[case])
    before, after, regret = null(loss, CHOICES["parabola"], simulations, seed=1)
    bound = 0.08 + 3 * standard_error(0.08, simulations)
    assert before <= bound and after <= 0.016 + 3 * standard_error(0.016, simulations)
    worse, _, more_regret = null(loss, CHOICES["lowest mean"], simulations, seed=1)
    assert worse > before and more_regret > regret


@pytest.mark.parametrize("case", CLIFFS)
def test_the_parabola_keeps_away_from_cliffs_and_the_lowest_mean_does_not(case: str) -> None:
    regret, fallen = beside_cliff(CLIFFS[case], CHOICES["parabola"], 400, seed=1)
    worse, more = beside_cliff(CLIFFS[case], CHOICES["lowest mean"], 400, seed=1)
    assert regret < 0.01 and regret < worse / 2 and fallen < more
