import doctest
import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from altgrad.analysis import mediation
from altgrad.analysis.mediation import partial_rank_correlation, rank_correlation
from tests.analysis.simulate import partial_rejections

X = [0.3, 1.2, 0.7, 2.2, 0.7, 3.1, 0.1]  # one tie
Y = [2.0, 2.4, 2.1, 2.3, 2.6, 3.0, 2.1]  # another
Z = [5.0, 1.0, 4.0, 2.5, 3.0, 7.0, 6.0]


def spearman(x: object, y: object) -> float:
    return float(stats.spearmanr(x, y).statistic)


def test_agrees_with_scipy_exactly() -> None:
    oracle = stats.permutation_test(
        (X,),
        lambda x: abs(spearman(x, Y)),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=math.factorial(7),
    )
    found = rank_correlation(X, Y)
    assert (found.n, found.rho) == (7, pytest.approx(spearman(X, Y), rel=1e-12))
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-12)


@pytest.mark.parametrize(
    ("order", "rho", "p"),
    [  # Kendall and Stuart's table of the exact distribution of Spearman's rho, two-sided
        ([1, 2, 3, 4], 1.0, 2 / 24),
        ([5, 4, 3, 2, 1], -1.0, 2 / 120),
        ([1, 2, 3, 5, 4], 0.9, 10 / 120),
        ([1, 2, 3, 5, 4, 6], 1 - 6 * 2 / 210, 12 / 720),
    ],
)
def test_exact_distribution(order: list[float], rho: float, p: float) -> None:
    found = rank_correlation(list(range(len(order))), order)
    assert (found.rho, found.p) == (pytest.approx(rho), pytest.approx(p))


def test_drawn_p_is_close_to_scipys() -> None:
    generator = np.random.default_rng(2)
    x = generator.normal(size=40)
    y = 0.35 * x + generator.normal(size=40)
    oracle = stats.spearmanr(x, y)  # p from the t distribution, good at n = 40
    found = rank_correlation(x, y)
    assert 0.005 < oracle.pvalue < 0.5
    assert found.rho == pytest.approx(oracle.statistic, rel=1e-12)
    assert found.p == pytest.approx(oracle.pvalue, abs=4 * math.sqrt(0.25 / 20_000))
    assert found == rank_correlation(x, y)
    assert found.p != rank_correlation(x, y, seed=1).p


def test_drawn_p_is_never_zero() -> None:
    assert rank_correlation(range(20), range(20), draws=1500).p == 1 / 1501


def test_partial_agrees_with_the_closed_form() -> None:
    xy, xz, yz = spearman(X, Y), spearman(X, Z), spearman(Y, Z)
    closed = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_rank_correlation(X, Y, Z).rho == pytest.approx(closed, rel=1e-12)
    assert partial_rank_correlation(Y, X, Z).rho == pytest.approx(closed, rel=1e-12)


def test_partial_p_agrees_with_regression_over_every_permutation() -> None:
    x, y, z = (stats.rankdata(values[:6]) for values in (X, Y, Z))
    design = np.stack([np.ones(6), z], axis=1)

    def left(values: np.ndarray) -> np.ndarray:
        return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]

    fitted = y - left(y)
    observed = np.corrcoef(left(x), left(y))[0, 1]
    others = [np.corrcoef(left(x), left(fitted + left(y)[list(order)]))[0, 1] for order in permutations(range(6))]
    found = partial_rank_correlation(X[:6], Y[:6], Z[:6])
    assert found.rho == pytest.approx(observed, rel=1e-9)
    assert found.p == np.mean(np.abs(others) >= abs(observed) - 1e-9)


def test_the_quantity_in_between_is_told_from_the_one_behind_it() -> None:
    # behind -> between -> outcome: given what lies between, what lies behind predicts nothing more.
    generator = np.random.default_rng(4)
    behind = generator.normal(size=60)
    between = behind + 0.7 * generator.normal(size=60)
    outcome = between + 0.7 * generator.normal(size=60)
    assert rank_correlation(behind, outcome).p < 0.01
    assert partial_rank_correlation(behind, outcome, between).p > 0.05
    assert partial_rank_correlation(between, outcome, behind).p < 0.01


@pytest.mark.parametrize(("strength", "low", "high"), [(0.0, 0.01, 0.09), (1.0, 0.02, 0.11)])
def test_partial_test_nearly_keeps_its_level_in_simulation(strength: float, low: float, high: float) -> None:
    # 4 standard errors of 500 simulations are 0.04, about 0.05 and about 0.065, which is what docs/statistics.md gives.
    # Without z the second are rejected in four cases of ten.
    assert low < partial_rejections(14, strength, 500) < high


@pytest.mark.parametrize(
    ("x", "y"), [([], []), ([1.0, 2.0], [2.0, 1.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), (X, [0.1] * 7)]
)
def test_undefined_is_nan(x: list[float], y: list[float]) -> None:
    found = rank_correlation(x, y)
    assert found.n == len(x) and math.isnan(found.rho) and math.isnan(found.p)


def test_rounding_leads_no_correlation_beyond_one() -> None:
    for n in range(3, 40):
        found = rank_correlation(range(n), range(n), draws=1)
        assert found.rho == pytest.approx(1.0) and found.rho <= 1


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(AssertionError):
        rank_correlation([1.0, math.nan, 3.0], [1.0, 2.0, 3.0])
    with pytest.raises(AssertionError):
        partial_rank_correlation(X, Y, [math.inf, *Z[1:]])


def test_partial_undefined_is_nan() -> None:
    for x, y, z in (
        (X, Y, X),
        (X, Y, Y),
        (X, Y, [2.0] * 7),
        ([0.1] * 7, Y, Z),
        ([1, 2, 3], [1, 3, 2], [2, 1, 3]),
        ([], [], []),
    ):
        found = partial_rank_correlation(x, y, z)
        assert found.n == len(x) and math.isnan(found.rho) and math.isnan(found.p)


def test_examples() -> None:
    assert doctest.testmod(mediation).failed == 0
