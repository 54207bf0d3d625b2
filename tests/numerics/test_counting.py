"""quantize_and_count against a recount, element by element, of what the oracle's values show."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from altgrad.numerics.catalog import formats
from altgrad.numerics.compiling import TILE
from altgrad.numerics.rounding import QUANTIZE_COUNTERS, quantize, quantize_and_count
from altgrad.numerics.units import Scale
from tests.numerics.inputs import hard_tensor
from tests.numerics.oracle import GRIDS, NAMES, REFERENCES, assert_same_tensor, grid_of, quantized
from tests.numerics.test_compiled import assert_one_version, kernel_name

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler

# As many rows as kernels take.
ROWS = torch.tensor([[2.0**-40], [2.0**-7], [1.0], [0.5], [2.0**13], [8.0]]).repeat(6, 1)
ODD_ROWS = torch.tensor([[0.0037], [3.3], [1e-7], [0.3], [700.0], [1.0]]).repeat(6, 1)


def _recount(name: str, x: Tensor, values: Tensor, previous: Tensor | None, scale: Scale) -> list[int]:
    """Count in Python what happened to each element."""
    # |x| / scale as the arithmetic has it: exact for a power of two, float32's (float64's) quotient for others.
    wide = x.double() if x.dtype == torch.float64 else x.float()
    units = wide if scale is None else wide / torch.as_tensor(scale, dtype=wide.dtype)
    top = float(grid_of(name).max)
    flips = overflow = underflow = 0
    before = values.new_zeros(()).expand(values.shape) if previous is None else previous
    columns = (x.double(), values.double(), before.double(), units.double())
    for element, value, earlier, unit in zip(*(column.flatten().tolist() for column in columns), strict=True):
        flips += previous is not None and not value == earlier
        overflow += abs(unit) > top
        underflow += element != 0 and value == 0
    return [flips, overflow, underflow]


def _earlier(values: Tensor) -> Tensor:
    """Return a tensor that agrees with `values` in two thirds of the places, but for signs of zeros."""
    flat = values.flatten()
    earlier = torch.where(torch.arange(flat.numel()) % 3 == 0, flat.roll(1), flat)
    return torch.where(earlier == 0, -earlier, earlier).view(values.shape)


def _inputs(name: str, dtype: torch.dtype, scale: Scale) -> Tensor:
    x = hard_tensor("E5M2" if name in REFERENCES else name, dtype)
    x = x[:: 1 + len(x) // 3000]
    if isinstance(scale, Tensor) and scale.ndim:
        return (x.double() * scale.double()).to(dtype)
    return x if scale is None else (x.double() * float(scale)).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "scale", "flips"),
    [
        (torch.float32, None, False),
        (torch.float32, ROWS, True),
        (torch.bfloat16, ODD_ROWS, True),
        (torch.float16, 0.0037, True),
        (torch.float64, 2.0**-7, False),
    ],
    ids=["float32", "float32-rows-flips", "bfloat16-rows-flips", "float16-scaled-flips", "float64-scaled"],
)
def test_counts_are_a_recount(dtype: torch.dtype, scale: Scale, flips: bool) -> None:
    totals = np.zeros(3, dtype=int)
    for name in NAMES[::3] if isinstance(scale, Tensor) else NAMES:
        x = _inputs(name, dtype, scale)
        expected = quantized(name, x, scale.numpy() if isinstance(scale, Tensor) else scale or 1.0)
        previous = _earlier(expected) if flips else None
        counts = _recount(name, x, expected, previous, scale)
        _check(expected, counts, x, name, scale, previous=previous)
        totals += counts
    assert (totals > 0).tolist() == [flips, True, True]
    kind = "one" if scale is None else "rows" if isinstance(scale, Tensor) else "number"
    assert_one_version(kernel_name(dtype, kind, f"quantize_and_count{'_flips' if flips else ''}"))


def _check(expected: Tensor, counts: list[int], x: Tensor, name: str, scale: Scale, **settings: Any) -> None:
    """Assert values and counts, eager and compiled."""
    for compiled in (False, True):
        values, found = quantize_and_count(x, name, scale, compiled=compiled, **settings)
        assert_same_tensor(values, expected)
        assert found.dtype == torch.int64 and found.tolist() == counts, (name, compiled)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_counts_of_references(dtype: torch.dtype) -> None:
    # 65504 is beyond the half type after rounding, and float16's smallest values are below the scale's products.
    for name in REFERENCES:
        x = _inputs(name, dtype, 0.0037)
        expected = quantized(name, x, 0.0037)
        previous = _earlier(expected)
        _check(expected, _recount(name, x, expected, previous, 0.0037), x, name, 0.0037, previous=previous)


def test_stochastic_counts_are_a_recount() -> None:
    for name in NAMES:
        x = _inputs(name, torch.float32, None).repeat(3)
        expected = quantize(x, name, None, "stochastic", generator=torch.Generator().manual_seed(4))
        previous = _earlier(expected)
        counts = _recount(name, x, expected, previous, None)
        for compiled in (False, True):
            generator = torch.Generator().manual_seed(4)
            values, found = quantize_and_count(
                x, name, None, "stochastic", generator, previous=previous, compiled=compiled
            )
            assert_same_tensor(values, expected)
            assert found.tolist() == counts
    assert_one_version("quantize_and_count_flips_stochastic_float32")


def test_counts_by_hand() -> None:
    assert QUANTIZE_COUNTERS == ("flips", "overflow", "underflow")
    nan, inf = float("nan"), float("inf")
    x = torch.tensor([0.0, -0.0, nan, inf, -500.0, 448.0, 464.0, 2.0**-10, 2.0**-11, -1e-45, 1.0, 1.0])
    previous = torch.tensor([-0.0, 0.0, nan, 448.0, 448.0, 448.0, 448.0, 0.0, 1.0, 0.0, 1.0, 1.125])
    # NaN differs from itself, -448 from 448, 0 from 1, 1 from 1.125; Inf, -500 and 464 are beyond max.
    for compiled in (False, True):
        filled, before = torch.cat([x, x.new_ones(50)]), torch.cat([previous, x.new_ones(50)])
        values, counts = quantize_and_count(filled, "E4M3", previous=before, compiled=compiled)
        assert counts.tolist() == [4, 3, 3]
        assert quantize_and_count(filled, "E4M3", compiled=compiled)[1].tolist() == [0, 3, 3]
        # Against itself nothing flips but NaN.
        again = quantize_and_count(values, "E4M3", previous=values, compiled=compiled)[1]
        assert again.tolist() == [1, 0, 0]
    assert quantize_and_count(torch.empty(0), "E4M3", previous=torch.empty(0))[1].tolist() == [0, 0, 0]


def test_a_scale_a_row_counts_each_row_in_its_own_units() -> None:
    scale = torch.tensor([[1.0], [2.0], [4.0]]).repeat(20, 1)
    x = torch.full((60, 50), 1000.0)  # beyond 448 and 896, not 1792
    for compiled in (False, True):
        values, counts = quantize_and_count(x, "E4M3", scale, previous=torch.full_like(x, 896.0), compiled=compiled)
        assert counts.tolist() == [2000, 2000, 0]
        assert values[:3, 0].tolist() == [448.0, 896.0, 1024.0]


def test_tiles_add_up() -> None:
    for size in (TILE - 1, TILE, TILE + 1, 2 * TILE + 13):
        x = torch.randn(size, generator=torch.Generator().manual_seed(size)) * 300
        whole = quantize_and_count(x, "E4M3", previous=x)[1]
        parts = [quantize_and_count(part, "E4M3", previous=part)[1] for part in x.split(1000)]
        assert torch.equal(whole, torch.stack(parts).sum(0))
        assert torch.equal(whole, quantize_and_count(x, "E4M3", previous=x, compiled=True)[1])


def test_sums_are_exact_beyond_float32s_integers() -> None:
    size = 2**24 + 3
    x, previous, out = torch.full((size,), 1e9), torch.zeros(size), torch.empty(size)
    for compiled in (True, False):
        counts = quantize_and_count(x, "E4M3", previous=previous, out=out, compiled=compiled)[1]
        assert counts.tolist() == [size, size, 0]
    x.fill_(-1e-9)
    assert quantize_and_count(x, "E4M3", previous=out, out=out.clone(), compiled=True)[1].tolist() == [size, 0, size]


def test_grids_of_every_format_count_nothing() -> None:
    for name in NAMES:
        grid = torch.tensor([float(value) for value in GRIDS[name].magnitudes[:-1]], dtype=torch.float32)
        line = torch.cat([grid, -grid])
        assert quantize_and_count(line, formats[name], previous=line)[1].tolist() == [0, 0, 0]
