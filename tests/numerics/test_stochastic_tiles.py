"""Stochastic rounding in tiles and in kernels: the same draw whatever the size, and values on the grid that stay."""

import numpy as np
import pytest
import torch
from torch import Tensor

from altgrad.numerics.compiling import SMALLEST, TILE
from altgrad.numerics.noise import draw_key, thresholds
from altgrad.numerics.rounding import quantize
from altgrad.numerics.units import Scale
from tests.numerics.inputs import hard_tensor
from tests.numerics.oracle import GRIDS, NAMES, assert_same_tensor
from tests.numerics.test_compiled import assert_one_version, kernel_name, scaled_inputs
from tests.numerics.test_stochastic import mix

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _round(
    x: Tensor, name: str, scale: Scale = None, seed: int = 0, saturate: bool = True, compiled: bool = False
) -> Tensor:
    return quantize(x, name, scale, "stochastic", saturate, _generator(seed), compiled=compiled)


@pytest.mark.parametrize(
    ("dtype", "kind", "saturate"),
    [
        (torch.float32, "one", True),
        (torch.float32, "each", True),
        (torch.bfloat16, "rows", False),
        (torch.float16, "one", False),
        (torch.float64, "number", True),
    ],
)
def test_kernels_draw_as_eager_does(dtype: torch.dtype, kind: str, saturate: bool) -> None:
    for seed, name in enumerate(NAMES):
        for x, scale in scaled_inputs(name, dtype, kind):
            expected = _round(x, name, scale, seed, saturate)
            assert_same_tensor(_round(x, name, scale, seed, saturate, compiled=True), expected)
    first = "quantize" if saturate else "quantize_unsaturated"
    assert_one_version(kernel_name(dtype, kind, f"{first}_stochastic"))


@pytest.mark.parametrize("size", [*range(SMALLEST, SMALLEST + 17), TILE - 1, TILE, TILE + 1, 2 * TILE + 13, 3 * TILE])
def test_every_tail_and_tile_draws_by_the_index_alone(size: int) -> None:
    # Compiled code handles 16 elements at once, and then a tail; eager code goes tile by tile.
    x = hard_tensor("E4M3", torch.float32)
    x = x.repeat(size // len(x) + 1)[:size]
    longest = _round(torch.cat([x, x]), "E4M3")
    for compiled in (False, True):
        assert_same_tensor(_round(x, "E4M3", compiled=compiled), longest[:size])


@pytest.mark.parametrize("shape", [(TILE // 100, 333), (3, TILE + 5), (TILE + 3, 2), (40, 3 * SMALLEST + 1)])
def test_rows_draw_as_one_vector(shape: tuple[int, int]) -> None:
    x = torch.randn(shape, generator=_generator(1))
    same = torch.full((shape[0], 1), 0.5)
    expected = _round(x.flatten(), "E2M5", 0.5).view(shape)
    for compiled in (False, True):
        for scale in (same, same.expand(shape)):
            assert_same_tensor(_round(x, "E2M5", scale, compiled=compiled), expected)


def test_the_draw_is_the_plain_python_hash_on_both_sides_of_a_tile() -> None:
    first, second = (word & (2**32 - 1) for word in draw_key(_generator(5), torch.device("cpu")).tolist())
    places = [*range(20), *range(TILE - 20, TILE + 20), *range(2 * TILE - 3, 2 * TILE + 3)]
    size = 2 * TILE + 3
    share = torch.rand(size, generator=_generator(6)).mul(2**16).floor().div(2**16)  # exact in float32, as is 1 + it
    lattice = [(2 * (mix(place, first, second) >> 16) + 1) * 2.0**-17 for place in places]
    expected = [
        2.0 if share[place].item() > threshold else 1.0 for place, threshold in zip(places, lattice, strict=True)
    ]
    for compiled in (False, True):
        out = _round(1.0 + share, "E7M0", seed=5, compiled=compiled)
        assert out[places].tolist() == expected
    key = draw_key(_generator(5), torch.device("cpu"))
    for start in (TILE - 20, torch.tensor(TILE - 20, dtype=torch.int32)):
        assert thresholds(torch.Size((40,)), key, torch.float64, start).tolist() == lattice[20:60]


def test_in_a_hundred_million_draws_no_value_on_the_grid_moves() -> None:
    size, draws = 1 << 20, 0
    generator = _generator(7)
    out = torch.empty(size)
    for name in NAMES:
        grid = np.array([float(value) for value in GRIDS[name].magnitudes[:-1]], dtype=np.float32)
        line = quantize(torch.from_numpy(np.concatenate([grid, -grid])), name)  # no -0 where the format has none
        x = line.repeat(size // len(line) + 1)[:size]
        for _ in range(4):
            quantize(x, name, None, "stochastic", generator=generator, out=out, compiled=True)
            # As integers: signs of zeros count.
            assert torch.equal(out.view(torch.int32), x.view(torch.int32))
            draws += size
    assert draws > 10**8


def test_values_a_thousandth_of_a_gap_off_the_grid_do_move() -> None:
    # The control of the test above.
    for name in NAMES:
        grid = torch.tensor([float(value) for value in GRIDS[name].magnitudes[:-1]], dtype=torch.float64)
        off = grid[1:] - grid.diff() * 1e-3
        x = off.repeat(20_000 // len(off) + 1)
        moved = (_round(x, name) != quantize(x, name)).double().mean().item()
        assert abs(moved - 1e-3) < 5 * (1e-3 / len(x)) ** 0.5 + 2.0**-17
