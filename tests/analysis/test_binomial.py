import doctest

import numpy as np
import pytest
from scipy import stats

from altgrad.analysis import binomial
from altgrad.analysis.binomial import binomial_interval


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("runs", [1, 6, 12, 40])
def test_agrees_with_scipy(runs: int, confidence: float) -> None:
    for diverged in range(runs + 1):
        oracle = stats.binomtest(diverged, runs).proportion_ci(confidence, method="exact")
        assert binomial_interval(diverged, runs, confidence) == pytest.approx((oracle.low, oracle.high), abs=1e-9)


def test_ends_by_hand() -> None:
    # None of 12: the largest share q with (1 - q)^12 = 0.025. No runs: nothing is known.
    assert binomial_interval(0, 12, 0.95) == pytest.approx((0.0, 1 - 0.025 ** (1 / 12)))
    assert binomial_interval(12, 12, 0.95) == pytest.approx((0.025 ** (1 / 12), 1.0))
    assert binomial_interval(0, 0, 0.95) == (0.0, 1.0)


def test_covers_every_truth_by_exact_enumeration() -> None:
    runs = 12
    intervals = [binomial_interval(k, runs, 0.95) for k in range(runs + 1)]
    for truth in np.linspace(0.01, 0.99, 99):
        held = [k for k, (low, high) in enumerate(intervals) if low <= truth <= high]
        assert stats.binom.pmf(held, runs, truth).sum() >= 0.95


def test_more_diverged_than_runs_is_refused() -> None:
    with pytest.raises(AssertionError):
        binomial_interval(3, 2, 0.95)


def test_examples() -> None:
    assert doctest.testmod(binomial).failed == 0
