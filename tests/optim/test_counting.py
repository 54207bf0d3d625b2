"""Counts are exact, for special values and for tensors of any size."""

import pytest
import torch

from altgrad.numerics.catalog import formats
from altgrad.numerics.rounding import quantize
from altgrad.optim.counting import COUNTERS, count_rows, unpack
from altgrad.optim.grid import make_grid
from tests.optim.twin import Line, recount

SPECIAL = [0.0, -0.0, 1e-4, -1e-4, 0.01, 1.0, -1.0625, 1.125, 448.0, -896.0, 464.0, 57344.0, 900.0, -1e9, 2.0**-10]


def samples(count: int, seed: int) -> torch.Tensor:
    """Draw from the special values, with repeats."""
    draw = torch.randint(len(SPECIAL), (count,), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(SPECIAL)[draw]


def count(w_old, g, u, w_new, fmt, scale, stored_on_grid) -> dict[str, int]:
    """Count over all rows; `scale` is a number, or (rows, 1)."""
    unit = torch.as_tensor(scale).expand(w_old.shape[0], 1)
    grid = make_grid(formats[fmt], unit, True, w_old, kernel=False)
    rows, _ = unpack(count_rows(w_old, g, u, w_new, grid, stored_on_grid), w_old.shape[1])
    assert rows.dtype == torch.int64
    return dict(zip(COUNTERS, rows.sum(0).tolist(), strict=True))


@pytest.mark.parametrize("shape", [(20, 100), (1, 5000), (2000, 1)])
@pytest.mark.parametrize("stored_on_grid", [True, False])
@pytest.mark.parametrize("fmt", ["E4M3", "E7M0", "E0M7", "E5M2"])
def test_every_count_equals_a_recount(fmt, stored_on_grid, shape):
    """Wide rows go through the arithmetic that two counts of over 12 bits take."""
    scale = 2.0 if fmt == "E4M3" else 1.0
    w_old, g, u = (samples(shape[0] * shape[1], seed).view(shape) for seed in range(3))
    w_new = quantize(u, fmt, scale) if stored_on_grid else u
    expected = dict.fromkeys(COUNTERS, 0)
    lists = (x.flatten().tolist() for x in (w_old, g, u, w_new))
    recount(expected, Line(formats[fmt], scale), *lists, stored_on_grid)
    assert count(w_old, g, u, w_new, fmt, scale, stored_on_grid) == expected


@pytest.mark.parametrize("width", [4095, 4096, 2**24 + 1])
def test_full_rows_are_counted_exactly(width):
    """2^24 + 1 ones: a float32 sum would lose the last; 4095 are the most that share one with others."""
    ones = torch.ones(1, width)
    counted = count(ones, ones, 2 * ones, 2 * ones, "E4M3", 1.0, True)
    full = {name: width for name in ("flips", "flips_among_updated", "updates")}
    assert counted == {**dict.fromkeys(COUNTERS, 0), **full}


def test_layouts_in_memory_do_not_matter():
    w_old, g, u = (samples(600, seed).view(20, 30) for seed in range(3))
    w_new = quantize(u, "E4M3")
    expected = count(w_old, g, u, w_new, "E4M3", 1.0, True)
    turned = [x.t().contiguous().t() for x in (w_old, g, u, w_new)]
    assert count(*turned, "E4M3", 1.0, True) == expected


def test_overflow_is_counted_against_each_rows_own_scale():
    w = torch.tensor([[1.0, 500.0], [1.0, 500.0]])
    scale = torch.tensor([[1.0], [2.0]])
    assert count(w, torch.ones(2, 2), w, w, "E4M3", scale, False)["weight_overflow"] == 1
