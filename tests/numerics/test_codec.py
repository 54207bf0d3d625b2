"""Codes and rungs: bijections, against ml_dtypes' bits and the rational grid."""

import numpy as np
import pytest
import torch

from altgrad.errors import FormatError
from altgrad.numerics.catalog import formats
from altgrad.numerics.codec import NAN_RUNG, decode, encode, from_rung, to_rung
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.rounding import quantize
from tests.numerics.inputs import hard_values
from tests.numerics.oracle import GRIDS, NAMES, SPECS, assert_same
from tests.numerics.test_format import ML_DTYPES


def _codes(name: str) -> torch.Tensor:
    return torch.arange(formats[name].num_codes, dtype=torch.int32).to(torch.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_decode_and_encode_are_a_bijection(name: str) -> None:
    codes = _codes(name)
    values = decode(codes, name)
    assert_same(values.numpy(), np.array([formats[name].value_of_code(int(c)) for c in codes], dtype=np.float32))
    back = encode(values, name)
    assert back.dtype == torch.uint8
    nan = values.isnan()
    assert torch.equal(back[~nan], codes[~nan])
    assert int(nan.sum()) == SPECS[name].nan_codes
    if SPECS[name].nan_codes:
        assert decode(back[nan], name).isnan().all()


@pytest.mark.parametrize("name", ML_DTYPES)
def test_codes_are_ml_dtypes_bits(name: str) -> None:
    x = hard_values(name, np.float32)
    x = x[np.abs(x) <= formats[name].max]
    theirs = x.astype(ML_DTYPES[name]).view(np.uint8)
    np.testing.assert_array_equal(encode(torch.from_numpy(x), name).numpy(), theirs)


@pytest.mark.parametrize("name", NAMES)
def test_encode_rounds_and_saturates(name: str) -> None:
    x = torch.from_numpy(hard_values(name, np.float32))
    x = x[x.isfinite()]
    assert_same(decode(encode(x, name), name).numpy(), quantize(x, name).numpy())
    infinite = decode(encode(torch.tensor([float("inf"), -float("inf")]), name), name)
    top = float("inf") if formats[name].has_inf else formats[name].max
    assert infinite.tolist() == [top, -top]


@pytest.mark.parametrize("name", NAMES)
def test_rungs_count_the_magnitudes(name: str) -> None:
    fmt, grid = formats[name], GRIDS[name]
    k = torch.arange(-fmt.num_rungs, fmt.num_rungs + 1)
    values = from_rung(k, fmt)
    expected = [float(np.sign(int(i)) * grid.magnitudes[abs(int(i))]) for i in k]
    assert values.tolist() == expected and values.dtype == torch.float32
    rungs = to_rung(values, fmt)
    assert torch.equal(rungs, k.to(torch.int32)) and rungs.dtype == torch.int32
    for dtype in (torch.float64, torch.bfloat16):
        assert torch.equal(to_rung(values.to(dtype), fmt), rungs)
    for scale in (2.0**-40, 0.0037, torch.tensor(3.3)):
        assert torch.equal(to_rung(from_rung(k, fmt, scale), fmt, scale), rungs)


def test_rungs_are_the_low_bits_of_codes() -> None:
    for name in NAMES:
        values = decode(_codes(name), name)
        finite = values.isfinite()
        magnitude = (_codes(name).int() & (formats[name].num_codes // 2 - 1))[finite]
        assert torch.equal(to_rung(values[finite], name).abs(), magnitude)


def test_rungs_by_hand() -> None:
    x = torch.tensor([0.0, -0.0, 2.0**-9, -1.0, 448.0, 1e9, -float("inf"), float("nan"), 1.0624, 1.0626])
    assert to_rung(x, "E4M3").tolist() == [0, 0, 1, -56, 126, 126, -126, NAN_RUNG, 56, 57]
    assert to_rung(torch.tensor([[0.5], [4.0]]), "E0M7", torch.tensor([[1.0], [16.0]])).tolist() == [[64], [32]]


def test_rungs_outside_the_format_are_nan() -> None:
    k = torch.tensor([126, 127, -127, NAN_RUNG], dtype=torch.int32)
    assert_same(from_rung(k, "E4M3").numpy(), np.array([448, np.nan, np.nan, np.nan], dtype=np.float32))


def test_narrow_half_types_do_not_narrow_the_grid() -> None:
    # 65504 in E6M1 is rung 96 (65536), which float16 cannot hold.
    assert to_rung(torch.tensor([65504.0], dtype=torch.float16), "E6M1") == to_rung(torch.tensor([65536.0]), "E6M1")


def test_what_has_no_code_says_so() -> None:
    nan = torch.tensor([1.0, float("nan"), float("nan")])
    with pytest.raises(FormatError) as caught:
        encode(nan, "E2M1")
    assert str(caught.value) == (
        "E2M1: 2 of 3 values are NaN, for which the format has no code. Mend the values, or use a format with has_nan."
    )
    with pytest.raises(FormatError, match=r"E2M1: 16 is not a code of 4 bits. Codes go up to 15\."):
        decode(torch.tensor([3, 16], dtype=torch.uint8), "E2M1")
    with pytest.raises(FormatError, match=r"torch.int64 does not hold codes. Give a uint8 tensor\."):
        decode(torch.tensor([3]), "E2M1")
    with pytest.raises(FormatError, match=r"torch.float32 does not hold rungs. Give an integer tensor\."):
        from_rung(torch.tensor([3.0]), "E2M1")
    for call in (encode, to_rung):
        with pytest.raises(FormatError, match="BF16: a reference format has no codes and no rungs"):
            call(torch.ones(1), "BF16")
    with pytest.raises(FormatError, match="FP16: a reference format has no codes"):
        decode(torch.zeros(1, dtype=torch.uint8), "FP16")


def test_every_small_user_format() -> None:
    for bits in range(2, 8):
        for e in range(bits):
            fmt = FloatFormat("Mine", e, bits - 1 - e, num_high_nans=0)
            codes = torch.arange(fmt.num_codes).to(torch.uint8)
            assert torch.equal(encode(decode(codes, fmt), fmt), codes)


def test_scales_and_empty_tensors() -> None:
    codes = _codes("E3M2")
    assert torch.equal(decode(codes, "E3M2", 0.25), decode(codes, "E3M2") * 0.25)
    assert torch.equal(encode(decode(codes, "E3M2", 0.1), "E3M2", 0.1), codes)
    empty = torch.empty(0)
    assert encode(empty, "E3M2").shape == decode(encode(empty, "E3M2"), "E3M2").shape == (0,)
