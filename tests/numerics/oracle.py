"""An exact oracle for rounding, from the definitions alone: rationals and bisection, nothing of altgrad's arithmetic.

`Grid` is built from a table of (E, M, bias, number of positive magnitudes) that is copied by hand from the standards.
"""

import bisect
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property

import numpy as np
import torch


@dataclass(frozen=True)
class Spec:
    """What the standards say: E, M, bias, Inf codes, NaN codes, whether -0 exists."""

    exponent_bits: int
    mantissa_bits: int
    bias: int
    inf_codes: int
    nan_codes: int
    negative_zero: bool

    @property
    def bits(self) -> int:
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def rungs(self) -> int:
        finite = 2**self.bits - self.inf_codes - self.nan_codes
        return (finite - (2 if self.negative_zero else 1)) // 2


SPECS = {
    "E0M7": Spec(0, 7, 1, 0, 0, True),
    "E1M6": Spec(1, 6, 0, 0, 2, True),
    "E2M5": Spec(2, 5, 1, 0, 2, True),
    "E3M4": Spec(3, 4, 3, 0, 2, True),
    "E4M3": Spec(4, 3, 7, 0, 2, True),
    "E5M2": Spec(5, 2, 15, 2, 6, True),
    "E6M1": Spec(6, 1, 31, 0, 2, True),
    "E7M0": Spec(7, 0, 63, 0, 2, True),
    "E3M4IEEE": Spec(3, 4, 3, 2, 30, True),
    "E4M3IEEE": Spec(4, 3, 7, 2, 14, True),
    "E5M2FN": Spec(5, 2, 15, 0, 2, True),
    "E4M3FNUZ": Spec(4, 3, 8, 0, 1, False),
    "E5M2FNUZ": Spec(5, 2, 16, 0, 1, False),
    "binary8p1se": Spec(7, 0, 64, 2, 1, False),
    "binary8p1sf": Spec(7, 0, 64, 0, 1, False),
    "binary8p2se": Spec(6, 1, 32, 2, 1, False),
    "binary8p2sf": Spec(6, 1, 32, 0, 1, False),
    "binary8p3se": Spec(5, 2, 16, 2, 1, False),
    "binary8p3sf": Spec(5, 2, 16, 0, 1, False),
    "binary8p4se": Spec(4, 3, 8, 2, 1, False),
    "binary8p4sf": Spec(4, 3, 8, 0, 1, False),
    "binary8p5se": Spec(3, 4, 4, 2, 1, False),
    "binary8p5sf": Spec(3, 4, 4, 0, 1, False),
    "binary8p6se": Spec(2, 5, 2, 2, 1, False),
    "binary8p6sf": Spec(2, 5, 2, 0, 1, False),
    "binary8p7se": Spec(1, 6, 1, 2, 1, False),
    "binary8p7sf": Spec(1, 6, 1, 0, 1, False),
    "E3M2": Spec(3, 2, 3, 0, 0, True),
    "E2M3": Spec(2, 3, 1, 0, 0, True),
    "E2M1": Spec(2, 1, 1, 0, 0, True),
}
NAMES = tuple(SPECS)
# The references: bfloat16, and IEEE 754-2019's binary16.
REFERENCES = {"BF16": Spec(8, 7, 127, 2, 254, True), "FP16": Spec(5, 10, 15, 2, 2046, True)}


class Grid:
    """The magnitudes of a format as exact rationals, and rounding to them."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        # One magnitude more than the format has: where overflow begins to be counted.
        self.magnitudes = [self._magnitude(code) for code in range(spec.rungs + 2)]
        self.max = self.magnitudes[spec.rungs]

    def _magnitude(self, code: int) -> Fraction:
        spec = self.spec
        e, m = divmod(code, 2**spec.mantissa_bits)
        fraction = Fraction(m, 2**spec.mantissa_bits)
        if e == 0:
            return Fraction(2) ** (1 - spec.bias) * fraction
        return Fraction(2) ** (e - spec.bias) * (1 + fraction)

    def nearest_code(self, magnitude: Fraction) -> int:
        """Return the code of the nearest magnitude, ties to the even code; rungs + 1 means beyond max."""
        code = bisect.bisect_left(self.magnitudes, magnitude)
        if code == len(self.magnitudes):
            return code - 1
        if code == 0 or self.magnitudes[code] == magnitude:
            return code
        below, above = magnitude - self.magnitudes[code - 1], self.magnitudes[code] - magnitude
        if below == above:
            return code - 1 if (code - 1) % 2 == 0 else code
        return code - 1 if below < above else code

    @cached_property
    def midpoints(self) -> list[Fraction]:
        """The midpoint above each magnitude, the last being that of overflow."""
        pairs = zip(self.magnitudes, self.magnitudes[1:], strict=False)
        return [(a + b) / 2 for a, b in pairs]

    @cached_property
    def _midpoints64(self) -> np.ndarray:
        exact = np.array([float(value) for value in self.midpoints])
        assert [Fraction(value) for value in exact] == self.midpoints
        return exact

    @cached_property
    def _values64(self) -> np.ndarray:
        exact = np.array([float(value) for value in self.magnitudes])
        assert [Fraction(value) for value in exact] == self.magnitudes
        return exact

    def round(self, x: np.ndarray, saturate: bool) -> np.ndarray:
        """Round a float64 array: `nearest_code` for arrays, with signs, Inf and NaN. Comparisons alone are exact."""
        magnitude = np.abs(x)
        code = np.searchsorted(self._midpoints64, magnitude, side="left")
        tie = code < len(self._midpoints64)
        tie[tie] = self._midpoints64[code[tie]] == magnitude[tie]
        code = np.where(tie & (code % 2 == 1), code + 1, code)
        values = self._values64[np.minimum(code, self.spec.rungs + 1)]
        over = code > self.spec.rungs
        values[over] = float(self.max) if saturate else (np.inf if self.spec.inf_codes else np.nan)
        signed = np.copysign(values, x)
        if not self.spec.negative_zero:
            signed = np.where(signed == 0, 0.0, signed)
        return np.where(np.isnan(x), np.nan, signed)


GRIDS = {name: Grid(spec) for name, spec in SPECS.items()}


@cache
def grid_of(name: str) -> Grid:
    """Return a format's grid; those of the references are large, and made when they are asked for."""
    return GRIDS[name] if name in GRIDS else Grid(REFERENCES[name])


def quantized(name: str, x: torch.Tensor, scale: float | np.ndarray = 1.0, saturate: bool = True) -> torch.Tensor:
    """Return what `quantize` is defined to be: a division, the exact rounding, a multiplication, the cast to x's dtype.

    The arithmetic is float64 for float64 values, else float32; references round what float32 holds.
    """
    wide = np.float64 if x.dtype == torch.float64 else np.float32
    values, unit = x.to(torch.float64).numpy().astype(wide), np.asarray(scale, dtype=wide)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        units = values / unit
        units = units.astype(np.float32) if name in REFERENCES else units
        rounded = grid_of(name).round(np.atleast_1d(units).astype(np.float64), saturate)
        result = rounded.reshape(x.shape).astype(wide) * unit
    return torch.from_numpy(np.asarray(result)).to(x.dtype)


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Assert equality bit for bit, the sign of zero included; any NaN equals any NaN."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    differ = (actual != expected) | (np.signbit(actual) != np.signbit(expected))
    differ &= ~(np.isnan(actual) & np.isnan(expected))
    where = np.flatnonzero(differ)[:5]
    assert not where.size, (where, actual.ravel()[where], expected.ravel()[where])


def assert_same_tensor(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Assert for tensors, of half types too, what `assert_same` asserts."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    same = (actual == expected) & (actual.signbit() == expected.signbit()) | actual.isnan() & expected.isnan()
    if not same.all():
        assert_same(actual.double().numpy(), expected.double().numpy())
