"""Counts are exact, for special values and for tensors of any size."""

import pytest
import torch

from altgrad.numerics.catalog import formats
from altgrad.numerics.rounding import quantize
from altgrad.optim import counting
from altgrad.optim.counting import COUNTERS, count_step
from altgrad.optim.grid import Grid
from tests.optim.twin import Line, recount

SPECIAL = [0.0, -0.0, 1e-4, -1e-4, 0.01, 1.0, -1.0625, 1.125, 448.0, -896.0, 464.0, 57344.0, 900.0, -1e9, 2.0**-10]


def samples(count: int, seed: int) -> torch.Tensor:
    """Draw from the special values, with repeats."""
    draw = torch.randint(len(SPECIAL), (count,), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(SPECIAL)[draw]


@pytest.mark.parametrize("exact_up_to", [2**24, 16])
@pytest.mark.parametrize("stored_on_grid", [True, False])
@pytest.mark.parametrize("fmt", ["E4M3", "E7M0", "E0M7", "E5M2"])
def test_every_count_equals_a_recount(fmt, stored_on_grid, exact_up_to, monkeypatch):
    """Small limits send it through the arithmetic for large tensors."""
    monkeypatch.setattr(counting, "_EXACT_IN_FLOAT32", exact_up_to)
    scale = 2.0 if fmt == "E4M3" else 1.0
    w_old, g, u = (samples(2000, seed) for seed in range(3))
    w_new = quantize(u, fmt, scale) if stored_on_grid else u
    grid = Grid(formats[fmt], torch.tensor(scale))
    counted = count_step(w_old, g, u, w_new, grid, stored_on_grid)
    expected = dict.fromkeys(COUNTERS, 0)
    lists = (x.tolist() for x in (w_old, g, u, w_new))
    recount(expected, Line(formats[fmt], scale), *lists, stored_on_grid)
    assert dict(zip(COUNTERS, counted.tolist(), strict=True)) == expected
    assert counted.dtype == torch.int64


def test_layouts_in_memory_do_not_matter():
    w_old, g, u = (samples(600, seed).view(20, 30) for seed in range(3))
    grid = Grid(formats["E4M3"], torch.tensor(1.0))
    w_new = quantize(u, "E4M3")
    expected = count_step(w_old, g, u, w_new, grid, True)
    turned = [x.t().contiguous().t() for x in (w_old, g, u, w_new)]
    assert torch.equal(count_step(*turned, grid, True), expected)
    assert torch.equal(count_step(turned[0], g, turned[2], w_new, grid, True), expected)


def test_sums_stay_exact_past_what_float32_can_count():
    """One more than 2^24 ones: a float32 sum would lose the last."""
    ones = torch.ones(2**24 + 1)
    assert counting._total(ones).item() == 2**24 + 1
    assert counting._both(ones, ones).item() == 2**24 + 1


def test_overflow_is_counted_against_each_rows_own_scale():
    w = torch.tensor([[1.0, 500.0], [1.0, 500.0]])
    scale = torch.tensor([[1.0], [2.0]])
    counted = count_step(w, torch.ones(2, 2), w, w, Grid(formats["E4M3"], scale), False)
    assert counted[COUNTERS.index("weight_overflow")] == 1
