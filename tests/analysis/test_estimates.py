import doctest
import math

import numpy as np
import pytest
from scipy import stats

from altgrad.analysis import estimates
from altgrad.analysis.estimates import estimate, holm, paired
from altgrad.analysis.sign_flip import sign_flip_interval, sign_flip_p

DIFFERENCES = [0.031, -0.012, 0.044, 0.027, 0.009, 0.035]


def test_estimate_agrees_with_scipy() -> None:
    a = np.array([1.0, 1.2, 0.9, 1.4, 1.1, 1.3])
    b = a - np.array(DIFFERENCES)
    result = estimate(a - b, 0.95)
    oracle = stats.ttest_rel(a, b)
    interval = oracle.confidence_interval(0.95)
    assert result.p_t == pytest.approx(oracle.pvalue, rel=1e-9)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert result.sd == pytest.approx(np.std(DIFFERENCES, ddof=1), rel=1e-9)


def test_interval_by_hand() -> None:
    # n = 3, mean 2, sd 1, t(0.975, 2) = 4.302653: 2 +- 4.302653 / sqrt(3)
    result = estimate([1.0, 2.0, 3.0], 0.95)
    assert result.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert result.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)
    assert not result.excludes_zero


def test_estimate_has_the_sign_flip_test_and_its_interval() -> None:
    result = estimate(DIFFERENCES, 0.95)
    assert result.p_sign_flip == sign_flip_p(DIFFERENCES) == 6 / 64  # those that flip -0.012, alone or with 0.009
    assert (result.flip_low, result.flip_high) == sign_flip_interval(DIFFERENCES, 0.95)
    assert (result.flip_low, result.flip_high) == pytest.approx((-0.012, 0.044))
    # 3 / 32 is not above 0.1: the third mean of a subset, after -0.012 and (-0.012 + 0.009) / 2.
    assert estimate(DIFFERENCES, 0.9).flip_low == pytest.approx((-0.012 + 0.027) / 2)
    few = estimate([1.0, 2.0, 3.0], 0.95)
    assert (few.flip_low, few.flip_high) == (-math.inf, math.inf)


def test_all_zero_differences_are_no_difference_by_definition() -> None:
    result = estimate([0.0] * 5, 0.95)
    assert (result.mean, result.low, result.high, result.p_t, result.p_sign_flip) == (0, 0, 0, 1, 1)
    assert (result.flip_low, result.flip_high) == (0, 0)


def test_equal_nonzero_differences_have_no_spread() -> None:
    # The mean of 0.1s is not 0.1 in floating point; the spread must still be exactly 0.
    result = estimate([0.1] * 7, 0.95)
    assert (result.mean, result.sd, result.low, result.high, result.p_t) == (0.1, 0.0, 0.1, 0.1, 0.0)
    assert result.excludes_zero


@pytest.mark.parametrize("values", [[], [0.3]])
def test_fewer_than_two_values_give_no_interval(values: list[float]) -> None:
    result = estimate(values, 0.95)
    assert result.n == len(values)
    assert all(math.isnan(x) for x in (result.sd, result.low, result.high, result.p_t, result.p_sign_flip))
    assert math.isnan(result.flip_low) and math.isnan(result.flip_high)
    assert not result.excludes_zero


def test_holm_by_hand() -> None:
    # Sorted 0.01 x 3, 0.02 x 2 = 0.04, 0.30 x 1; NaN is no member.
    assert holm([0.30, 0.01, math.nan, 0.02])[:2] == [0.30, 0.03]
    assert math.isnan(holm([0.30, 0.01, math.nan, 0.02])[2])
    assert holm([0.30, 0.01, math.nan, 0.02])[3] == 0.04
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_paired_takes_seeds_that_both_have() -> None:
    assert paired({3: 2.0, 1: 1.5, 9: 7.0}, {1: 1.0, 3: 0.5, 4: 0.0}) == {1: 0.5, 3: 1.5}


def test_examples() -> None:
    assert doctest.testmod(estimates).failed == 0
