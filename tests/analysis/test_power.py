import doctest
import math

import numpy as np
import pytest
from scipy import stats

from altgrad.analysis import power as module
from altgrad.analysis.power import detectable_effect, seeds_needed


@pytest.mark.parametrize(
    ("dz", "power", "published"),
    [
        (0.2, 0.80, 199),  # G*Power 3, paired t test, two-sided, alpha 0.05
        (0.5, 0.80, 34),
        (0.8, 0.80, 15),
        (0.25, 0.75, 113),  # pwr.t.test(type = "paired"): 112.9798
        (0.5, 0.75, 30),  # pwr.t.test(type = "paired"): 29.7355
    ],
)
def test_published_sample_sizes(dz: float, power: float, published: int) -> None:
    assert seeds_needed(1.0, dz, 1, 0.95, power) == published
    assert seeds_needed(0.03, 0.03 * dz, 1, 0.95, power) == published  # only the ratio counts


@pytest.mark.parametrize("n", [9, 12, 40])
def test_detectable_effect_has_the_power_by_scipys_noncentral_t(n: int) -> None:
    for families, power in ((1, 0.8), (7, 0.8), (7, 0.95)):
        effect = detectable_effect(0.02, n, families, 0.95, power)
        critical = stats.t.isf(0.05 / families / 2, n - 1)
        shift = effect / 0.02 * math.sqrt(n)
        oracle = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
        assert oracle == pytest.approx(power, abs=1e-9)


def test_detectable_effect_has_the_power_in_simulation() -> None:
    simulations, n, families = 20_000, 12, 7
    effect = detectable_effect(0.03, n, families, 0.95)
    samples = np.random.default_rng(1).normal(effect, 0.03, (simulations, n))
    found = np.mean(stats.ttest_1samp(samples, 0.0, axis=1).pvalue <= 0.05 / families)
    assert found == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / simulations))


@pytest.mark.parametrize("effect", [0.004, 0.01, 0.02])
def test_seeds_needed_is_the_smallest_count(effect: float) -> None:
    n = seeds_needed(0.02, effect, 7, 0.95)
    assert detectable_effect(0.02, n, 7, 0.95) <= effect
    assert n == 10 or detectable_effect(0.02, n - 1, 7, 0.95) > effect


@pytest.mark.parametrize(("families", "fewest"), [(1, 6), (2, 7), (7, 9), (8, 9), (16, 10)])
def test_never_fewer_than_the_sign_flip_test_needs_to_pass_holm(families: int, fewest: int) -> None:
    # At 0.05 over 8 formats: 8 * 2^-7 = 0.0625 is too much, 8 * 2^-8 = 0.03125 is not.
    assert families * 2.0 ** (1 - fewest) <= 0.05 < families * 2.0 ** (2 - fewest)
    assert seeds_needed(0.001, 1.0, families, 0.95, least=2) == fewest
    assert math.isinf(detectable_effect(0.001, fewest - 1, families, 0.95))
    assert detectable_effect(0.001, fewest, families, 0.95) < 0.01


def test_never_fewer_than_the_least() -> None:
    assert seeds_needed(0.001, 1.0, 8, 0.95) == 10
    assert seeds_needed(0.001, 1.0, 8, 0.95, least=14) == 14


def test_no_spread_needs_no_power() -> None:
    assert seeds_needed(0.0, 1e-9, 8, 0.95) == 10
    assert detectable_effect(0.0, 12, 8, 0.95) == 0


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0
