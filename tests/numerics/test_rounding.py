"""Nearest rounding, bit for bit: an exact rational oracle, ml_dtypes, gfloat and torch."""

import functools
from fractions import Fraction

import gfloat
import ml_dtypes
import numpy as np
import pytest
import torch

from altgrad.errors import FormatError, UnknownFormatError
from altgrad.numerics.catalog import formats
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.rounding import fake_quantize, quantize
from tests.numerics.inputs import every_pattern, hard_values
from tests.numerics.oracle import GRIDS, NAMES, SPECS, assert_same
from tests.numerics.test_format import GFLOAT, ML_DTYPES

SCALES = (2.0**-40, 2.0**-7, 1.0, 2.0**13)


@functools.cache
def _patterns32() -> np.ndarray:
    return every_pattern(torch.bfloat16).float().numpy()


def _inputs32(name: str, scale: float) -> np.ndarray:
    return np.concatenate([_patterns32(), hard_values(name, np.float32, scale)])


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
    for scale in (2.0**-40, 1.0, 2.0**13):
        x = hard_values(name, np.float64, scale)
        for saturate in (True, False):
            actual = quantize(torch.from_numpy(x), name, scale, saturate=saturate)
            assert_same(actual.numpy(), _expected(name, x, scale, saturate, np.float64))


@pytest.mark.parametrize("name", NAMES)
def test_all_bfloat16_and_all_float16_inputs_keep_their_dtype(name: str) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        x = every_pattern(dtype)
        wide = x.double().numpy()
        for scale in (1.0, 2.0**-7):
            exact = torch.from_numpy(_expected(name, wide, scale, True, np.float64))
            actual = quantize(x, name, scale)
            assert actual.dtype == dtype
            # A result beyond float16's range, or below its spacing, is what float16 makes of it.
            assert_same(actual.float().numpy(), exact.to(dtype).float().numpy())


@pytest.mark.parametrize("name", NAMES)
def test_other_scales_are_float32_divide_round_multiply(name: str) -> None:
    scale = np.float32(0.0037)
    x = _inputs32(name, float(scale))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        units = x / scale
        expected = GRIDS[name].round(units.astype(np.float64), saturate=True).astype(np.float32) * scale
    assert_same(quantize(torch.from_numpy(x), name, float(scale)).numpy(), expected)
    assert_same(quantize(torch.from_numpy(x), name, torch.tensor(scale)).numpy(), expected)
    # Float64 input takes the scale, and the arithmetic, in float64.
    wide = hard_values(name, np.float64, 0.0037)
    with np.errstate(over="ignore"):
        expected64 = GRIDS[name].round(wide / 0.0037, saturate=True) * 0.0037
    assert_same(quantize(torch.from_numpy(wide), name, 0.0037).numpy(), expected64)


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
    x = np.concatenate([_patterns32(), hard_values("E4M3FNUZ", np.float32, 2.0**-3)])
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


@pytest.mark.parametrize(("name", "dtype"), [("BF16", torch.bfloat16), ("FP16", torch.float16)])
def test_references_are_torch_casts(name: str, dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    x = torch.from_numpy(np.concatenate([_patterns32(), hard_values("E5M2", np.float32)]))
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


def test_shapes_and_strides() -> None:
    x = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))
    flat = quantize(x.flatten(), "E3M4")
    assert torch.equal(quantize(x.t(), "E3M4"), flat.view(6, 8).t())
    assert torch.equal(quantize(x[::2, 1::3], "E3M4"), flat.view(6, 8)[::2, 1::3])
    assert torch.equal(quantize(x[0].expand(3, 8), "E3M4"), flat[:8].expand(3, 8))
    assert torch.equal(quantize(x[0, 0], "E3M4"), flat[0])
    assert quantize(torch.empty(0, 3), "E3M4").shape == (0, 3)


def test_the_input_is_never_touched() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for scale in (None, 2.0):
            x = torch.tensor([1.3, -1000.0, 1e-6], dtype=dtype)
            before = x.clone()
            for name in ("E4M3", "E7M0", "BF16", "binary8p4se"):
                quantize(x, name, scale)
                quantize(x, name, scale, saturate=False)
            for name in ("E4M3", "binary8p4se"):
                quantize(x, name, scale, "stochastic", generator=torch.Generator())
            assert torch.equal(x, before)


def test_flushed_denormals_do_not_reach_the_grid() -> None:
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    try:
        for name in ("E0M7", "E4M3", "E5M2", "E7M0"):
            fmt = formats[name]
            scale = 2.0**-126 / fmt.smallest_subnormal
            values = [fmt.value_of_magnitude(k) * scale for k in range(fmt.num_rungs + 1)]
            x = torch.tensor(values, dtype=torch.float32)
            assert torch.equal(quantize(x, name, scale), x)
            assert torch.equal(quantize(-x, name, scale), -x)
    finally:
        torch.set_flush_denormal(False)


def test_gradients_pass_straight_through() -> None:
    x = torch.tensor([0.3, 500.0, -1e9, float("nan"), 448.0], requires_grad=True)
    upstream = torch.tensor([1.0, 2.0, float("inf"), 4.0, 5.0])
    out = fake_quantize(x, "E4M3")
    assert_same(out.detach().numpy(), quantize(x, "E4M3").numpy())
    out.backward(upstream)
    assert x.grad is not None and torch.equal(x.grad, upstream)
    x.grad = None
    fake_quantize(x, "E4M3", ste="clipped").backward(upstream)
    assert x.grad.tolist() == [1.0, 0.0, 0.0, 4.0, 5.0]
    x.grad = None
    fake_quantize(x, "E4M3", 2.0, ste="clipped").backward(upstream)
    assert x.grad.tolist() == [1.0, 2.0, 0.0, 4.0, 5.0]
    assert not quantize(x, "E4M3").requires_grad


def test_straight_through_rounds_stochastically_too() -> None:
    x = torch.randn(1000, requires_grad=True)
    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    out = fake_quantize(x, "E2M1", 0.5, "stochastic", generator=draws[0])
    assert torch.equal(out, quantize(x, "E2M1", 0.5, "stochastic", generator=draws[1]))
    out.sum().backward()
    assert x.grad is not None and (x.grad == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounding": "up"}, "rounding: 'up' is not a rounding. Use 'nearest' or 'stochastic'."),
        ({"rounding": "stochastic"}, "rounding: 'stochastic' needs a generator. Pass generator="),
        ({"scale": 0.0}, "scale: 0.0 is not a positive, normal float32. Give a number from 2^-126 to 3.4e38."),
        ({"scale": -1.0}, "scale: -1.0 is not a positive, normal float32"),
        ({"scale": float("nan")}, "scale: nan is not a positive, normal float32"),
        ({"scale": torch.ones(3, 1)}, "scale: shape (3, 1) does not broadcast to the values' (2, 4)"),
        ({"scale": torch.ones(1, 2, 4)}, "scale: shape (1, 2, 4) does not broadcast to the values' (2, 4)"),
        ({"scale": torch.ones((), dtype=torch.int32)}, "scale: a tensor of torch.int32 is not a scale"),
        ({"x": torch.ones(2, 4, dtype=torch.int64)}, "x: a tensor of torch.int64 cannot be rounded. Give a tensor of"),
        ({"fmt": "BF16", "rounding": "stochastic"}, "BF16: a reference format is rounded by torch's own cast"),
    ],
)
def test_what_cannot_be_rounded_says_so(arguments: dict[str, object], message: str) -> None:
    call: dict[str, object] = {"x": torch.ones(2, 4), "fmt": "E4M3"} | arguments
    with pytest.raises(FormatError) as caught:
        quantize(**call)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_unknown_names_and_rules() -> None:
    with pytest.raises(UnknownFormatError, match="'E9M9' is not a format"):
        quantize(torch.ones(1), "E9M9")
    with pytest.raises(FormatError, match=r"ste: 'none' is not a straight-through rule. Use 'identity' or 'clipped'"):
        fake_quantize(torch.ones(1), "E4M3", ste="none")  # type: ignore[arg-type]
