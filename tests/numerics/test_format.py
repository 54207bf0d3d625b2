"""Formats as data: every derived number against hand-copied tables, gfloat and ml_dtypes."""

import math
import subprocess
import sys
from fractions import Fraction

import gfloat
import gfloat.formats as gf
import ml_dtypes
import numpy as np
import pytest

from altgrad.errors import AltGradError, FormatError
from altgrad.numerics.catalog import EIGHT_SPLITS, formats
from altgrad.numerics.format import FloatFormat
from tests.numerics.oracle import GRIDS, NAMES, SPECS

ML_DTYPES = {
    "E4M3": ml_dtypes.float8_e4m3fn,
    "E5M2": ml_dtypes.float8_e5m2,
    "E3M4IEEE": ml_dtypes.float8_e3m4,
    "E4M3IEEE": ml_dtypes.float8_e4m3,
    "E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "E3M2": ml_dtypes.float6_e3m2fn,
    "E2M3": ml_dtypes.float6_e2m3fn,
    "E2M1": ml_dtypes.float4_e2m1fn,
}
GFLOAT = {
    "E4M3": gf.format_info_ocp_e4m3,
    "E5M2": gf.format_info_ocp_e5m2,
    "E3M2": gf.format_info_ocp_e3m2,
    "E2M3": gf.format_info_ocp_e2m3,
    "E2M1": gf.format_info_ocp_e2m1,
} | {
    f"binary8p{p}{letter}": gf.format_info_p3109(8, p, domain=domain)
    for p in range(1, 8)
    for letter, domain in (("se", gfloat.Domain.Extended), ("sf", gfloat.Domain.Finite))
}

# name: bias, max, smallest subnormal, finite codes, values, Inf codes, NaN codes
TABLE = {
    "E0M7": (1, 127 / 128, 2.0**-7, 256, 255, 0, 0),
    "E1M6": (0, 3.9375, 2.0**-5, 254, 253, 0, 2),
    "E2M5": (1, 7.75, 2.0**-5, 254, 253, 0, 2),
    "E3M4": (3, 30.0, 2.0**-6, 254, 253, 0, 2),
    "E4M3": (7, 448.0, 2.0**-9, 254, 253, 0, 2),
    "E5M2": (15, 57344.0, 2.0**-16, 248, 247, 2, 6),
    "E6M1": (31, 2.0**32, 2.0**-31, 254, 253, 0, 2),
    "E7M0": (63, 2.0**63, 2.0**-62, 254, 253, 0, 2),
}
OTHER_MAXIMA = {
    "E3M4IEEE": 15.5,
    "E4M3IEEE": 240.0,
    "E5M2FN": 98304.0,
    "E4M3FNUZ": 240.0,
    "E5M2FNUZ": 57344.0,
    "E3M2": 28.0,
    "E2M3": 7.5,
    "E2M1": 6.0,
    "BF16": float(ml_dtypes.finfo(ml_dtypes.bfloat16).max),
    "FP16": 65504.0,
}


def test_the_table_of_the_eight_splits() -> None:
    assert tuple(TABLE) == EIGHT_SPLITS
    for name, (bias, maximum, smallest, finite, values, infs, nans) in TABLE.items():
        fmt = formats[name]
        assert (fmt.bias, fmt.max, fmt.smallest_subnormal) == (bias, maximum, smallest)
        assert (fmt.num_finite_codes, fmt.num_values, fmt.num_inf_codes, fmt.num_nan_codes) == (
            finite,
            values,
            infs,
            nans,
        )
        assert (fmt.has_inf, fmt.has_nan) == (infs > 0, nans > 0)


def test_the_other_maxima() -> None:
    assert {name: formats[name].max for name in OTHER_MAXIMA} == OTHER_MAXIMA


def test_the_catalog_is_the_specs_and_two_references() -> None:
    assert set(formats) == {*SPECS, "BF16", "FP16"}
    assert [name for name, fmt in formats.items() if fmt.is_reference] == ["BF16", "FP16"]


@pytest.mark.parametrize("name", NAMES)
def test_every_derived_number_agrees_with_the_spec(name: str) -> None:
    fmt, spec, grid = formats[name], SPECS[name], GRIDS[name]
    assert (fmt.exponent_bits, fmt.mantissa_bits, fmt.bias) == (spec.exponent_bits, spec.mantissa_bits, spec.bias)
    assert fmt.num_rungs == spec.rungs
    assert fmt.num_finite_codes + fmt.num_inf_codes + fmt.num_nan_codes == fmt.num_codes == 2**spec.bits
    assert [Fraction(fmt.value_of_magnitude(k)) for k in range(spec.rungs + 2)] == grid.magnitudes
    assert Fraction(fmt.max) == grid.max
    assert Fraction(fmt.smallest_subnormal) == grid.magnitudes[1]
    assert Fraction(fmt.smallest_normal) == Fraction(2) ** (1 - spec.bias)
    gaps = {b - a for a, b in zip(grid.magnitudes[:-1], grid.magnitudes[1:-1], strict=False)}
    assert fmt.is_uniform == (len(gaps) == 1)
    # The last binade's spacing is the step from max to where overflow is counted.
    assert Fraction(2) ** (fmt.emax - fmt.mantissa_bits) == grid.magnitudes[spec.rungs + 1] - grid.max


@pytest.mark.parametrize("name", ML_DTYPES)
def test_every_code_is_worth_what_ml_dtypes_says(name: str) -> None:
    fmt = formats[name]
    dtype = ML_DTYPES[name]
    theirs = np.arange(fmt.num_codes, dtype=np.uint8).view(dtype).astype(np.float64)
    ours = np.array([fmt.value_of_code(code) for code in range(fmt.num_codes)])
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.signbit(ours) & ~np.isnan(ours), np.signbit(theirs) & ~np.isnan(theirs))
    info = ml_dtypes.finfo(dtype)
    assert fmt.max == float(info.max)
    assert fmt.smallest_normal == float(info.smallest_normal)
    assert fmt.smallest_subnormal == float(info.smallest_subnormal)


@pytest.mark.parametrize("name", GFLOAT)
def test_every_code_is_worth_what_gfloat_says(name: str) -> None:
    fmt, info = formats[name], GFLOAT[name]
    assert (fmt.bits, fmt.bias, fmt.max, fmt.has_negative_zero) == (info.k, info.bias, info.max, info.has_nz)
    assert (fmt.num_nan_codes, fmt.num_inf_codes) == (info.num_nans, info.num_infs)
    theirs = np.array([gfloat.decode_float(info, code).fval for code in range(2**info.k)])
    ours = np.array([fmt.value_of_code(code) for code in range(fmt.num_codes)])
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.signbit(ours) & ~np.isnan(ours), np.signbit(theirs) & ~np.isnan(theirs))


@pytest.mark.parametrize(("name", "dtype"), [("BF16", ml_dtypes.bfloat16), ("FP16", np.float16)])
def test_every_code_of_a_reference_is_worth_what_numpy_says(name: str, dtype: type) -> None:
    with np.errstate(invalid="ignore"):  # signaling NaN
        theirs = np.arange(65536, dtype=np.uint16).view(dtype).astype(np.float64)
    ours = np.array([formats[name].value_of_code(code) for code in range(65536)])
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.signbit(ours) & ~np.isnan(ours), np.signbit(theirs) & ~np.isnan(theirs))


def test_known_equalities() -> None:
    e0m7, e1m6, e7m0 = formats["E0M7"], formats["E1M6"], formats["E7M0"]
    # E1M6 is E0M7 times 4, but for E0M7's top value.
    assert [4 * e0m7.value_of_magnitude(k) for k in range(127)] == [e1m6.value_of_magnitude(k) for k in range(127)]
    assert (e0m7.num_rungs, e1m6.num_rungs) == (127, 126)
    assert [e0m7.value_of_magnitude(k) for k in range(128)] == [k / 128 for k in range(128)]
    assert [e7m0.value_of_magnitude(k) for k in range(1, 127)] == [2.0 ** (k - 63) for k in range(1, 127)]


def test_codes_beyond_the_format_are_refused() -> None:
    with pytest.raises(FormatError, match=r"E2M1: 16 is not a code\. Codes go from 0 to 15\."):
        formats["E2M1"].value_of_code(16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("E8M0", 8, 0), "sign + E=8 + M=0 make 9 bits. Choose E and M so that 2 to 8 bits result."),
        (("Tiny", 0, 0), "sign + E=0 + M=0 make 1 bits"),
        (("Minus", -1, 3), "E=-1, M=3 are not widths. Give two integers of at least 0."),
        (("Half", 2.5, 3), "E=2.5, M=3 are not widths"),
        (("3E", 3, 4), "'3E' is not a name. Start with a letter"),
        (("A b", 3, 4), "'A b' is not a name"),
        (("Deep", 4, 3, 300), "bias=300 puts its values outside the range of float32 arithmetic. Choose a bias from"),
        (("Real", 4, 3, 7.0), "bias=7.0 is not an integer"),
        (("Empty", 0, 1), "1 NaN and 0 Inf codes a sign leave no finite nonzero value"),
        (("Wide", 8, 7, None, True, 127, True, "float16"), "torch_dtype='float16' does not have E=8, M=7"),
    ],
)
def test_formats_that_cannot_exist(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(FormatError) as caught:
        FloatFormat(*arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert isinstance(caught.value, AltGradError) and isinstance(caught.value, ValueError)


def test_every_small_user_format_decodes_every_code() -> None:
    for bits in range(2, 9):
        for e in range(bits):
            fmt = FloatFormat("Mine", e, bits - 1 - e, num_high_nans=0)
            values = [fmt.value_of_code(code) for code in range(fmt.num_codes)]
            assert len(set(values)) == fmt.num_values == 2**bits - 1  # -0 == 0
            assert values[: fmt.num_rungs + 1] == sorted(values[: fmt.num_rungs + 1])
            assert all(math.isfinite(value) for value in values)


def test_a_user_format_that_ml_dtypes_has_too() -> None:
    fmt = FloatFormat("B11", 4, 3, bias=11, num_high_nans=0, has_negative_zero=False)
    theirs = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3b11fnuz).astype(np.float64)
    np.testing.assert_array_equal([fmt.value_of_code(code) for code in range(256)], theirs)


def test_formats_are_values() -> None:
    assert FloatFormat("A", 4, 3) == FloatFormat("A", 4, 3, bias=7)
    assert hash(FloatFormat("A", 4, 3)) == hash(FloatFormat("A", 4, 3, bias=7))
    assert FloatFormat("A", 4, 3) != FloatFormat("A", 4, 3, bias=8)
    with pytest.raises(AttributeError):
        formats["E4M3"].bias = 8  # type: ignore[misc]


def test_formats_need_no_torch() -> None:
    code = "import sys, altgrad.numerics.catalog as c; c.formats['E4M3'].max; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
