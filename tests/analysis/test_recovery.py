import doctest

import numpy as np
import pytest
from scipy import stats

from altgrad.analysis import recovery
from altgrad.analysis.recovery import share_recovered
from tests.analysis.simulate import recovery_coverage, standard_error

BENEFIT = {1: 0.020, 2: 0.031, 3: 0.008, 4: 0.025, 5: 0.016, 6: 0.022}
GAP = {1: 0.050, 2: 0.066, 3: 0.041, 4: 0.047, 5: 0.058, 6: 0.049}


def values(by_seed: dict[int, float]) -> np.ndarray:
    return np.array(list(by_seed.values()))


def test_agrees_with_fiellers_closed_form() -> None:
    # As it stands in the textbooks: the roots of (g^2 - t^2 v_gg) r^2 - 2 (b g - t^2 v_bg) r + b^2 - t^2 v_bb.
    b, g = values(BENEFIT).mean(), values(GAP).mean()
    (v_bb, v_bg), (_, v_gg) = np.cov(values(BENEFIT), values(GAP)) / 6
    t2 = stats.t.ppf(0.975, 5) ** 2
    roots = np.sort(np.roots([g**2 - t2 * v_gg, -2 * (b * g - t2 * v_bg), b**2 - t2 * v_bb]))
    found = share_recovered(BENEFIT, GAP, 0.95)
    assert found is not None
    assert (found.n, found.share) == (6, pytest.approx(b / g))
    assert (found.low, found.high) == pytest.approx(tuple(roots), rel=1e-9)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_ends_are_the_shares_that_the_t_test_just_rejects(confidence: float) -> None:
    found = share_recovered(BENEFIT, GAP, confidence)
    assert found is not None
    for end in (found.low, found.high):
        left = values(BENEFIT) - end * values(GAP)
        assert stats.ttest_1samp(left, 0.0).pvalue == pytest.approx(1 - confidence, rel=1e-9)


def test_a_constant_gap_scales_the_t_interval() -> None:
    found = share_recovered(BENEFIT, dict.fromkeys(BENEFIT, 0.1), 0.95)
    interval = stats.ttest_1samp(values(BENEFIT), 0.0).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((interval.low / 0.1, interval.high / 0.1), rel=1e-9)


def test_a_benefit_in_proportion_to_the_gap_leaves_no_doubt() -> None:
    found = share_recovered({seed: gap / 3 for seed, gap in GAP.items()}, GAP, 0.95)
    assert found is not None
    assert (found.share, found.low, found.high) == pytest.approx((1 / 3,) * 3, rel=1e-12)


def test_pairs_are_the_seeds_of_both() -> None:
    found = share_recovered({**BENEFIT, 7: 9.0}, dict(reversed({**GAP, 8: -9.0}.items())), 0.95)
    assert found == share_recovered(BENEFIT, GAP, 0.95)


@pytest.mark.parametrize(
    "gap",
    [
        {1: 0.1, 2: -0.1, 3: 0.2, 4: 0.0, 5: 0.1, 6: -0.2},  # its interval holds 0
        {seed: -gap for seed, gap in GAP.items()},  # better than the baseline
        dict.fromkeys(GAP, 0.0),
        {1: 0.05},
        {},
    ],
)
def test_no_share_without_a_gap(gap: dict[int, float]) -> None:
    assert share_recovered(BENEFIT, gap, 0.95) is None


def test_it_is_given_exactly_where_the_gaps_own_interval_lies_above_zero() -> None:
    given = set()
    for shift in np.linspace(-0.05, -0.03, 9):
        gap = {seed: value + shift for seed, value in GAP.items()}
        above = stats.ttest_1samp(values(gap), 0.0).confidence_interval(0.95).low > 0
        assert (share_recovered(BENEFIT, gap, 0.95) is not None) == above
        given.add(bool(above))
    assert given == {True, False}


def test_covers_the_true_share_in_simulation() -> None:
    simulations = 2000
    held, given = recovery_coverage(10, simulations, seed=1)
    assert given > 0.99
    assert held == pytest.approx(0.95, abs=4 * standard_error(0.95, simulations))  # 0.0195


def test_examples() -> None:
    assert doctest.testmod(recovery).failed == 0
