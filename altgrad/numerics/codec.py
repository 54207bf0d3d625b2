"""Codes and rungs: a format's values as bit patterns, and as signed places on the number line."""

import torch
from torch import Tensor

from altgrad.errors import FormatError
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.geometry import from_rung_position, rung_position, with_rungs
from altgrad.numerics.rounding import quantize
from altgrad.numerics.units import Scale, scale_tensor, to_units

NAN_RUNG = torch.iinfo(torch.int32).min
"""The rung that `to_rung` gives NaN, and that `from_rung` turns back into NaN: divergence stays visible."""

_TABLES: dict[tuple[FloatFormat, torch.device], Tensor] = {}


def to_rung(x: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> Tensor:
    """Return the signed rung of every element: 0 for zero, +-k for the k-th magnitude.

    Values off the grid are rounded to nearest first, and saturate. -0 is rung 0.

    Args:
        x: Tensor of any float dtype and shape.
        fmt: A format of up to 8 bits, or its name.
        scale: As in `quantize`.

    Returns:
        int32 tensor of `x`'s shape within ``[-num_rungs, num_rungs]``, and `NAN_RUNG` for NaN.

    Raises:
        FormatError: If the format is a reference, `x` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> to_rung(torch.tensor([-448.0, -0.0, 1.0, 1.3]), "E4M3")
        tensor([-126,    0,   56,   58], dtype=torch.int32)
    """
    fmt = with_rungs(fmt)
    # In units, a scale that is not a power of two leaves no rounding error behind.
    y, _ = to_units(x.detach(), scale)
    places = rung_position(quantize(y, fmt), fmt)
    return places.nan_to_num_(nan=float(NAN_RUNG)).to(torch.int32)


def from_rung(k: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> Tensor:
    """Return the value of every rung: the inverse of `to_rung`.

    Args:
        k: Integer tensor of any shape.
        fmt: A format of up to 8 bits, or its name.
        scale: As in `quantize`; it broadcasts to `k`.

    Returns:
        float32 tensor of `k`'s shape; NaN where ``|k| > num_rungs``, as for `NAN_RUNG`.

    Raises:
        FormatError: If the format is a reference, `k` is not an integer tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> from_rung(torch.tensor([-126, 0, 56]), "E4M3")
        tensor([-448.,    0.,    1.])
    """
    fmt = with_rungs(fmt)
    if k.is_floating_point() or k.is_complex() or k.dtype == torch.bool:
        raise FormatError("from_rung", f"a tensor of {k.dtype} does not hold rungs", "Give an integer tensor")
    value = from_rung_position(k.to(torch.float32), fmt, scale)
    return value.masked_fill_((k > fmt.num_rungs) | (k < -fmt.num_rungs), float("nan"))


def encode(x: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> Tensor:
    """Return the code of every element.

    Finite values off the grid are rounded to nearest first, and saturate. Inf has its own code where the format has
    one, and saturates elsewhere; -0 becomes 0 where the format lacks it. This reads the tensor back to look for
    NaN, so it waits for the device.

    Args:
        x: Tensor of any float dtype and shape.
        fmt: A format of up to 8 bits, or its name.
        scale: As in `quantize`.

    Returns:
        uint8 tensor of `x`'s shape; narrower formats leave the high bits zero.

    Raises:
        FormatError: If `x` holds NaN and the format has no code for it, or as for `to_rung`.
        UnknownFormatError: If no format has that name.

    Example:
        >>> encode(torch.tensor([1.0, -0.0, float("nan")]), "E4M3")
        tensor([ 56, 128, 127], dtype=torch.uint8)
    """
    fmt = with_rungs(fmt)
    rungs = to_rung(x, fmt, scale)
    magnitudes = rungs.abs()
    if fmt.has_inf:
        magnitudes = torch.where(x.isinf(), fmt.num_rungs + 1, magnitudes)
    negative = x.signbit()
    if not fmt.has_negative_zero:
        negative = negative & (magnitudes != 0)
    codes = magnitudes + (negative.to(torch.int32) << (fmt.bits - 1))
    nan = x.isnan()
    if fmt.nan_code is not None:
        codes = torch.where(nan, fmt.nan_code, codes)
    elif bool(nan.any()):
        raise FormatError(
            fmt.name,
            f"{int(nan.sum())} of {x.numel()} values are NaN, for which the format has no code",
            "Mend the values, or use a format with has_nan",
        )
    return codes.to(torch.uint8)


def decode(codes: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> Tensor:
    """Return the value of every code; with `encode` a bijection on the codes, NaN payloads aside.

    Args:
        codes: uint8 tensor of any shape.
        fmt: A format of up to 8 bits, or its name.
        scale: As in `quantize`; it broadcasts to `codes`.

    Returns:
        float32 tensor of `codes`' shape.

    Raises:
        FormatError: If the format is a reference, `codes` is not uint8 or holds a code beyond the format's bits.
        UnknownFormatError: If no format has that name.

    Example:
        >>> decode(torch.tensor([56, 128, 127], dtype=torch.uint8), "E4M3")
        tensor([1., -0., nan])
    """
    fmt = with_rungs(fmt)
    if codes.dtype != torch.uint8:
        raise FormatError("decode", f"a tensor of {codes.dtype} does not hold codes", "Give a uint8 tensor")
    if fmt.bits < 8 and codes.numel() and int(codes.max()) >= fmt.num_codes:
        raise FormatError(
            fmt.name, f"{int(codes.max())} is not a code of {fmt.bits} bits", f"Codes go up to {fmt.num_codes - 1}"
        )
    values = _table(fmt, codes.device)[codes.to(torch.int64)]
    return values if scale is None else values.mul_(scale_tensor(scale, codes, torch.float32))


def _table(fmt: FloatFormat, device: torch.device) -> Tensor:
    """Return the value of every code as a float32 tensor of shape (2^bits,), made once."""
    key = (fmt, device)
    if key not in _TABLES:
        with torch.inference_mode(False):
            values = [fmt.value_of_code(code) for code in range(fmt.num_codes)]
            _TABLES[key] = torch.tensor(values, dtype=torch.float32, device=device)
    return _TABLES[key]
