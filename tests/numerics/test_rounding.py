"""Nearest rounding, bit for bit: an exact rational oracle, ml_dtypes, gfloat and torch."""

from fractions import Fraction

import gfloat
import ml_dtypes
import numpy as np
import pytest
import torch

from altgrad.numerics.catalog import formats
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.rounding import quantize
from tests.numerics.inputs import DTYPES, ODD_SCALES, SCALES, every_pattern, hard_tensor, hard_values
from tests.numerics.oracle import GRIDS, NAMES, REFERENCES, SPECS, assert_same, assert_same_tensor, quantized
from tests.numerics.test_format import GFLOAT, ML_DTYPES


def _inputs32(name: str, scale: float) -> np.ndarray:
    return hard_tensor(name, torch.float32, scale).numpy()


def _expected(name: str, x: np.ndarray, scale: float, saturate: bool, dtype: type) -> np.ndarray:
    """Round by the oracle, exactly, in float64; `scale` is a power of two."""
    with np.errstate(under="ignore", over="ignore", invalid="ignore"):
        rounded = GRIDS[name].round(x.astype(np.float64) / scale, saturate) * scale
        return rounded.astype(dtype)


@pytest.mark.parametrize("name", NAMES)
def test_the_array_oracle_is_the_rational_oracle(name: str) -> None:
    grid, spec = GRIDS[name], SPECS[name]
    x = hard_values(name, np.float64)
    x = x[np.isfinite(x)][:: 1 if spec.bits < 8 else 7]
    for value, rounded in zip(x, grid.round(x, saturate=True), strict=True):
        code = min(grid.nearest_code(abs(Fraction(value))), spec.rungs)
        assert Fraction(abs(rounded)) == grid.magnitudes[code]
        assert rounded == 0 or np.sign(rounded) == np.sign(value)
    overflows = [value for value in x if grid.nearest_code(abs(Fraction(value))) > spec.rungs]
    assert not np.isfinite(grid.round(np.array(overflows), saturate=False)).any() and overflows


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_float32_is_exact_at_every_power_of_two(name: str, saturate: bool) -> None:
    limit = 2.0**-126 / formats[name].smallest_subnormal
    for scale in (*SCALES, limit):
        x = _inputs32(name, scale)
        actual = quantize(torch.from_numpy(x), name, None if scale == 1.0 else scale, saturate=saturate)
        assert_same(actual.numpy(), _expected(name, x, scale, saturate, np.float32))


@pytest.mark.parametrize("scale", [2.0**60, 2.0**100, 2.0**119])
def test_large_scales_do_not_overflow_on_the_way(scale: float) -> None:
    for name in ("E0M7", "E4M3", "E7M0"):
        x = _inputs32(name, 1.0) if scale > 2.0**64 else _inputs32(name, scale)
        actual = quantize(torch.from_numpy(x), name, scale)
        assert_same(actual.numpy(), _expected(name, x, scale, True, np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_exact_at_every_power_of_two(name: str) -> None:
    for scale in SCALES:
        x = hard_values(name, np.float64, scale)
        for saturate in (True, False):
            actual = quantize(torch.from_numpy(x), name, scale, saturate=saturate)
            assert_same(actual.numpy(), _expected(name, x, scale, saturate, np.float64))


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_all_bfloat16_and_all_float16_inputs_keep_their_dtype(name: str, saturate: bool) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        x = every_pattern(dtype)
        wide = x.double().numpy()
        for scale in SCALES:
            exact = torch.from_numpy(_expected(name, wide, scale, saturate, np.float64))
            # A result beyond float16's range, or below its spacing, is what float16 makes of it.
            assert_same_tensor(quantize(x, name, scale, saturate=saturate), exact.to(dtype))


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_other_scales_are_float32_divide_round_multiply(name: str, saturate: bool) -> None:
    # Float64 input takes the scale, and the arithmetic, in float64.
    for dtype in DTYPES:
        for scale in ODD_SCALES:
            x = hard_tensor(name, dtype, scale)
            expected = quantized(name, x, scale, saturate)
            assert_same_tensor(quantize(x, name, scale, saturate=saturate), expected)
            unit = torch.tensor(scale, dtype=torch.float64)
            assert_same_tensor(quantize(x, name, unit, saturate=saturate), expected)


def test_one_scale_a_row() -> None:
    scales = torch.tensor([[2.0**-40], [2.0**-7], [1.0], [0.0037], [2.0**13]])
    x = torch.randn(5, 257, generator=torch.Generator().manual_seed(0)) * scales * 30
    for name in ("E0M7", "E3M4", "E7M0", "binary8p3se"):
        rows = torch.stack([quantize(row, name, scale) for row, scale in zip(x, scales.flatten(), strict=True)])
        for row in (0, 1, 2, 4):
            scale = scales[row].item()
            assert_same(rows[row].numpy(), _expected(name, x[row].numpy(), scale, True, np.float32))
        assert_same(quantize(x, name, scales).numpy(), rows.numpy())
        # Half types do not pull the scales down to their own range.
        assert_same(quantize(x.bfloat16(), name, scales).float().numpy()[0], _bf16_row(x[0], name, 2.0**-40))


def test_scales_broadcast_as_arithmetic_does() -> None:
    x = torch.randn(4, 6, 35, generator=torch.Generator().manual_seed(0)) * 30
    generator = torch.Generator().manual_seed(1)
    shapes = [(35,), (1,), (1, 1, 1), (6, 1), (6, 35), (4, 1, 1), (1, 6, 1), (4, 6, 1), (4, 1, 35), (4, 6, 35)]
    for shape in shapes:
        scale = torch.rand(shape, generator=generator) * 4 + 0.1
        for name in ("E4M3", "E7M0", "BF16"):
            expected = quantized(name, x, scale.numpy())
            assert_same_tensor(quantize(x, name, scale), expected)
            assert_same_tensor(quantize(x, name, scale.double()), expected)
    vector = x.flatten()
    each = torch.rand(vector.shape, generator=generator) + 0.1
    assert_same_tensor(quantize(vector, "E4M3", each), quantized("E4M3", vector, each.numpy()))


def _bf16_row(x: torch.Tensor, name: str, scale: float) -> np.ndarray:
    return _expected(name, x.bfloat16().float().numpy(), scale, True, np.float32)


@pytest.mark.parametrize("name", ML_DTYPES)
def test_ml_dtypes_bit_for_bit(name: str) -> None:
    x = _inputs32(name, 1.0)
    finite_only = not (formats[name].has_inf or formats[name].has_nan)
    if finite_only:
        x = x[~np.isnan(x)]  # They turn NaN into a number.
    with np.errstate(invalid="ignore", over="ignore"):
        theirs = x.astype(ML_DTYPES[name]).astype(np.float32)
    # Formats with neither Inf nor NaN saturate there: a named difference of saturate=False.
    assert_same(quantize(torch.from_numpy(x), name, saturate=finite_only).numpy(), theirs)


def test_ml_dtypes_bit_for_bit_on_a_user_format() -> None:
    fmt = FloatFormat("B11", 4, 3, bias=11, num_high_nans=0, has_negative_zero=False)
    x = np.concatenate([every_pattern(torch.bfloat16).float().numpy(), hard_values("E4M3FNUZ", np.float32, 2.0**-3)])
    with np.errstate(invalid="ignore", over="ignore"):
        theirs = x.astype(ml_dtypes.float8_e4m3b11fnuz).astype(np.float32)
    assert_same(quantize(torch.from_numpy(x), fmt, saturate=False).numpy(), theirs)


@pytest.mark.parametrize("name", GFLOAT)
def test_gfloat_agrees(name: str) -> None:
    info = GFLOAT[name]
    x = hard_values(name, np.float64)
    x = x[(np.abs(x) < 1e300) | np.isinf(x)]  # Its own scaling overflows beyond.
    for saturate in (True, False):
        if not saturate and info.num_nans == 0 and info.num_infs == 0:
            continue  # It has no answer for formats without any special code.
        theirs = gfloat.round_ndarray(info, x, gfloat.RoundMode.TiesToEven, saturate)
        assert_same(quantize(torch.from_numpy(x), name, saturate=saturate).numpy(), theirs)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("E4M3", torch.float8_e4m3fn), ("E5M2", torch.float8_e5m2), ("E4M3FNUZ", torch.float8_e4m3fnuz)],
)
def test_torch_casts_agree_within_max(name: str, dtype: torch.dtype) -> None:
    x = torch.from_numpy(_inputs32(name, 1.0))
    x = x[x.abs() <= formats[name].max]
    assert_same(quantize(x, name).numpy(), x.to(dtype).float().numpy())


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("name", REFERENCES)
def test_references_are_exact(name: str, saturate: bool) -> None:
    # Float64 goes by way of float32, as in torch's cast.
    for dtype in DTYPES:
        for scale in (1.0, 2.0**-7, ODD_SCALES[0]):
            x = hard_tensor(name, dtype, scale)
            assert_same_tensor(quantize(x, name, scale, saturate=saturate), quantized(name, x, scale, saturate))


@pytest.mark.parametrize(("name", "dtype"), [("BF16", torch.bfloat16), ("FP16", torch.float16)])
def test_references_are_torch_casts(name: str, dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    x = torch.from_numpy(
        np.concatenate([every_pattern(torch.bfloat16).float().numpy(), hard_values("E5M2", np.float32)])
    )
    cast = x.to(dtype).float()
    assert_same(quantize(x, name, saturate=False).numpy(), cast.numpy())
    assert_same(quantize(x, name).numpy(), cast.clamp(-info.max, info.max).numpy())
    scaled = (x / 0.25).to(dtype).float().clamp(-info.max, info.max) * 0.25
    assert_same(quantize(x, name, 0.25).numpy(), scaled.numpy())
    assert quantize(x.double(), name).dtype == torch.float64


def test_nan_and_negative_zero() -> None:
    for name in NAMES:
        for saturate in (True, False):
            out = quantize(torch.tensor([float("nan"), -0.0, -1e-38]), name, 2.0, saturate=saturate)
            assert out[0].isnan() and (out[1:] == 0).all()
            assert out[1:].signbit().tolist() == [SPECS[name].negative_zero] * 2


def test_overflow_by_hand() -> None:
    x = torch.tensor([448.0, 464.0, 465.0, float("inf"), -480.0])
    assert quantize(x, "E4M3").tolist() == [448.0, 448.0, 448.0, 448.0, -448.0]
    # 464 is the tie between 448 (even code 0x7E) and the NaN code.
    overflown = quantize(x, "E4M3", saturate=False)
    assert overflown[:2].tolist() == [448.0, 448.0] and overflown[2:].isnan().all()
    assert quantize(torch.tensor([61439.0, -61440.0]), "E5M2", saturate=False).tolist() == [57344.0, -float("inf")]
    assert quantize(torch.tensor([7.0]), "E2M1", saturate=False).isnan().all()
    assert quantize(torch.tensor([65504.0], dtype=torch.float16), "E6M1").isinf().all()


def test_ties_of_powers_of_two_go_to_the_even_exponent_code() -> None:
    # Exponent codes of 1, 2, 4, 8 in E7M0: 63, 64, 65, 66.
    assert quantize(torch.tensor([1.5, 3.0, 6.0]), "E7M0").tolist() == [2.0, 2.0, 8.0]
    # 0 has the even code 0, 2^-62 the odd code 1, 2^-61 the even code 2.
    assert quantize(torch.tensor([2.0**-63, 1.5 * 2.0**-62]), "E7M0").tolist() == [0.0, 2.0**-61]


def test_a_grid_one_four_times_the_other() -> None:
    x = torch.randn(10000, generator=torch.Generator().manual_seed(1))
    x = x[x.abs() <= 3.9375]
    assert torch.equal(quantize(x, "E1M6"), quantize(x, "E0M7", 4.0))
