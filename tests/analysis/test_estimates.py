import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from altgrad.analysis.estimates import MAX_EXACT, estimate, holm, paired, sign_flip_p

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


@pytest.mark.parametrize("values", [DIFFERENCES, [1.0, 2.0, 3.0], [0.1, -0.1], [-3.0, 1.0, 0.0, -2.0]])
def test_sign_flip_agrees_with_scipy_and_with_counting(values: list[float]) -> None:
    oracle = stats.permutation_test(
        (np.array(values), np.zeros(len(values))),
        lambda x, y, axis: np.abs(np.sum(x - y, axis=axis)),
        vectorized=True,
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
    )
    observed = abs(sum(values))
    patterns = list(product((1, -1), repeat=len(values)))
    counted = sum(abs(math.fsum(s * v for s, v in zip(p, values, strict=True))) >= observed - 1e-12 for p in patterns)
    assert sign_flip_p(values) == pytest.approx(oracle.pvalue, rel=1e-12)
    assert sign_flip_p(values) == counted / len(patterns)


def test_smallest_possible_sign_flip_p() -> None:
    assert sign_flip_p([1.0] * 8) == 2 / 2**8
    assert sign_flip_p([0.1, 0.2, 0.3]) == 0.25


def test_sign_flip_of_many_values_is_drawn_close_to_the_exact_value() -> None:
    generator = np.random.default_rng(3)
    many = generator.normal(0.25, 1.0, MAX_EXACT + 10)
    # The sum of independent signed values is close to normal: sd sqrt(sum x^2), two sides.
    normal = 2 * stats.norm.sf(abs(many.sum()) / math.sqrt(np.sum(many**2)))
    assert sign_flip_p(many) == pytest.approx(normal, abs=0.02)
    assert sign_flip_p(many) == sign_flip_p(many)


def test_all_zero_differences_are_no_difference_by_definition() -> None:
    result = estimate([0.0] * 5, 0.95)
    assert (result.mean, result.low, result.high, result.p_t, result.p_sign_flip) == (0, 0, 0, 1, 1)


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
