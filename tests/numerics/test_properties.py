"""Properties that hold for every format of 2 to 8 bits, every finite float32 and every power-of-two scale."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from altgrad.numerics.catalog import formats
from altgrad.numerics.codec import decode, encode, from_rung, to_rung
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.geometry import ulp
from altgrad.numerics.rounding import quantize

finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
catalog = st.sampled_from([fmt for fmt in formats.values() if not fmt.is_reference])


@st.composite
def user_formats(draw: st.DrawFn) -> FloatFormat:
    bits = draw(st.integers(2, 8))
    e = draw(st.integers(0, bits - 1))
    m = bits - 1 - e
    magnitudes = 2 ** (bits - 1) - 1
    has_inf = draw(st.booleans()) and magnitudes > 1
    nans = draw(st.integers(0, min(3, magnitudes - 1 - has_inf)))
    standard = 2 ** (e - 1) - 1 if e else 1
    bias = standard + draw(st.integers(-8, 8))
    return FloatFormat("Mine", e, m, bias, has_inf, nans, has_negative_zero=draw(st.booleans()))


any_format = st.one_of(catalog, user_formats())


@given(any_format, st.lists(finite32, min_size=1, max_size=30), st.integers(-30, 30), st.booleans())
@settings(max_examples=150, deadline=None)
def test_idempotent_monotone_odd_within_half_an_ulp(
    fmt: FloatFormat, values: list[float], exponent: int, stochastic: bool
) -> None:
    scale = 2.0**exponent
    x = torch.tensor(sorted(values), dtype=torch.float32)
    q = quantize(x, fmt, scale)
    assert torch.equal(quantize(q, fmt, scale), q)
    assert (q.diff() >= 0).all()
    assert torch.equal(quantize(-x, fmt, scale), -q)
    within = x.abs() <= fmt.max * scale
    assert ((q.double() - x.double()).abs() <= ulp(x.double(), fmt, scale) / 2)[within].all()
    assert (q[~within].abs() == fmt.max * scale).all()
    if stochastic:
        drawn = quantize(q, fmt, scale, "stochastic", generator=torch.Generator().manual_seed(0))
        assert torch.equal(drawn, q)


@given(any_format, st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), st.integers(-20, 20))
@settings(max_examples=100, deadline=None)
def test_a_power_of_two_moves_through(fmt: FloatFormat, values: list[float], exponent: int) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    factor = 2.0**exponent
    assert torch.equal(quantize(x * factor, fmt, factor), quantize(x, fmt) * factor)


@given(any_format)
@settings(max_examples=100, deadline=None)
def test_codes_and_rungs_are_bijections_and_ulps_are_gaps(fmt: FloatFormat) -> None:
    codes = torch.arange(fmt.num_codes).to(torch.uint8)
    values = decode(codes, fmt)
    known = ~values.isnan()
    assert int((~known).sum()) == fmt.num_nan_codes
    assert torch.equal(encode(values[known], fmt), codes[known])
    k = torch.arange(-fmt.num_rungs, fmt.num_rungs + 1, dtype=torch.int32)
    line = from_rung(k, fmt)
    assert torch.equal(to_rung(line, fmt), k)
    assert (line.diff() > 0).all()
    assert torch.equal(ulp(line[k >= 0][:-1], fmt), line[k >= 0].diff())
    assert torch.equal(quantize(line, fmt), line)
    assert math.isclose(line[-1].item(), fmt.max) and line[k == 1].item() == fmt.smallest_subnormal
