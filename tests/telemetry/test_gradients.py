"""Gradients against their reference, and dead units, against NumPy and SciPy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

import altgrad as ag
from altgrad.telemetry.correlation import SMALLEST_BINADE, spearman
from altgrad.telemetry.gradients import GELU_DEAD


def pair(scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    draws = np.random.default_rng(2)
    reference = draws.standard_normal((30, 20))
    g = reference + 0.1 * draws.standard_normal((30, 20))
    return torch.from_numpy(g * scale), torch.from_numpy(reference * scale)


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_cosine_and_snr_are_numpys_at_any_scale(scale: float) -> None:
    g, ref = (x.numpy() for x in pair())
    cosine = float((g * ref).sum() / np.linalg.norm(g) / np.linalg.norm(ref))
    snr = 10 * math.log10((ref**2).sum() / ((g - ref) ** 2).sum())
    assert ag.telemetry.gradient_cosine(*pair(scale)) == pytest.approx(cosine, rel=1e-12)
    assert ag.telemetry.gradient_snr_db(*pair(scale)) == pytest.approx(snr, rel=1e-9)


def test_snr_of_values_whose_squares_float64_cannot_hold() -> None:
    def snr(g: list[float], ref: list[float]) -> float:
        return ag.telemetry.gradient_snr_db(*(torch.tensor(x, dtype=torch.float64) for x in (g, ref)))

    assert snr([1.0, 1e-200], [1.0, 0.0]) == pytest.approx(4000)
    assert snr([1e10], [1e-300]) == pytest.approx(-6200)
    assert snr([1.5e308], [-1.5e308]) == pytest.approx(-20 * math.log10(2))


def test_what_is_not_defined_is_nan() -> None:
    one, zero, nan, inf = (
        torch.ones(3),
        torch.zeros(3),
        torch.tensor([1.0, math.nan, 0]),
        torch.tensor([1.0, math.inf, 0]),
    )
    for g, ref in ((zero, one), (one, zero), (nan, one), (one, nan), (inf, one), (one, inf), (torch.ones(0),) * 2):
        assert math.isnan(ag.telemetry.gradient_cosine(g, ref))
    for g, ref in ((one, zero), (nan, one), (one, nan), (inf, one), (one, inf), (torch.ones(0),) * 2):
        assert math.isnan(ag.telemetry.gradient_snr_db(g, ref))
    assert ag.telemetry.gradient_snr_db(zero, one) == 0.0
    assert ag.telemetry.gradient_snr_db(one, one) == math.inf
    assert ag.telemetry.gradient_cosine(-one, one) == pytest.approx(-1.0)
    assert ag.telemetry.gradient_cosine(torch.tensor([1e-45]), torch.tensor([1e-45])) == 1.0


def test_a_unit_is_dead_if_it_is_small_everywhere() -> None:
    h = torch.zeros(4, 5, 6)
    h[..., 0] = 1.0
    h[2, 3, 1] = 2 * GELU_DEAD  # alive once
    h[..., 2] = GELU_DEAD / 2
    expected = np.mean(np.abs(h.numpy().reshape(-1, 6)).max(axis=0) <= GELU_DEAD)
    assert ag.telemetry.dead_fraction(h) == expected == 4 / 6
    assert ag.telemetry.dead_fraction(h, threshold=0.0) == 3 / 6
    for bad in (torch.ones(0, 3), torch.full((2, 2), math.nan), torch.full((2, 2), math.inf)):
        assert math.isnan(ag.telemetry.dead_fraction(bad))


def test_the_dead_threshold_is_beyond_minus_three() -> None:
    x = torch.linspace(-8, 0, 8001, dtype=torch.float64)
    smallest = x[torch.nn.functional.gelu(x).abs() > GELU_DEAD].min()
    assert -3.5 < smallest < -3.0


@pytest.mark.parametrize("fmt", ["E4M3", "E7M0", "E2M5"])
@pytest.mark.parametrize("scale", [None, 0.25])
def test_stiffness_correlation_is_scipys(fmt: str, scale: float | None) -> None:
    draws = np.random.default_rng(7)
    w = torch.from_numpy(draws.standard_normal(500).astype(np.float32))
    g = torch.from_numpy((draws.standard_normal(500) * np.abs(w.numpy())).astype(np.float32)).round(decimals=1)
    expected = scipy.stats.spearmanr(np.abs(g.numpy()), ag.ulp(w, fmt, scale).numpy()).statistic
    assert ag.telemetry.stiffness_correlation(g, w, fmt, scale) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [None, 0.25, "rows"])
def test_correlation_within_binades_is_scipys_in_each(scale: float | str | None) -> None:
    draws = np.random.default_rng(8)
    w = torch.from_numpy(draws.standard_normal((4, 100)).astype(np.float32))
    g = torch.from_numpy(draws.standard_normal((4, 100)).astype(np.float32)) * w
    g[:, ::3] = g[:, ::3].round(decimals=1)  # ties
    unit = torch.tensor([[0.3], [1.0], [0.7], [0.5]]) if scale == "rows" else scale
    spacing, total, elements = ag.ulp(w, "E5M2", unit).numpy(), 0.0, 0
    for value in np.unique(spacing):
        mine = spacing == value
        if mine.sum() >= SMALLEST_BINADE:
            found = scipy.stats.spearmanr(np.abs(g.numpy()[mine]), np.abs(w.numpy()[mine])).statistic
            total, elements = total + found * mine.sum(), elements + mine.sum()
    assert 0 < elements < 400
    assert ag.telemetry.magnitude_correlation(g, w, "E5M2", unit) == pytest.approx(total / elements, abs=1e-12)


def test_correlations_that_do_not_exist_are_nan() -> None:
    w, nan = torch.linspace(-1, 1, 50), torch.full((50,), math.nan)
    assert math.isnan(ag.telemetry.stiffness_correlation(w, w, "E0M7"))  # one spacing everywhere
    assert math.isnan(ag.telemetry.stiffness_correlation(torch.ones(50), w, "E4M3"))
    assert math.isnan(ag.telemetry.stiffness_correlation(nan, w, "E4M3"))
    assert math.isnan(ag.telemetry.stiffness_correlation(w[:1], w[:1], "E4M3"))
    assert math.isnan(ag.telemetry.stiffness_correlation(w[:0], w[:0], "E4M3"))
    assert math.isnan(ag.telemetry.magnitude_correlation(w[:5], w[:5], "E4M3"))
    assert math.isnan(ag.telemetry.magnitude_correlation(w, torch.ones(50), "E4M3"))
    for bad in (math.nan, math.inf):
        many, broken = torch.linspace(1, 2, 200), torch.linspace(1, 2, 200)
        broken[100] = bad
        for correlation in (ag.telemetry.stiffness_correlation, ag.telemetry.magnitude_correlation):
            assert math.isnan(correlation(many, broken, "E4M3")) and math.isnan(correlation(broken, many, "E4M3"))
    assert spearman(torch.tensor([1.0, 2.0, 2.0]), torch.tensor([3.0, 5.0, 5.0])) == pytest.approx(1.0)
