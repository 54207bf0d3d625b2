"""User-defined formats: every layout, with the biases that float32's range allows worked out from the definitions."""

from collections.abc import Iterator

from hypothesis import strategies as st

from altgrad.numerics.format import FloatFormat
from tests.numerics.oracle import Grid, Spec

LAYOUTS = [(e, bits - 1 - e) for bits in range(2, 9) for e in range(bits)]


def spec_of(fmt: FloatFormat) -> Spec:
    """Return the format's arguments as the oracle takes them."""
    nans = 2 * fmt.num_high_nans + (not fmt.has_negative_zero)
    return Spec(fmt.exponent_bits, fmt.mantissa_bits, fmt.bias, 2 * fmt.has_inf, nans, fmt.has_negative_zero)


def specials(e: int, m: int) -> Iterator[tuple[bool, int, bool]]:
    """Yield (Inf, NaN codes a sign, -0) for which a layout keeps a finite nonzero value."""
    magnitudes = 2 ** (e + m) - 1
    for has_inf in (False, True):
        for nans in (0, 1, 3):
            if magnitudes - has_inf - nans >= 1:
                yield from ((has_inf, nans, True), (has_inf, nans, False))


def allowed_biases(e: int, m: int, has_inf: bool, nans: int) -> tuple[int, int]:
    """Return the extreme biases.

    The largest leaves a smallest subnormal of 2^-125, half of which is a normal float32. The smallest leaves float32
    room for the rounding's constant: 1.5 * 2^(23 - M) times the binade of the first magnitude beyond max.
    """
    beyond = Grid(Spec(e, m, 0, 2 * has_inf, 2 * nans, True)).magnitudes[-1]
    exponent = beyond.numerator.bit_length() - beyond.denominator.bit_length()  # denominators are powers of two
    return max(exponent, 1) + 23 - m - 127, 126 - m


@st.composite
def user_formats(draw: st.DrawFn) -> FloatFormat:
    """Any format of 2 to 8 bits, at the standard bias, near it, at an extreme one, or anywhere between."""
    e, m = draw(st.sampled_from(LAYOUTS))
    has_inf, nans, negative_zero = draw(st.sampled_from(list(specials(e, m))))
    low, high = allowed_biases(e, m, has_inf, nans)
    standard = 2 ** (e - 1) - 1 if e else 1
    near = st.integers(max(low, standard - 8), min(high, standard + 8))
    bias = draw(st.one_of(near, st.sampled_from([low, high]), st.integers(low, high)))
    return FloatFormat("Mine", e, m, bias, has_inf, nans, has_negative_zero=negative_zero)
