"""The elementwise arithmetic behind rounding, codes and geometry, on the unit grid of a format.

Everything here works on tensors already divided by their scale and already of the arithmetic's dtype (float32, or
float64 for float64 input), and on `Constants`: a format as tensors, 0-dim or broadcastable per row. No function
branches on values or reads one back from a device, so each compiles into one pass.

The rounding adds and subtracts a constant so large that the sum keeps exactly the bits of the format: with
``p = 2^floor(log2 |y|)``, no smaller than the first normal binade, ``(y + K p) - K p`` for ``K = 1.5 * 2^(23 - M)``
rounds to nearest, ties to even, in hardware.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from altgrad.numerics.format import FloatFormat


class Word(NamedTuple):
    """How a float dtype is laid out in an integer of the same width."""

    integer: torch.dtype
    exponent_mask: int
    mantissa_bits: int


WORDS = {
    torch.float32: Word(torch.int32, 0x7F80_0000, 23),
    torch.float64: Word(torch.int64, 0x7FF0_0000_0000_0000, 52),
}
"""Layouts of the dtypes that do the arithmetic."""


class Constants(NamedTuple):
    """A format as tensors in the arithmetic's dtype; `first_bits`, `shift` and `parity` in its integer type.

    Attributes:
        magic: ``K = 1.5 * 2^(mantissa bits of the arithmetic - M)``.
        first: ``2^emin``, the first normal binade (t).
        first_bits: The bits of `first`.
        step: ``2^-M``, the grid spacing within the binade that begins at 1.
        shift: The arithmetic's mantissa bits less M: a shift from exponent bits to rungs.
        last: The number of binades above the first, ``emax - emin``.
        lowest: ``-max``.
        highest: ``max`` (m).
        below: The first value past `lowest`, if the grid went on.
        beyond: The first value past `highest`, if the grid went on.
        overflow: Inf where the format has it, else NaN: what `beyond` stands for.
        parity: For M = 0, what makes an exponent code's parity odd exactly where the code is even; else None.
    """

    magic: Tensor
    first: Tensor
    first_bits: Tensor
    step: Tensor
    shift: Tensor
    last: Tensor
    lowest: Tensor
    highest: Tensor
    below: Tensor
    beyond: Tensor
    overflow: Tensor
    parity: Tensor | None


_CACHE: dict[tuple[FloatFormat, torch.dtype, torch.device], Constants] = {}


def constants(fmt: FloatFormat, dtype: torch.dtype, device: torch.device) -> Constants:
    """Return a format's constants as 0-dim tensors, made once for each format, dtype and device.

    Args:
        fmt: The format.
        dtype: float32 or float64, the dtype of the arithmetic.
        device: Where the tensors live.

    Returns:
        The constants; treat them as read-only.
    """
    key = (fmt, dtype, device)
    found = _CACHE.get(key)
    if found is None:
        # A tensor made in inference mode could not take part in autograd afterwards.
        with torch.inference_mode(False):
            found = _CACHE[key] = _build(fmt, dtype, device)
    return found


def _build(fmt: FloatFormat, dtype: torch.dtype, device: torch.device) -> Constants:
    word = WORDS[dtype]
    free_bits = word.mantissa_bits - fmt.mantissa_bits
    beyond = fmt.value_of_magnitude(fmt.num_rungs + 1)

    def real(value: float) -> Tensor:
        return torch.tensor(value, dtype=dtype, device=device)

    def whole(value: int) -> Tensor:
        return torch.tensor(value, dtype=word.integer, device=device)

    first = real(fmt.smallest_normal)
    return Constants(
        magic=real(1.5 * 2.0**free_bits),
        first=first,
        first_bits=first.view(word.integer),
        step=real(2.0**-fmt.mantissa_bits),
        shift=whole(free_bits),
        last=real(fmt.emax - fmt.emin),
        lowest=real(-fmt.max),
        highest=real(fmt.max),
        below=real(-beyond),
        beyond=real(beyond),
        overflow=real(float("inf") if fmt.has_inf else float("nan")),
        parity=None if fmt.mantissa_bits else whole(_parity_offset(fmt, dtype)),
    )


def _parity_offset(fmt: FloatFormat, dtype: torch.dtype) -> int:
    """Return the offset that turns the arithmetic's exponent code into one more than the format's own."""
    arithmetic_bias = {torch.float32: 127, torch.float64: 1023}[dtype]
    return fmt.bias - arithmetic_bias + 1


def binade(y: Tensor, c: Constants) -> Tensor:
    """Return the bits of ``max(2^floor(log2 |y|), 2^emin)``, as integers; NaN and Inf give those of Inf."""
    word = WORDS[y.dtype]
    # Positive floats order as their bits do, so the maximum is taken on integers.
    return (y.view(word.integer) & word.exponent_mask).clamp_(min=c.first_bits)


def round_nearest_(y: Tensor, sign: Tensor, c: Constants) -> Tensor:
    """Round to the grid in place, ties to the even code.

    Args:
        y: Values within ``[-beyond, beyond]``, or NaN; overwritten. (Working in place halves the time of eager mode,
            most of which is spent on fresh memory.)
        sign: Tensor of the same signs, so that a result of zero keeps its sign.
        c: The format.

    Returns:
        `y`.
    """
    bits = binade(y, c)
    power = bits.view(y.dtype)
    if c.parity is None:
        anchor = power.mul_(c.magic)
    else:
        # Without mantissa bits the neighbors are p and 2p, one of each parity of exponent code, whereas
        # hardware would always take 2p. One more p in the anchor makes it take p, where p's code is even.
        even = ((bits >> c.shift) + c.parity) & 1
        anchor = (c.magic + even).mul_(power)
    # The difference of two equal numbers is +0, whatever y's sign was.
    return y.add_(anchor).sub_(anchor).copysign_(sign)


def round_stochastic_(y: Tensor, sign: Tensor, threshold: Tensor, c: Constants) -> Tensor:
    """Round to a neighbor, up in magnitude where the distance exceeds the threshold.

    Args:
        y: Values within ``[-beyond, beyond]``, or NaN; overwritten.
        sign: Tensor of the same signs, so that a result of zero keeps its sign.
        threshold: Uniform in (0, 1), never 0: a share of the gap between the neighbors, of `y`'s shape.
        c: The format.

    Returns:
        The rounded values; `y` holds nothing of use afterwards.
    """
    gap = binade(y, c).view(y.dtype).mul_(c.step)
    # Exact: the gap is a power of two, and the quotient has no more digits than y.
    steps = y.abs_().div_(gap)
    below = steps.floor()
    # A difference of floats has its exact sign, so its ceiling is 1 above the threshold and 0 up to it.
    up = steps.sub(below).sub_(threshold).ceil_()
    return below.add_(up).mul_(gap).copysign_(sign)


def spacing(y: Tensor, c: Constants) -> Tensor:
    """Return the grid spacing at `y`; beyond max that of the last binade; NaN for NaN."""
    held = y.clamp(max=c.highest).clamp_(min=c.lowest)
    # NaN has the exponent of Inf; adding 0 * NaN, and exact zeros elsewhere, gives it back its name.
    return binade(held, c).view(y.dtype).mul_(c.step).add_(held, alpha=0)


def position(y: Tensor, c: Constants) -> Tensor:
    """Return the signed real-valued rung of `y`: an integer on the grid, linear between, and linear beyond max."""
    bits = binade(y.clamp(max=c.highest).clamp_(min=c.lowest), c)
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
