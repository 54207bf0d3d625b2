"""Spacing, stiffness and positions: the grid's own gaps as the oracle."""

import math

import numpy as np
import pytest
import torch

from altgrad.errors import FormatError
from altgrad.numerics.catalog import formats
from altgrad.numerics.codec import from_rung, to_rung
from altgrad.numerics.geometry import from_rung_position, rung_position, stiffness, ulp
from tests.numerics.inputs import hard_values
from tests.numerics.oracle import GRIDS, NAMES, SPECS, assert_same


@pytest.mark.parametrize("name", NAMES)
def test_ulp_is_the_gap_to_the_next_rung(name: str) -> None:
    grid = GRIDS[name]
    values = torch.tensor([float(value) for value in grid.magnitudes[:-1]], dtype=torch.float32)
    gaps = [float(b - a) for a, b in zip(grid.magnitudes, grid.magnitudes[1:], strict=False)]
    assert ulp(values, name).tolist() == gaps
    assert ulp(-values, name).tolist() == gaps
    assert ulp(values.double() * 2.0**-40, name, 2.0**-40).tolist() == [gap * 2.0**-40 for gap in gaps]
    between = values[:-1] + values.diff() * 0.37
    assert ulp(between, name).tolist() == gaps[: len(between)]


@pytest.mark.parametrize("name", NAMES)
def test_ulp_is_the_formula(name: str) -> None:
    fmt, spec = formats[name], SPECS[name]
    top = math.floor(math.log2(fmt.max))
    emin = 1 - spec.bias
    for dtype in (np.float32, np.float64):
        x = hard_values(name, dtype)
        x = x[np.isfinite(x)]
        exponents = np.frexp(np.abs(x).astype(np.float64))[1] - 1
        exponents = np.where(x == 0, emin, np.clip(exponents, emin, max(top, emin)))
        expected = np.ldexp(1.0, exponents - spec.mantissa_bits).astype(dtype)
        assert_same(ulp(torch.from_numpy(x), name).numpy(), expected)


def test_ulp_by_hand() -> None:
    x = torch.tensor([0.0, 2.0**-9, 2.0**-6, 1.0, 1.99, 448.0, 1e9, float("inf"), float("nan")])
    expected = [2.0**-9, 2.0**-9, 2.0**-9, 0.125, 0.125, 32.0, 32.0, 32.0]
    assert ulp(x, "E4M3")[:-1].tolist() == expected and ulp(x, "E4M3")[-1].isnan()
    assert ulp(torch.tensor([0.0, 0.3, 5.0]), "E0M7").tolist() == [2.0**-7] * 3
    rows = torch.tensor([[1.0], [1.0]])
    assert ulp(rows, "E4M3", torch.tensor([[1.0], [4.0]])).flatten().tolist() == [0.125, 0.125]
    assert ulp(rows, "E0M7", torch.tensor([[1.0], [4.0]])).flatten().tolist() == [2.0**-7, 2.0**-5]
    # Half types get float32 spacings: float16 could not hold them.
    assert ulp(torch.zeros(1, dtype=torch.float16), "E6M1").tolist() == [2.0**-31]
    assert ulp(torch.tensor([1.0, 3e38]), "BF16").tolist() == [2.0**-7, 2.0**120]


@pytest.mark.parametrize("name", NAMES)
def test_stiffness_is_ulp_on_normal_values(name: str) -> None:
    fmt = formats[name]
    x = torch.from_numpy(hard_values(name, np.float32))
    x = x[(x.abs() >= fmt.smallest_normal) & (x.abs() <= fmt.max)]
    assert torch.equal(stiffness(x, fmt.mantissa_bits), ulp(x, fmt))


def test_stiffness_is_the_textbook_formula() -> None:
    x = np.ldexp(np.array([1.0, 1.5, 1.9999999]), np.array([[-140], [-126], [-3], [0], [100]])).astype(np.float32)
    for m in (0, 3, 7):
        expected = np.ldexp(1.0, np.frexp(x.astype(np.float64))[1] - 1 - m).astype(np.float32)
        assert_same(stiffness(torch.from_numpy(x), m).numpy(), expected)
        assert_same(stiffness(torch.from_numpy(-x), m).numpy(), expected)
    special = stiffness(torch.tensor([0.0, -0.0, float("nan"), float("inf")]), 3)
    assert special[:2].tolist() == [0.0, 0.0] and special[2:].isnan().all()
    with pytest.raises(FormatError, match=r"stiffness: mantissa_bits=-1 is not a width"):
        stiffness(torch.ones(1), -1)


@pytest.mark.parametrize("name", NAMES)
def test_positions_are_rungs_on_the_grid_and_linear_between(name: str) -> None:
    fmt, grid = formats[name], GRIDS[name]
    k = torch.arange(-fmt.num_rungs, fmt.num_rungs + 1)
    values = from_rung(k, name).double()
    assert torch.equal(rung_position(values, name), k.double())
    assert torch.equal(from_rung_position(k.double(), name), values)
    for share in (0.25, 0.5, 0.875):
        between = values[:-1] + share * values.diff()
        expected = k[:-1] + share
        assert torch.equal(rung_position(between, name), expected.double())
        assert torch.equal(from_rung_position(expected.double(), name), between)
        assert torch.equal(rung_position(between * 2.0**-9, name, 2.0**-9), expected.double())
    # Beyond max it goes on with the last step, for ever.
    step = float(grid.magnitudes[-1] - grid.magnitudes[-2])
    far = torch.tensor([fmt.max + 10.5 * step], dtype=torch.float64)
    assert rung_position(far, name).item() == fmt.num_rungs + 10.5
    assert from_rung_position(rung_position(-far, name), name).item() == -far.item()


@pytest.mark.parametrize("name", ["E0M7", "E2M5", "E4M3", "E7M0", "binary8p3se"])
def test_positions_invert(name: str) -> None:
    fmt = formats[name]
    generator = torch.Generator().manual_seed(0)
    pos = (torch.rand(5000, dtype=torch.float64, generator=generator) * 2 - 1) * (fmt.num_rungs + 20)
    for scale in (1.0, 2.0**-7, 0.0037):
        back = rung_position(from_rung_position(pos, name, scale), name, scale)
        torch.testing.assert_close(back, pos, rtol=0, atol=1e-11)
    # In float32 a position keeps 24 bits: near rung 100 it is good to 2^-17 of a step.
    back32 = rung_position(from_rung_position(pos.float(), name), name)
    torch.testing.assert_close(back32, pos.float(), rtol=0, atol=2.0**-15)


def test_a_step_of_one_ulp_is_a_step_of_one_rung() -> None:
    x = torch.rand(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(4)) * 200 + 0.001
    stepped = x + ulp(x, "E4M3")
    same_binade = ulp(stepped, "E4M3") == ulp(x, "E4M3")
    moved = rung_position(stepped, "E4M3") - rung_position(x, "E4M3")
    torch.testing.assert_close(moved[same_binade], torch.ones(int(same_binade.sum()), dtype=torch.float64))


def test_position_rounds_to_rung_away_from_ties() -> None:
    x = torch.randn(10000, generator=torch.Generator().manual_seed(5))
    for name in ("E0M7", "E3M4", "E4M3", "E7M0"):
        pos = rung_position(x, name)
        fmt = formats[name]
        clear = ((pos - pos.floor() - 0.5).abs() > 1e-3) & (pos.abs() < fmt.num_rungs)
        assert torch.equal(pos.round().int()[clear], to_rung(x, name)[clear])


def test_specials_and_rows() -> None:
    x = torch.tensor([0.0, -0.0, float("nan"), float("inf"), -float("inf")])
    pos = rung_position(x, "E4M3")
    assert pos[:2].tolist() == [0.0, 0.0] and pos[2].isnan() and pos[3:].tolist() == [float("inf"), -float("inf")]
    assert_same(from_rung_position(pos, "E4M3").numpy(), x.numpy())
    scales = torch.tensor([[1.0], [4.0]])
    pos = rung_position(torch.tensor([[1.0], [4.0]]), "E4M3", scales)
    assert pos.flatten().tolist() == [56.0, 56.0]
    assert from_rung_position(pos, "E4M3", scales).flatten().tolist() == [1.0, 4.0]
    with pytest.raises(FormatError, match="BF16: a reference format has no codes and no rungs"):
        rung_position(x, "BF16")
