"""The geometry of a format's number line: spacing, stiffness and position.

`ulp` is the spacing of the grid under a value, `rung_position` the value's place on the number line counted in grid
points, and one is the other's derivative: moving by one `ulp` moves the position by one, within a binade.
"""

import torch
from torch import Tensor

from altgrad.errors import FormatError
from altgrad.numerics.catalog import resolve
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.kernel import from_position, numbers, position, spacing
from altgrad.numerics.units import Scale, arithmetic_dtype, scale_tensor, to_units


def ulp(x: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> Tensor:
    """Return the local grid spacing, ``scale * 2^(max(floor(log2 |x / scale|), emin) - M)``.

    It is constant through the subnormals, defined at 0, and that of the last binade beyond max.

    Args:
        x: Tensor of any float dtype and shape.
        fmt: A format, also a reference format, or its name.
        scale: As in `quantize`.

    Returns:
        float32 tensor (float64 for float64 input) of `x`'s shape, positive; NaN where `x` is NaN.

    Raises:
        FormatError: If `x` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> ulp(torch.tensor([0.0, 1.0, 3.0, 1e9]), "E4M3")
        tensor([1.9531e-03, 1.2500e-01, 2.5000e-01, 3.2000e+01])
    """
    with torch.no_grad():
        y, unit = to_units(x, scale)
        gap = spacing(y, numbers(resolve(fmt), y.dtype))
        return gap if unit is None else gap.mul_(unit)


def stiffness(w: Tensor, mantissa_bits: int) -> Tensor:
    """Return the textbook stiffness ``2^(floor(log2 |w|) - M)``: 0 at 0, with no floor at the subnormals.

    It equals `ulp` on normal values within max; the optimizers use `ulp`.

    Args:
        w: Tensor of any float dtype and shape, finite.
        mantissa_bits: M, at least 0.

    Returns:
        float32 tensor (float64 for float64 input) of `w`'s shape; NaN where `w` is not finite.

    Raises:
        FormatError: If `mantissa_bits` is not an integer of at least 0, or `w` is not a float tensor.

    Example:
        >>> stiffness(torch.tensor([0.0, 1.0, 3.0]), 3)
        tensor([0.0000, 0.1250, 0.2500])
    """
    if type(mantissa_bits) is not int or mantissa_bits < 0:
        raise FormatError("stiffness", f"mantissa_bits={mantissa_bits!r} is not a width", "Give an integer >= 0")
    with torch.no_grad():
        magnitude = to_units(w, None)[0].abs()
        # w = fraction * 2^e with fraction in [1/2, 1): the quotient is a power of two, so the division is exact.
        power = magnitude / (2.0 * torch.frexp(magnitude).mantissa)
        return torch.where(magnitude == 0.0, 0.0, power).mul_(2.0**-mantissa_bits)


def rung_position(x: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> Tensor:
    """Return the real-valued place of `x` on the signed number line, counted in rungs.

    On the grid it is the rung (`to_rung`), between two rungs it is linear, and beyond max it goes on with the last
    binade's spacing, so that `from_rung_position` inverts it to the arithmetic's precision (float32 positions around
    rung 100 are 2^-17 apart).

    Args:
        x: Tensor of any float dtype and shape.
        fmt: A format of up to 8 bits, or its name.
        scale: As in `quantize`.

    Returns:
        float32 tensor (float64 for float64 input) of `x`'s shape; NaN where `x` is NaN.

    Raises:
        FormatError: If the format is a reference, `x` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> rung_position(torch.tensor([0.0, 1.0, 1.0625, -448.0]), "E4M3")
        tensor([   0.0000,   56.0000,   56.5000, -126.0000])
    """
    fmt = with_rungs(fmt)
    with torch.no_grad():
        y, _ = to_units(x, scale)
        return position(y, numbers(fmt, y.dtype))


def from_rung_position(pos: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> Tensor:
    """Return the value at a place on the signed number line: the inverse of `rung_position`.

    Args:
        pos: Tensor of any float dtype and shape, in rungs.
        fmt: A format of up to 8 bits, or its name.
        scale: As in `quantize`; it broadcasts to `pos`.

    Returns:
        float32 tensor (float64 for float64 input) of `pos`'s shape.

    Raises:
        FormatError: If the format is a reference, `pos` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> from_rung_position(torch.tensor([56.5, -126.0]), "E4M3")
        tensor([   1.0625, -448.0000])
    """
    fmt = with_rungs(fmt)
    with torch.no_grad():
        place, _ = to_units(pos, None)
        value = from_position(place, numbers(fmt, place.dtype))
        if scale is not None:
            value.mul_(scale_tensor(scale, pos, arithmetic_dtype(pos.dtype)))
        return value


def with_rungs(fmt: FloatFormat | str) -> FloatFormat:
    """Return the format, or refuse a reference format, which has neither codes nor rungs.

    Raises:
        FormatError: If it is a reference format.
        UnknownFormatError: If no format has that name.
    """
    fmt = resolve(fmt)
    if fmt.is_reference:
        raise FormatError(
            fmt.name, "a reference format has no codes and no rungs", "Use a format of up to 8 bits for these"
        )
    return fmt
