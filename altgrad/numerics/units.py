"""Between real values and units of a format: the arithmetic's dtype, and the division by the scale."""

import math

import torch
from torch import Tensor

from altgrad.errors import FormatError

Scale = float | Tensor | None
"""The real value of one unit of a format: None for 1, a number, or a tensor that broadcasts to the values."""

_SMALLEST, _LARGEST = 2.0**-126, torch.finfo(torch.float32).max


def arithmetic_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that computes for values of `dtype`: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_values(x: Tensor, other: Tensor | None = None, name: str = "out") -> None:
    """Refuse what cannot be rounded, and a tensor beside it that is not like it.

    Args:
        x: The values.
        other: What must be like them, or None.
        name: Of `other`, for the message.

    Raises:
        FormatError: If `x` is not a float tensor, or `other` differs from it in shape, dtype or device.
    """
    if not x.is_floating_point():
        raise FormatError("x", f"a tensor of {x.dtype} cannot be rounded", "Give a tensor of a float dtype")
    if other is not None and (other.shape != x.shape or other.dtype != x.dtype or other.device != x.device):
        raise FormatError(
            name,
            f"it is {tuple(other.shape)} of {other.dtype} on {other.device}, the values are {tuple(x.shape)}"
            f" of {x.dtype} on {x.device}",
            "Give a tensor like the values",
        )


def unit_tensor(x: Tensor, scale: Scale) -> Tensor | None:
    """Return a scale as a tensor in the arithmetic's dtype for `x`, or None for 1.

    Raises:
        FormatError: If the scale cannot be used.
    """
    return None if scale is None else scale_tensor(scale, x, arithmetic_dtype(x.dtype))


def to_units(x: Tensor, scale: Scale) -> tuple[Tensor, Tensor | None]:
    """Divide real values by their scale.

    The division is a true one: exact for a power of two wherever it matters (a quotient that underflows is far below
    every format's smallest value), and IEEE float32 division for other scales.

    Args:
        x: Tensor of any float dtype.
        scale: Positive; None for 1.

    Returns:
        The values in units of the format, in the arithmetic's dtype (`x` itself where there is nothing to do), and the
        scale as a tensor of that dtype, or None for 1.

    Raises:
        FormatError: If `x` is not a float tensor or the scale cannot be used.
    """
    check_values(x)
    unit = unit_tensor(x, scale)
    y = x.to(arithmetic_dtype(x.dtype))
    return (y, None) if unit is None else (y / unit, unit)


def scale_tensor(scale: float | Tensor, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a scale as a tensor of `dtype` on `x`'s device that broadcasts to `x`.

    Raises:
        FormatError: If a number is not a positive, normal float32, or a tensor's shape or dtype does not fit.
    """
    if isinstance(scale, Tensor):
        if not scale.is_floating_point():
            raise FormatError("scale", f"a tensor of {scale.dtype} is not a scale", "Give a tensor of a float dtype")
        if scale.ndim and not _broadcasts_to(scale.shape, x.shape):
            raise FormatError(
                "scale",
                f"shape {tuple(scale.shape)} does not broadcast to the values' {tuple(x.shape)}",
                "Give a 0-dim tensor, or one scale a row as (rows, 1)",
            )
        return scale.to(device=x.device, dtype=dtype)
    if not (math.isfinite(scale) and _SMALLEST <= scale <= _LARGEST):
        raise FormatError(
            "scale", f"{scale!r} is not a positive, normal float32", "Give a number from 2^-126 to 3.4e38"
        )
    return torch.full((), scale, dtype=dtype, device=x.device)


def _broadcasts_to(small: torch.Size, large: torch.Size) -> bool:
    """Return whether a tensor of shape `small` broadcasts to exactly `large`."""
    tail = large[len(large) - len(small) :]
    return len(small) <= len(large) and all(a in (1, b) for a, b in zip(small, tail, strict=True))
