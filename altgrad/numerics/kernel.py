"""The elementwise arithmetic behind rounding, codes and geometry, on the unit grid of a format.

Everything here works on tensors already divided by their scale and already of the arithmetic's dtype (float32, or
float64 for float64 input and for the 16-bit references), and on `Constants`: what a format needs in that arithmetic.
No function branches on values or reads one back from a device, so each compiles into one pass.

The rounding adds and subtracts a constant so large that the sum keeps exactly the bits of the format: with
``p = 2^floor(log2 |y|)``, no smaller than the first normal binade, ``(y + K p) - K p`` for ``K = 1.5 * 2^(23 - M)``
rounds to nearest, ties to even, in hardware.

Run eagerly, every operation is a pass over memory, and rounding is written for few passes. Traced for torch's compiler,
it is written for few instructions (and no call of a vector library, which would spill all registers). Both give the
same bits; the tests hold it. Constants come as numbers, or, for kernels that serve every format with one compiled
version, as tensors.
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor

from altgrad.numerics.format import FloatFormat

Number = float | Tensor
Whole = int | Tensor


class Word(NamedTuple):
    """How a float dtype is laid out in an integer of the same width."""

    integer: torch.dtype
    exponent_mask: int
    sign_mask: int
    mantissa_bits: int
    bias: int


WORDS = {
    torch.float32: Word(torch.int32, 0x7F80_0000, -(2**31), 23, 127),
    torch.float64: Word(torch.int64, 0x7FF0_0000_0000_0000, -(2**63), 52, 1023),
}
"""Layouts of the dtypes that do the arithmetic."""


class Constants(NamedTuple):
    """A format in the arithmetic's dtype, as numbers or as 0-dim tensors.

    Attributes:
        limit: What magnitudes are held to before rounding: max, or without saturation the first value past it.
        highest: ``max``.
        magic: ``K = 1.5 * 2^(mantissa bits of the arithmetic - M)``.
        anchor: What takes the bits of p to those of ``K p``; with M = 0, one more where float and format have exponent
            codes of the same parity.
        parity: 1 for M = 0, where p's own parity enters the anchor, else 0.
        first_bits: The bits of ``2^emin``, the first normal binade.
        last_bits: The bits of ``2^emax``, the last binade.
        step: ``2^-M``, the grid spacing within the binade that begins at 1.
        step_bits: What takes the bits of p to those of the spacing in its binade, by subtraction.
        shift: The arithmetic's mantissa bits less M: a shift from exponent bits to rungs.
        last: The number of binades above the first, ``emax - emin``.
        zero: -0 where the format has it, else +0: added to a result, it keeps or removes the sign of a zero.
        overflow: Without saturation what a result beyond max becomes: Inf where the format has it, else NaN; with it
            None.
    """

    limit: Number
    highest: Number
    magic: Number
    anchor: Whole
    parity: Whole
    first_bits: Whole
    last_bits: Whole
    step: Number
    step_bits: Whole
    shift: Whole
    last: Number
    zero: Number
    overflow: Number | None


class Packed(NamedTuple):
    """Constants as two tensors, which is what kernels take.

    Attributes:
        floats: The real ones, in the arithmetic's dtype.
        integers: The whole ones, in its integer type.
    """

    floats: Tensor
    integers: Tensor

    def unpack(self) -> Constants:
        """Return the constants as 0-dim tensors."""
        real = dict(zip(_REALS, self.floats.unbind(), strict=False))  # all but overflow, where results are held to max
        whole = dict(zip(_WHOLES, self.integers.unbind(), strict=True))
        overflow = real.pop("overflow", None)
        return Constants(**real, **whole, overflow=overflow)


_REALS = ("limit", "highest", "magic", "step", "last", "zero", "overflow")
_WHOLES = ("anchor", "parity", "first_bits", "last_bits", "step_bits", "shift")

_NUMBERS: dict[tuple[FloatFormat, torch.dtype, bool], Constants] = {}
_TENSORS: dict[tuple[FloatFormat, torch.dtype, bool, torch.device], Packed] = {}


def numbers(fmt: FloatFormat, dtype: torch.dtype, saturate: bool = True) -> Constants:
    """Return a format's constants as Python numbers.

    Args:
        fmt: The format.
        dtype: float32 or float64, the dtype of the arithmetic.
        saturate: Whether results beyond max are held there.
    """
    key = (fmt, dtype, saturate)
    if key not in _NUMBERS:
        _NUMBERS[key] = _build(fmt, WORDS[dtype], saturate)
    return _NUMBERS[key]


def tensors(fmt: FloatFormat, dtype: torch.dtype, device: torch.device, saturate: bool = True) -> Packed:
    """Return a format's constants as tensors, for kernels; treat them as read-only.

    Args:
        fmt: The format.
        dtype: float32 or float64, the dtype of the arithmetic.
        device: Where the tensors live.
        saturate: As in `numbers`.
    """
    key = (fmt, dtype, saturate, device)
    if key not in _TENSORS:
        c = numbers(fmt, dtype, saturate)._asdict()
        # A tensor made in inference mode could not take part in autograd afterwards.
        with torch.inference_mode(False):
            reals = [c[name] for name in _REALS if c[name] is not None]
            floats = torch.tensor(reals, dtype=dtype, device=device)
            integers = torch.tensor([c[name] for name in _WHOLES], dtype=WORDS[dtype].integer, device=device)
        _TENSORS[key] = Packed(floats, integers)
    return _TENSORS[key]


def _build(fmt: FloatFormat, word: Word, saturate: bool) -> Constants:
    free_bits = word.mantissa_bits - fmt.mantissa_bits
    beyond = fmt.value_of_magnitude(fmt.num_rungs + 1)
    by_parity = fmt.mantissa_bits == 0
    same_parity = (word.bias - fmt.bias) % 2 == 0
    return Constants(
        limit=fmt.max if saturate else beyond,
        highest=fmt.max,
        magic=1.5 * 2.0**free_bits,
        anchor=(free_bits << word.mantissa_bits) + (1 << (word.mantissa_bits - 1)) + int(by_parity and same_parity),
        parity=int(by_parity),
        first_bits=(fmt.emin + word.bias) << word.mantissa_bits,
        last_bits=(fmt.emax + word.bias) << word.mantissa_bits,
        step=2.0**-fmt.mantissa_bits,
        step_bits=fmt.mantissa_bits << word.mantissa_bits,
        shift=free_bits,
        last=float(fmt.emax - fmt.emin),
        zero=-0.0 if fmt.has_negative_zero else 0.0,
        overflow=None if saturate else float("inf") if fmt.has_inf else float("nan"),
    )


def binade(y: Tensor, c: Constants) -> Tensor:
    """Return the bits of ``max(2^floor(log2 |y|), 2^emin)``, as integers; NaN and Inf give those of Inf."""
    word = WORDS[y.dtype]
    # Positive floats order as their bits do, so the maximum is taken on integers.
    return (y.view(word.integer) & word.exponent_mask).clamp_(min=c.first_bits)


def binades_below_last(y: Tensor, c: Constants) -> Tensor:
    """Return how many binades `y` lies above the last one, at most 0 and at least ``emin - emax``; NaN gives 0."""
    bits = binade(y, c).clamp_(max=c.last_bits)
    return (bits - c.last_bits) >> WORDS[y.dtype].mantissa_bits


def round_nearest(
    source: Tensor, sign: Tensor, c: Constants, out: Tensor | None = None, scratch: Tensor | None = None
) -> Tensor:
    """Round to the grid, ties to the even code.

    Args:
        source: Values in units of the format, in the arithmetic's dtype.
        sign: Tensor of the same signs, so that a result of zero keeps its sign.
        c: The format.
        out: Receives the result, in eager mode; may be `source`, not `sign`.
        scratch: Integers of the same shape, overwritten in eager mode.

    Returns:
        The rounded values.
    """
    word = WORDS[source.dtype]
    if torch.compiler.is_compiling():
        bits = source.view(word.integer)
        magnitude = (bits & ~word.sign_mask).view(source.dtype).clamp(max=c.limit)
        power = binade(magnitude, c)
        anchor = (power + c.anchor + ((power >> word.mantissa_bits) & c.parity)).view(source.dtype)
        rounded = ((magnitude + anchor) - anchor).view(word.integer) | (bits & word.sign_mask)
        return _finish(rounded.view(source.dtype), c)
    # Clamp first: rounding would turn 3e38 into Inf - Inf.
    limit, magic = cast(float, c.limit), cast(float, c.magic)
    y = torch.clamp(source, -limit, limit, out=out)
    power = torch.bitwise_and(y.view(word.integer), word.exponent_mask, out=scratch).clamp_(min=c.first_bits)
    if c.parity:
        # Without mantissa bits the neighbors are p and 2p, one of each parity of exponent code, whereas
        # hardware would always take 2p. One more p in the anchor makes it take p, where p's code is even.
        anchor = ((power >> word.mantissa_bits).bitwise_and_(1).add_(power).add_(c.anchor)).view(y.dtype)
        y.add_(anchor).sub_(anchor)
    else:
        y.add_(power.view(y.dtype), alpha=magic).sub_(power.view(y.dtype), alpha=magic)
    # The difference of two equal numbers is +0, whatever y's sign was.
    return _finish(y.copysign_(sign), c)


def round_stochastic(
    source: Tensor, sign: Tensor, threshold: Tensor, c: Constants, out: Tensor | None = None
) -> Tensor:
    """Round to a neighbor, up in magnitude where the distance exceeds the threshold.

    Args:
        source: As in `round_nearest`.
        sign: As in `round_nearest`.
        threshold: Uniform in (0, 1), never 0: a share of the gap between the neighbors, of `source`'s shape;
            overwritten.
        c: The format.
        out: As in `round_nearest`.

    Returns:
        The rounded values.
    """
    if torch.compiler.is_compiling():
        magnitude = source.abs().clamp(max=c.limit)
        word = WORDS[source.dtype]
        gap = binade(magnitude, c) - c.step_bits
        # The bits of 1 / gap, a power of two.
        steps = magnitude * ((2 * word.bias << word.mantissa_bits) - gap).view(source.dtype)
        below = steps.floor()
        rounded = (below + (steps - below > threshold).to(source.dtype)) * gap.view(source.dtype)
        bits = rounded.view(word.integer) | (source.view(word.integer) & word.sign_mask)
        return _finish(bits.view(source.dtype), c)
    y = torch.abs(source, out=out).clamp_(max=c.limit)
    gap = binade(y, c).view(y.dtype).mul_(c.step)
    # Exact: the gap is a power of two, and the quotient has no more digits than y.
    y.div_(gap)
    below = y.floor()
    # A difference of floats has its exact sign, so its ceiling is 1 above the threshold and 0 up to it.
    torch.sub(below, y, out=y).add_(threshold).neg_().ceil_()
    return _finish(y.add_(below).mul_(gap).copysign_(sign), c)


def _finish(y: Tensor, c: Constants) -> Tensor:
    """Turn what overflowed into its special value, and -0 into +0 where the format has no -0."""
    if c.overflow is not None:
        # beyond * Inf is Inf of the same sign, and beyond * NaN is NaN.
        y = torch.where(y.abs() > c.highest, y * c.overflow, y)
    if isinstance(c.zero, Tensor):
        return y + c.zero
    if math.copysign(1.0, c.zero) < 0.0:
        return y
    # The compiler takes the addition of a number 0 for one of nothing.
    return torch.where(y == 0.0, 0.0, y) if torch.compiler.is_compiling() else y.add_(0.0)


def spacing(y: Tensor, c: Constants) -> Tensor:
    """Return the grid spacing at `y`; beyond max that of the last binade; NaN for NaN."""
    bits = binade(y, c).clamp_(max=c.last_bits)
    # NaN has a binade like any other value here; adding 0 * NaN, and exact zeros elsewhere, gives it back its name.
    held = y.clamp(max=c.highest).clamp_(min=-c.highest)
    return bits.view(y.dtype).mul_(c.step).add_(held, alpha=0)


def position(y: Tensor, c: Constants) -> Tensor:
    """Return the signed real-valued rung of `y`: an integer on the grid, linear between, and linear beyond max."""
    bits = binade(y.clamp(max=c.highest).clamp_(min=-c.highest), c)
    gap = bits.view(y.dtype) * c.step
    below = (bits - c.first_bits) >> c.shift
    return (y.abs().div_(gap)).add_(below).copysign_(y)


def from_position(pos: Tensor, c: Constants) -> Tensor:
    """Return the value at a signed real-valued rung: the inverse of `position`."""
    word = WORDS[pos.dtype]
    rung = pos.abs()
    # The subnormals and the first normal binade share one spacing; each later binade doubles it. NaN, whose
    # integer is undefined, is held to a valid binade here and reaches the result through `rung`.
    binades = (rung * c.step).floor_().sub_(1).nan_to_num_(nan=0.0).clamp_(min=0).clamp_(max=c.last)
    gap = ((binades.to(word.integer) << word.mantissa_bits) + c.first_bits).view(pos.dtype) * c.step
    return rung.sub_(binades.div_(c.step)).mul_(gap).copysign_(pos)
