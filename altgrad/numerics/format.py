"""A number format is data: one frozen dataclass, every limit a derived property. Free of torch.

The bit layout is sign, exponent, mantissa, from the top. A value with exponent code ``e > 0`` is
``(-1)^s * 2^(e - bias) * (1 + m / 2^M)``; with ``e = 0`` it is subnormal, ``(-1)^s * 2^(1 - bias) * m / 2^M``.
The special codes lie at the top of each sign: Inf (where there is one) next above the largest finite magnitude,
the NaNs above it. The low bits of a code therefore count the magnitudes from zero, and this count is the *rung*.
"""

import math
import re
from dataclasses import dataclass

from altgrad.errors import FormatError

# What torch's own cast rounds: dtype name -> (exponent bits, mantissa bits).
_TORCH_LAYOUTS = {"bfloat16": (8, 7), "float16": (5, 10)}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
# Float32 does the arithmetic: the exponent of its second normal binade, so that half of a smallest value is normal too
# and a division by a scale loses nothing there; its largest exponent; its mantissa bits.
_F32_LOWEST, _F32_EMAX, _F32_MANTISSA = -125, 127, 23


@dataclass(frozen=True)
class FloatFormat:
    """A signed floating-point (or, with no exponent bits, fixed-point) format of 2 to 8 bits.

    The defaults follow OCP OFP8's E4M3 rule ("fn"): no Inf, the top code of each sign is NaN, -0 exists.

    Args:
        name: Name for look-up, tables and run ids: a letter, then letters, digits, ``_``, ``.`` or ``-``.
        exponent_bits: Width E of the exponent field; 0 makes the format fixed point.
        mantissa_bits: Width M of the mantissa field.
        bias: Exponent bias; left out, ``2^(E-1) - 1``, and 1 for E = 0 (so that E0M7 is ``m / 128``).
        has_inf: Whether the code above the largest finite magnitude of each sign is Inf.
        num_high_nans: How many codes at the top of each sign are NaN.
        has_negative_zero: Whether the sign bit alone is -0; otherwise it is NaN (FNUZ, P3109).
        torch_dtype: ``"bfloat16"`` or ``"float16"`` marks a 16-bit reference format, which is rounded
            like torch's own cast and has no codes or rungs here.
        source: The standard or tool that the definition comes from.
        aliases: Other names for look-up.

    Raises:
        FormatError: If no such format can exist, or float32 arithmetic cannot hold it.

    Example:
        >>> fmt = FloatFormat("E4M3", 4, 3)
        >>> fmt.bias, fmt.max, fmt.smallest_normal, fmt.smallest_subnormal, fmt.num_rungs
        (7, 448.0, 0.015625, 0.001953125, 126)
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int = None  # type: ignore[assignment]  # None, the default only, asks for the standard bias
    has_inf: bool = False
    num_high_nans: int = 1
    has_negative_zero: bool = True
    torch_dtype: str | None = None
    source: str = "user-defined"
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Fill in the standard bias and refuse what cannot exist."""
        for label in (self.name, *self.aliases):
            if not isinstance(label, str) or not _NAME.fullmatch(label):
                raise FormatError(
                    "format name", f"{label!r} is not a name", "Start with a letter; go on with A-Z, 0-9, _ . -"
                )
        self._check_layout()
        if self.bias is None:
            standard = 2 ** (self.exponent_bits - 1) - 1 if self.exponent_bits else 1
            object.__setattr__(self, "bias", standard)
        self._check_specials()
        if self.torch_dtype is None:
            self._check_range()

    def _check_layout(self) -> None:
        """Refuse widths that are not 2 to 8 bits, or not those of the torch dtype."""
        e, m = self.exponent_bits, self.mantissa_bits
        if not all(type(width) is int and width >= 0 for width in (e, m)):
            raise FormatError(self.name, f"E={e!r}, M={m!r} are not widths", "Give two integers of at least 0")
        if self.torch_dtype is not None:
            if _TORCH_LAYOUTS.get(self.torch_dtype) != (e, m):
                raise FormatError(
                    self.name,
                    f"torch_dtype={self.torch_dtype!r} does not have E={e}, M={m}",
                    f"Known layouts (E, M): {_TORCH_LAYOUTS}; leave torch_dtype out for formats of 2 to 8 bits",
                )
        elif not 2 <= 1 + e + m <= 8:
            raise FormatError(
                self.name, f"sign + E={e} + M={m} make {1 + e + m} bits", "Choose E and M so that 2 to 8 bits result"
            )

    def _check_specials(self) -> None:
        """Refuse special codes that leave no finite nonzero value."""
        if type(self.bias) is not int:
            raise FormatError(self.name, f"bias={self.bias!r} is not an integer", "Give an integer bias")
        if type(self.num_high_nans) is not int or self.num_high_nans < 0:
            raise FormatError(
                self.name, f"num_high_nans={self.num_high_nans!r} is not a count", "Give an integer of at least 0"
            )
        if self.num_rungs < 1:
            raise FormatError(
                self.name,
                f"{self.num_high_nans} NaN and {int(self.has_inf)} Inf codes a sign leave no finite nonzero value",
                "Lower num_high_nans, or set has_inf=False",
            )

    def _check_range(self) -> None:
        """Refuse a bias that puts values, or the rounding's constants, outside float32's normal range."""
        lowest = self.emin - self.mantissa_bits
        # Rounding adds 1.5 * 2^(23 - M) times the binade of the first magnitude beyond max.
        beyond = math.frexp(self.value_of_magnitude(self.num_rungs + 1))[1] - 1
        highest = max(beyond, self.emin) + _F32_MANTISSA - self.mantissa_bits
        if lowest < _F32_LOWEST or highest > _F32_EMAX:
            low = self.bias - (_F32_EMAX - highest)
            high = self.bias + (lowest - _F32_LOWEST)
            raise FormatError(
                self.name,
                f"bias={self.bias} puts its values outside the range of float32 arithmetic",
                f"Choose a bias from {low} to {high}, and use a scale for the rest",
            )

    @property
    def bits(self) -> int:
        """Width in bits, the sign included."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def is_reference(self) -> bool:
        """Whether this is a 16-bit reference, rounded as torch's own cast rounds, without codes or rungs."""
        return self.torch_dtype is not None

    @property
    def emin(self) -> int:
        """Exponent of the subnormals and of the first normal binade, ``1 - bias``."""
        return 1 - self.bias

    @property
    def emax(self) -> int:
        """Exponent of the grid's last binade; `emin` where all values are subnormal (E0M7)."""
        return max(self.num_rungs >> self.mantissa_bits, 1) - self.bias

    @property
    def max(self) -> float:
        """Largest finite value."""
        return self.value_of_magnitude(self.num_rungs)

    @property
    def smallest_normal(self) -> float:
        """Smallest normal value, ``2^emin``; in a format without normals, where they would begin."""
        return math.ldexp(1.0, self.emin)

    @property
    def smallest_subnormal(self) -> float:
        """Smallest positive value, ``2^(emin - M)``; with no mantissa bits it is the smallest normal value."""
        return math.ldexp(1.0, self.emin - self.mantissa_bits)

    @property
    def has_nan(self) -> bool:
        """Whether some code is NaN."""
        return self.num_nan_codes > 0

    @property
    def num_codes(self) -> int:
        """Number of codes, ``2^bits``."""
        return int(1 << self.bits)

    @property
    def num_rungs(self) -> int:
        """Number of positive finite magnitudes."""
        return (1 << (self.bits - 1)) - 1 - self.num_high_nans - int(self.has_inf)

    @property
    def num_values(self) -> int:
        """Number of distinct finite values; -0 and +0 are one value."""
        return 2 * self.num_rungs + 1

    @property
    def num_finite_codes(self) -> int:
        """Number of codes with a finite value; -0 has its own code where it exists."""
        return self.num_values + int(self.has_negative_zero)

    @property
    def num_inf_codes(self) -> int:
        """Number of Inf codes, both signs together."""
        return 2 * int(self.has_inf)

    @property
    def num_nan_codes(self) -> int:
        """Number of NaN codes, both signs together."""
        return 2 * self.num_high_nans + int(not self.has_negative_zero)

    @property
    def is_uniform(self) -> bool:
        """Whether all neighboring values are equally far apart (E0M7, E1M6)."""
        return self.emax == self.emin

    @property
    def nan_code(self) -> int | None:
        """The code that NaN is encoded to, or None where the format has none."""
        if self.num_high_nans:
            return (1 << (self.bits - 1)) - 1
        return None if self.has_negative_zero else 1 << (self.bits - 1)

    def value_of_magnitude(self, k: int) -> float:
        """Return the value of magnitude code `k`, which is rung `k`, exactly.

        Args:
            k: At least 0. Counts above `num_rungs` continue the grid as if no code were special: the first of
                them is where rounding without saturation overflows to.

        Returns:
            The value in real units.
        """
        exponent_code, mantissa = k >> self.mantissa_bits, k & ((1 << self.mantissa_bits) - 1)
        significand = mantissa + (1 << self.mantissa_bits if exponent_code else 0)
        return math.ldexp(significand, max(exponent_code, 1) - self.bias - self.mantissa_bits)

    def value_of_code(self, code: int) -> float:
        """Return what `code` stands for: a finite value, an Inf or NaN.

        Args:
            code: From 0 to ``2^bits - 1``.

        Raises:
            FormatError: If `code` is outside that range.
        """
        if not 0 <= code < self.num_codes:
            raise FormatError(self.name, f"{code} is not a code", f"Codes go from 0 to {self.num_codes - 1}")
        sign_bit = 1 << (self.bits - 1)
        sign, k = (-1.0 if code & sign_bit else 1.0), code & (sign_bit - 1)
        if code == sign_bit and not self.has_negative_zero:
            return math.nan
        if k <= self.num_rungs:
            return sign * self.value_of_magnitude(k)
        return sign * math.inf if self.has_inf and k == self.num_rungs + 1 else math.nan
