"""Properties that hold for every format of 2 to 8 bits, every finite float32 and every power-of-two scale."""

import math
from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from altgrad.numerics.catalog import formats
from altgrad.numerics.codec import decode, encode, from_rung, to_rung
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.geometry import from_rung_position, rung_position, ulp
from altgrad.numerics.rounding import quantize
from tests.numerics.oracle import Grid, assert_same
from tests.numerics.user_formats import spec_of, user_formats

finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
catalog = st.sampled_from([fmt for fmt in formats.values() if not fmt.is_reference])
any_format = st.one_of(catalog, user_formats())


@st.composite
def cases(draw: st.DrawFn) -> tuple[FloatFormat, float, torch.Tensor]:
    """A format, a power of two for its scale, and float32 values: any, and some within the format's range.

    The scale keeps the grid among the normal float32, where the contract holds.
    """
    fmt = draw(any_format)
    low = max(-126, -125 - math.frexp(fmt.smallest_subnormal)[1])
    high = min(126, 126 - math.frexp(fmt.max)[1])
    exponent = draw(st.one_of(st.integers(max(low, -30), min(high, 30)), st.sampled_from([low, high])))
    scale = 2.0**exponent
    places = st.floats(-fmt.num_rungs - 2.0, fmt.num_rungs + 2.0)
    inside = [_value_at(fmt, place) * scale for place in draw(st.lists(places, max_size=20))]
    values = [*draw(st.lists(finite32, min_size=1, max_size=10)), *inside]
    return fmt, scale, torch.tensor(sorted(values), dtype=torch.float64).to(torch.float32)


def _value_at(fmt: FloatFormat, place: float) -> float:
    """Return a value that lies as far between two magnitudes as `place` between two integers."""
    below = int(abs(place))
    low, high = fmt.value_of_magnitude(below), fmt.value_of_magnitude(below + 1)
    return math.copysign(low + (high - low) * (abs(place) - below), place)


@given(cases())
@settings(max_examples=200, deadline=None)
def test_idempotent_monotone_odd_within_half_an_ulp(case: tuple[FloatFormat, float, torch.Tensor]) -> None:
    fmt, scale, x = case
    q = quantize(x, fmt, scale)
    assert torch.equal(quantize(q, fmt, scale), q)
    assert (q.diff() >= 0).all()
    assert torch.equal(quantize(-x, fmt, scale), -q)
    within = x.abs() <= fmt.max * scale
    assert ((q.double() - x.double()).abs() <= ulp(x.double(), fmt, scale) / 2)[within].all()
    assert (q[~within].abs() == fmt.max * scale).all()
    drawn = quantize(q, fmt, scale, "stochastic", generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, q)
    # A draw leaves the value's own gap nowhere, and keeps its sign.
    out = quantize(x, fmt, scale, "stochastic", generator=torch.Generator().manual_seed(1))
    assert ((out.double() - x.double()).abs() < ulp(x.double(), fmt, scale))[within].all()
    assert (out * x.sign() >= 0).all()


@given(cases(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_the_rational_oracle_agrees(case: tuple[FloatFormat, float, torch.Tensor], saturate: bool) -> None:
    fmt, scale, x = case
    grid = Grid(spec_of(fmt))
    with np.errstate(over="ignore", under="ignore"):
        expected = (grid.round(x.double().numpy() / scale, saturate) * scale).astype(np.float32)
    assert_same(quantize(x, fmt, scale, saturate=saturate).numpy(), expected)
    for value, rounded in zip(x.tolist(), expected.tolist(), strict=True):
        code = grid.nearest_code(abs(Fraction(value) / Fraction(scale)))
        if saturate or code <= grid.spec.rungs:
            assert abs(Fraction(rounded)) == grid.magnitudes[min(code, grid.spec.rungs)] * Fraction(scale)


@given(cases(), st.integers(-20, 20))
@settings(max_examples=100, deadline=None)
def test_a_power_of_two_moves_through(case: tuple[FloatFormat, float, torch.Tensor], exponent: int) -> None:
    fmt, scale, x = case
    wide, factor = x.double(), 2.0**exponent
    if 2.0**-126 <= scale * factor < 2.0**127:
        assert torch.equal(quantize(wide * factor, fmt, scale * factor), quantize(wide, fmt, scale) * factor)
        assert torch.equal(ulp(wide * factor, fmt, scale * factor), ulp(wide, fmt, scale) * factor)


@given(any_format)
@settings(max_examples=150, deadline=None)
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
    assert torch.equal(ulp(line[k <= 0][1:], fmt), line[k <= 0].diff())
    assert torch.equal(rung_position(line, fmt), k.float()) and torch.equal(from_rung_position(k.float(), fmt), line)
    assert torch.equal(quantize(line, fmt), line)
    assert line[-1].item() == fmt.max and line[k == 1].item() == fmt.smallest_subnormal
