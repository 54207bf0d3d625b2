"""Every layout of 2 to 8 bits at the extreme biases: the same exactness as the catalog's formats."""

import numpy as np
import pytest
import torch

from altgrad.errors import FormatError
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.rounding import quantize
from tests.numerics.inputs import hard_values_of
from tests.numerics.oracle import Grid, assert_same
from tests.numerics.user_formats import LAYOUTS, allowed_biases, spec_of, specials

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler


@pytest.mark.parametrize(("e", "m"), LAYOUTS)
def test_the_extreme_biases_are_what_float32_allows(e: int, m: int) -> None:
    for has_inf, nans, negative_zero in specials(e, m):
        low, high = allowed_biases(e, m, has_inf, nans)
        for bias, exists in ((low - 1, False), (low, True), (high, True), (high + 1, False)):
            if exists:
                FloatFormat("Mine", e, m, bias, has_inf, nans, negative_zero)
                continue
            with pytest.raises(FormatError, match=rf"Choose a bias from {low} to {high}, and use a scale"):
                FloatFormat("Mine", e, m, bias, has_inf, nans, negative_zero)
        assert FloatFormat("Mine", e, m, high, has_inf, nans, negative_zero).smallest_subnormal == 2.0**-125
        assert low <= FloatFormat("Mine", e, m, None, has_inf, nans, negative_zero).bias <= high


@pytest.mark.parametrize(("e", "m"), LAYOUTS)
def test_the_extreme_formats_round_exactly(e: int, m: int) -> None:
    for has_inf, nans, negative_zero in specials(e, m):
        for bias in allowed_biases(e, m, has_inf, nans):
            fmt = FloatFormat("Mine", e, m, bias, has_inf, nans, negative_zero)
            grid = Grid(spec_of(fmt))
            for dtype in (np.float32, np.float64):
                x = hard_values_of(grid, dtype)
                for saturate in (True, False):
                    expected = grid.round(x.astype(np.float64), saturate).astype(dtype)
                    actual = quantize(torch.from_numpy(x), fmt, saturate=saturate)
                    assert_same(actual.numpy(), expected)
                    if dtype == np.float32:
                        fast = quantize(torch.from_numpy(x), fmt, saturate=saturate, compiled=True)
                        assert_same(fast.numpy(), expected)


@pytest.mark.parametrize(("e", "m"), LAYOUTS)
def test_the_extreme_formats_draw_neighbors_and_keep_their_grid(e: int, m: int) -> None:
    for has_inf, nans, negative_zero in list(specials(e, m))[-2:]:
        for bias in allowed_biases(e, m, has_inf, nans):
            fmt = FloatFormat("Mine", e, m, bias, has_inf, nans, negative_zero)
            grid = np.array([float(value) for value in Grid(spec_of(fmt)).magnitudes[:-1]])
            between = np.repeat((grid[:-1] + grid[1:]) / 2, 50)
            x = torch.from_numpy(np.concatenate([grid, between, np.zeros(40)]).astype(np.float32))
            for compiled in (False, True):
                generator = torch.Generator().manual_seed(bias % 1000)
                out = quantize(x, fmt, None, "stochastic", generator=generator, compiled=compiled).numpy()
                assert_same(out[: len(grid)], grid.astype(np.float32))
                drawn = out[len(grid) : -40].reshape(-1, 50).astype(np.float64)
                assert ((drawn == grid[:-1, None]) | (drawn == grid[1:, None])).all()
                # Fair coins: within five sigma.
                ups = (drawn == grid[1:, None]).mean()
                assert abs(ups - 0.5) < 5 * 0.5 / drawn.size**0.5
