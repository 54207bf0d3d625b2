"""Stochastic rounding: its probabilities exactly, its mean statistically, its bits against a plain-Python hash."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from altgrad.numerics.catalog import formats
from altgrad.numerics.geometry import ulp
from altgrad.numerics.kernel import numbers, round_stochastic
from altgrad.numerics.noise import draw_key, hash_indices, thresholds
from altgrad.numerics.rounding import quantize
from tests.numerics.inputs import hard_values
from tests.numerics.oracle import GRIDS, NAMES, SPECS, assert_same

CPU = torch.device("cpu")
EVERY_THRESHOLD = (2.0 * torch.arange(65536, dtype=torch.float64) + 1.0) * 2.0**-17


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _round(x: torch.Tensor, name: str, seed: int = 0, scale: float | None = None) -> torch.Tensor:
    return quantize(x, name, scale, "stochastic", generator=_generator(seed))


def mix(index: int, first: int, second: int) -> int:
    """The hash, in Python's integers."""
    mask = 2**32 - 1
    h = (index ^ first) & mask
    h = ((h ^ (h >> 16)) * 0x21F0AAAD) & mask
    h = ((((h ^ (h >> 15)) + second) & mask) * 0x735A2D97) & mask
    return h ^ (h >> 15)


def test_the_hash_is_the_plain_python_one() -> None:
    for seed in range(3):
        key = draw_key(_generator(seed), CPU)
        first, second = (word & (2**32 - 1) for word in key.tolist())
        expected = [mix(index, first, second) for index in range(3000)]
        assert [word & (2**32 - 1) for word in hash_indices(torch.Size((3000,)), key).tolist()] == expected
        lattice = [(2 * (word >> 16) + 1) * 2.0**-17 for word in expected]
        assert thresholds(torch.Size((30, 100)), key, torch.float32).flatten().tolist() == lattice


def test_thresholds_are_uniform_and_independent() -> None:
    size = torch.Size((1 << 18,))
    generator = _generator(5)
    draws = [thresholds(size, draw_key(generator, CPU), torch.float64) for _ in range(8)]
    for draw in draws:
        counts = torch.bincount((draw * 1024).long(), minlength=1024).double()
        chi2 = ((counts - 256.0) ** 2 / 256.0).sum().item()
        assert abs(chi2 - 1023) < 5 * (2 * 1023) ** 0.5  # five sigma
    # Neighboring elements, elements a power of two apart, and two keys: correlations within five sigma of none.
    centered = [draw - 0.5 for draw in draws]
    limit = 5 / len(draws[0]) ** 0.5
    for lag in (1, 2, 64, 1024, 65536):
        for draw in centered[:4]:
            assert abs((draw[lag:] * draw[:-lag]).mean().item() * 12) < limit * 1.2
    for a, b in itertools.pairwise(centered):
        assert abs((a * b).mean().item() * 12) < limit
        assert not torch.equal(a.sort().values, b.sort().values)


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_the_distance_to_two_to_the_minus_17(name: str) -> None:
    # Every threshold once: the share of those that round up is the probability, exactly.
    grid, spec = GRIDS[name], SPECS[name]
    generator = np.random.default_rng(7)
    c = numbers(formats[name], torch.float64)
    for code in sorted({0, 1, spec.rungs // 2, spec.rungs - 1}):
        low, high = grid.magnitudes[code], grid.magnitudes[code + 1]
        for share in (Fraction(1, 2), Fraction(1, 3 * 2**16), Fraction(float(generator.random()))):
            value = float(low + share * (high - low))
            exact = (Fraction(value) - low) / (high - low)
            y = torch.full((65536,), value, dtype=torch.float64)
            out = round_stochastic(y, y, EVERY_THRESHOLD.clone(), c)
            ups = int((out == float(high)).sum())
            assert ups + int((out == float(low)).sum()) == 65536
            assert abs(Fraction(ups, 65536) - exact) <= Fraction(1, 2**17)


@pytest.mark.parametrize("name", NAMES)
def test_a_value_on_the_grid_never_moves(name: str) -> None:
    grid = np.array([float(value) for value in GRIDS[name].magnitudes[:-1]], dtype=np.float32)
    values = torch.from_numpy(np.concatenate([grid, -grid])).repeat(300, 1)
    on_grid = quantize(values, name)
    for scale in (1.0, 2.0**-7, 2.0**-40):
        assert_same(_round(on_grid * scale, name, seed=1, scale=scale).numpy(), (on_grid * scale).numpy())
    # With every threshold there is, at both ends of the lattice.
    c = numbers(formats[name], torch.float32)
    extremes = EVERY_THRESHOLD[[0, 1, -2, -1]].float()
    for value in grid[:: 1 if len(grid) < 20 else 9]:
        y = torch.full((4,), float(value))
        assert (round_stochastic(y, y, extremes.clone(), c) == value).all()


@pytest.mark.parametrize("name", NAMES)
def test_only_the_two_neighbors_in_value_space(name: str) -> None:
    grid = GRIDS[name]
    signed = sorted({float(sign * value) for value in grid.magnitudes[:-1] for sign in (1, -1)})
    for dtype in (np.float32, np.float64):
        x = hard_values(name, dtype)
        x = x[np.abs(x) <= float(grid.max)]
        below = np.array(signed)[np.searchsorted(signed, x, side="right") - 1]
        above = np.array(signed)[np.searchsorted(signed, x, side="left")]
        for seed in range(4):
            out = _round(torch.from_numpy(x), name, seed).double().numpy()
            assert ((out == below) | (out == above)).all()


@pytest.mark.parametrize("name", ["E0M7", "E1M6", "E3M4", "E4M3", "E5M2", "E7M0", "E2M1", "binary8p3se"])
def test_the_mean_is_the_value(name: str) -> None:
    fmt = formats[name]
    generator = _generator(11)
    draws = 1 << 16
    for magnitude in (0.3 * fmt.smallest_subnormal, 0.9 * fmt.smallest_normal, 0.37 * fmt.max, 0.97 * fmt.max):
        for sign in (1.0, -1.0):
            x = torch.full((draws,), sign * magnitude, dtype=torch.float64)
            out = quantize(x, name, None, "stochastic", generator=generator)
            values = out.unique()
            gap = (values[-1] - values[0]).item()
            assert len(values) == 2
            # Bernoulli: at most half a gap of standard deviation; 2^-17 of the gap is the lattice's own error.
            share = abs(out.mean().item() - sign * magnitude) / gap
            assert share < 4.5 * 0.5 / draws**0.5 + 2.0**-17


def test_over_many_values_the_error_has_no_trend() -> None:
    x = torch.randn(1 << 20, generator=_generator(12)) * 3
    out = _round(x, "E3M4", 13)
    error = (out - x) / ulp(x, "E3M4")
    sigma = error.std().item() / len(x) ** 0.5
    assert abs(error.mean().item()) < 4 * sigma
    assert error.abs().max().item() < 1.0


def test_the_same_generator_gives_the_same_bits_whatever_the_layout_or_dtype() -> None:
    x = torch.randn(64, 48, generator=_generator(3)).bfloat16()
    out = _round(x, "E2M5", 4)
    assert torch.equal(out, _round(x, "E2M5", 4))
    assert not torch.equal(out, _round(x, "E2M5", 5))
    assert torch.equal(out.flatten(), _round(x.flatten(), "E2M5", 4))
    assert torch.equal(out.view(4, 16, 48), _round(x.view(4, 16, 48), "E2M5", 4))
    # The same values in column-major memory.
    assert torch.equal(out, _round(x.t().contiguous().t(), "E2M5", 4))
    assert torch.equal(out[:5], _round(x[:5], "E2M5", 4))
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(out.to(dtype), _round(x.to(dtype), "E2M5", 4))


def test_a_call_draws_one_key_whatever_its_size() -> None:
    states = []
    for size in (1, 1000):
        generator = _generator(6)
        quantize(torch.ones(size), "E4M3", None, "stochastic", generator=generator)
        states.append(generator.get_state())
    assert torch.equal(*states)
    generator = _generator(6)
    x = torch.rand(1000, generator=_generator(1))
    first = quantize(x, "E4M3", None, "stochastic", generator=generator)
    second = quantize(x, "E4M3", None, "stochastic", generator=generator)
    assert not torch.equal(first, second)


def test_it_is_odd_for_the_same_bits() -> None:
    x = torch.randn(10000, generator=_generator(8))
    for name in ("E0M7", "E4M3", "E7M0"):
        assert torch.equal(_round(-x, name, 9), -_round(x, name, 9))


def test_specials() -> None:
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e9, -0.0])
    for name in NAMES:
        out = _round(x, name)
        top = float(GRIDS[name].max)
        assert out[0].isnan() and out[1:4].tolist() == [top, -top, min(top, out[3].item())]
        assert out[4] == 0 and bool(out[4].signbit()) == SPECS[name].negative_zero


def test_overflow_is_drawn_between_max_and_the_next_step() -> None:
    x = torch.full((40000,), 456.0)  # a quarter of the way from 448 to where 480 would be
    out = quantize(x, "E4M3", None, "stochastic", saturate=False, generator=_generator(2))
    assert out.isnan().double().mean().item() == pytest.approx(0.25, abs=4.5 * 0.433 / 200)
    assert (out[~out.isnan()] == 448).all()
    infinite = quantize(x * 1e6, "E5M2", None, "stochastic", saturate=False, generator=_generator(2))
    assert infinite.isposinf().all()
