import doctest
import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy import stats

from altgrad.analysis import sign_flip
from altgrad.analysis.sign_flip import DRAWS, MAX_EXACT, sign_flip_interval, sign_flip_p

DIFFERENCES = [0.031, -0.012, 0.044, 0.027, 0.009, 0.035]
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Crossed minus self-fertilised maize, in eighths of an inch (Fisher 1935, The Design of Experiments, chapter 3)."""


def exact_p(values: list[int], mu: Fraction) -> Fraction:
    """Return the p-value of `values - mu` in exact arithmetic, over every pattern of signs."""
    deviations = np.array([value * mu.denominator - mu.numerator for value in values])  # whole numbers
    sums = np.abs(np.array(list(product((1, -1), repeat=len(values)))) @ deviations)
    return Fraction(int(np.count_nonzero(sums >= abs(deviations.sum()))), len(sums))


@pytest.mark.parametrize("values", [DIFFERENCES, [1.0, 2.0, 3.0], [0.1, -0.1], [-3.0, 1.0, 0.0, -2.0]])
def test_p_agrees_with_scipy_and_with_counting(values: list[float]) -> None:
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


def test_fishers_published_count() -> None:
    # Section 21: of 2^15 patterns 835 exceed the observed total of 314 and 28 reach it; two-sided 1,726.
    assert sum(DARWIN) == 314
    assert sign_flip_p([float(d) for d in DARWIN]) == 1726 / 2**15  # 0.0527
    low, high = sign_flip_interval([float(d) for d in DARWIN], 0.95)
    assert low <= 0 < high
    assert sign_flip_interval([float(d) for d in DARWIN], 0.94)[0] > 0


def test_smallest_possible_p() -> None:
    assert sign_flip_p([1.0] * 8) == 2 / 2**8
    assert sign_flip_p([0.1, 0.2, 0.3]) == 0.25


def test_p_of_many_values_is_drawn_close_to_the_exact_value() -> None:
    many = np.random.default_rng(3).normal(0.25, 1.0, MAX_EXACT + 10)
    # The sum of independent signed values is close to normal: sd sqrt(sum x^2), two sides.
    normal = 2 * stats.norm.sf(abs(many.sum()) / math.sqrt(np.sum(many**2)))
    assert sign_flip_p(many) == pytest.approx(normal, abs=0.02)
    assert sign_flip_p(many) == sign_flip_p(many)
    # The observed pattern is counted among those drawn, which never are all of one sign: p is not 0.
    assert sign_flip_p([1.0] * (MAX_EXACT + 20)) == 1 / (DRAWS + 1)


@pytest.mark.parametrize("confidence", [0.75, 0.875, 0.9])  # 0.75 and 0.875 are p-values themselves: ties count
@pytest.mark.parametrize("values", [[3, 10, -4, 7, 20, 1], [2, 2, -1, 5, 5], [-9, -3, -30, -8, 4, -11, -2]])
def test_interval_holds_every_mu_that_is_not_rejected(values: list[int], confidence: float) -> None:
    alpha = Fraction(1 - confidence)
    low, high = sign_flip_interval([float(v) for v in values], confidence)
    grid = [Fraction(k, 40) for k in range(40 * min(values) - 40, 40 * max(values) + 41)]
    held = [mu for mu in grid if exact_p(values, mu) > alpha]
    assert held and all(low - 1e-12 <= mu <= high + 1e-12 for mu in held)
    assert all(exact_p(values, mu) <= alpha for mu in grid if not low - 1e-12 <= mu <= high + 1e-12)
    for end, outward in ((low, -1), (high, 1)):
        exact_end = Fraction(end).limit_denominator(1000)  # a mean of a subset of integers
        assert exact_p(values, exact_end) > alpha
        assert exact_p(values, exact_end + outward * Fraction(1, 10**9)) <= alpha


def test_interval_of_six_values_at_95_percent_is_their_range() -> None:
    # 1 / 32 of the patterns may be rejected: the outermost mean of a subset, which is a single value.
    assert sign_flip_interval(DIFFERENCES, 0.95) == pytest.approx((min(DIFFERENCES), max(DIFFERENCES)), rel=1e-12)


def test_interval_holds_zero_exactly_where_the_test_does_not_reject() -> None:
    generator = np.random.default_rng(5)
    outcomes = set()
    for _ in range(300):
        values = generator.integers(-3, 7, int(generator.integers(5, 11))) * 0.1  # many sums tie, none exactly
        for confidence in (0.875, 0.9, 0.95, 0.99):
            low, high = sign_flip_interval(values, confidence)
            assert (low <= 0 <= high) == (sign_flip_p(values) > 1 - confidence), values
            outcomes.add(low <= 0 <= high)
    assert outcomes == {True, False}


def test_interval_moves_and_turns_with_the_values() -> None:
    values = np.array(DARWIN[:10], dtype=np.float64)
    low, high = sign_flip_interval(values, 0.9)
    assert sign_flip_interval(values + 1000, 0.9) == pytest.approx((low + 1000, high + 1000), rel=1e-12)
    assert sign_flip_interval(-3 * values, 0.9) == pytest.approx((-3 * high, -3 * low), rel=1e-12)


def test_too_few_values_give_no_bound() -> None:
    unbounded = (-math.inf, math.inf)
    assert sign_flip_interval([1.0], 0.95) == unbounded
    assert sign_flip_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.95) == unbounded  # 2^-4 is above 0.05
    assert sign_flip_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.9375) == (1.0, 5.0)  # 2^-4 is not above 0.0625
    assert sign_flip_interval([5.0] * 4, 0.95) == unbounded


def test_values_without_spread() -> None:
    assert sign_flip_interval([0.0] * 3, 0.95) == (0.0, 0.0)  # by definition, however few
    assert sign_flip_interval([0.0] * 40, 0.95) == (0.0, 0.0)
    assert sign_flip_interval([0.1] * 7, 0.95) == pytest.approx((0.1, 0.1), rel=1e-12)


def test_drawn_interval_is_close_to_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(7).normal(0.4, 1.0, 14)
    exact = sign_flip_interval(values, 0.95)
    monkeypatch.setattr(sign_flip, "MAX_EXACT", 10)
    drawn = sign_flip_interval(values, 0.95)
    assert drawn == pytest.approx(exact, abs=0.02)  # the interval is 1.1 wide
    assert drawn == sign_flip_interval(values, 0.95)
    for shift in np.linspace(-1.2, 0.5, 8):  # the same draws for the test as for the interval
        low, high = sign_flip_interval(values + shift, 0.95)
        assert (low <= 0 <= high) == (sign_flip_p(values + shift) > 1 - 0.95)


def test_examples() -> None:
    assert doctest.testmod(sign_flip).failed == 0
