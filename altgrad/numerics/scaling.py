"""Scales: from a tensor's largest magnitude to the real value of one unit, with the state that it takes.

Delayed scaling follows the FP8 recipe of NVIDIA's Transformer Engine (Micikevicius et al. 2022, arXiv:2209.05433,
section 3): the scale of a step comes from the largest magnitudes of earlier steps.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from altgrad.errors import FormatError
from altgrad.numerics.catalog import resolve
from altgrad.numerics.format import FloatFormat

ScalingMode = Literal["delayed", "current", "none"]

# Marks an entry of the history that holds no amax yet.
_EMPTY = -1.0
# The largest power of two in float32.
_LARGEST_SCALE = 2.0**127


def scale_from_amax(
    amax: Tensor, fmt: FloatFormat | str, power_of_two: bool = True, amax_target: float | None = None
) -> Tensor:
    """Return the scale that maps a largest magnitude onto a format's max.

    By default ``2^ceil(log2(amax / max))``: a power of two is exact and leaves the mantissa geometry alone. The
    result is at least ``2^-126 / smallest_subnormal``, so that no value of the grid is subnormal in float32.

    Args:
        amax: Largest magnitudes, float32 tensor of any shape, at least 0.
        fmt: A format or its name.
        power_of_two: False takes ``amax / max`` as it is.
        amax_target: The magnitude, in units of the format, that `amax` is mapped onto; the format's max if None.

    Returns:
        float32 tensor of `amax`'s shape; 1 where `amax` is 0, NaN where it is not finite.

    Raises:
        FormatError: If `amax_target` is not positive and at most the format's max.
        UnknownFormatError: If no format has that name.

    Example:
        >>> scale_from_amax(torch.tensor([448.0, 449.0, 0.0]), "E4M3")
        tensor([1., 2., 1.])
    """
    fmt = resolve(fmt)
    target = _checked_target(fmt, amax_target)
    if fmt.is_reference:
        return torch.ones_like(amax, dtype=torch.float32)
    ratio = amax.to(torch.float32) / target
    scale = _power_of_two_above(ratio) if power_of_two else ratio
    scale = scale.clamp(min=2.0**-126 / fmt.smallest_subnormal, max=_LARGEST_SCALE)
    scale = torch.where(amax == 0.0, 1.0, scale)
    return torch.where(amax.isfinite(), scale, torch.nan)


def _power_of_two_above(x: Tensor) -> Tensor:
    """Return the smallest power of two not under a positive float32, exactly; 0 and subnormals give 0 or 2^-126."""
    bits = x.view(torch.int32)
    # Any mantissa bit carries into the exponent field.
    return ((bits + 0x007F_FFFF) & 0x7F80_0000).view(torch.float32)


def _checked_target(fmt: FloatFormat, amax_target: float | None) -> float:
    """Return the magnitude in units that amax is mapped onto."""
    if amax_target is None:
        return fmt.max
    if not 0.0 < amax_target <= fmt.max:
        raise FormatError(
            "amax_target", f"{amax_target!r} is not a magnitude of {fmt.name}", f"Give at most its max, {fmt.max:g}"
        )
    return amax_target


class Scaler(nn.Module):
    """The scale of one tensor, and the rule by which it advances.

    All state lives in buffers: it is saved and restored with the model, stays float32 when the model is cast, and
    never moves in eval mode. Nothing here waits for the device.

    Args:
        fmt: A format or its name; a reference format always has scale 1.
        mode: ``"delayed"`` takes the scale from the largest amax of earlier calls of `advance`, ``"current"`` from
            this call's, ``"none"`` leaves it at 1.
        history: How many earlier amaxes delayed scaling remembers.
        per_row: One scale for each row (output channel) of a matrix instead of one for the tensor.
        power_of_two: As in `scale_from_amax`.
        amax_target: As in `scale_from_amax`.
        rows: Number of rows; needed with `per_row`.

    Attributes:
        fmt: The format.
        scale: float32 buffer, 0-dim or (rows, 1): the real value of one unit.
        amax_history: In delayed mode only, float32 buffer (history,) or (history, rows), newest first; -1 is empty.

    Raises:
        FormatError: If a setting is outside its range.
        UnknownFormatError: If no format has that name.
    """

    scale: Tensor
    amax_history: Tensor

    def __init__(
        self,
        fmt: FloatFormat | str,
        mode: ScalingMode = "delayed",
        history: int = 16,
        per_row: bool = False,
        power_of_two: bool = True,
        amax_target: float | None = None,
        rows: int | None = None,
    ) -> None:
        super().__init__()
        self.fmt = resolve(fmt)
        _check_settings(mode, history, per_row, rows)
        _checked_target(self.fmt, amax_target)
        self.mode: ScalingMode = "none" if self.fmt.is_reference else mode
        self.history = history
        self.per_row = per_row
        self.power_of_two = power_of_two
        self.amax_target = amax_target
        row_shape = (rows,) if per_row and rows is not None else ()
        self.register_buffer("scale", torch.ones((*row_shape, 1) if per_row else ()))
        if self.mode == "delayed":
            self.register_buffer("amax_history", torch.full((history, *row_shape), _EMPTY))

    def extra_repr(self) -> str:
        """Return the settings for the module's printed form."""
        shape = ", per_row" if self.per_row else ""
        return f"{self.fmt.name}, {self.mode}{shape}"

    def amax_of(self, x: Tensor) -> Tensor:
        """Return the largest magnitude of `x` in the shape that `advance` takes.

        Args:
            x: Tensor of any float dtype; (rows, columns) with `per_row`.

        Returns:
            float32 tensor, 0-dim or (rows, 1); 0 for an empty tensor, NaN if `x` holds NaN.

        Raises:
            FormatError: If `per_row` and `x` does not have that many rows.
        """
        magnitude = x.detach().abs()
        if not self.per_row:
            return (magnitude.amax() if x.numel() else magnitude.new_zeros(())).to(torch.float32)
        if x.ndim != 2 or x.shape[0] != self.scale.shape[0]:
            raise FormatError(
                "scaler", f"shape {tuple(x.shape)} does not have {self.scale.shape[0]} rows", "Give a matrix of them"
            )
        return (magnitude.amax(1, keepdim=True) if x.numel() else torch.zeros_like(self.scale)).to(torch.float32)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Take the scale from `x` itself, and in delayed mode remember its amax as the first of the history.

        Args:
            x: The tensor that the scale is for, as in `amax_of`.
        """
        if self.mode == "none":
            return
        amax = self.amax_of(x)
        if self.mode == "delayed":
            self.amax_history.fill_(_EMPTY)
            self.amax_history[0] = _finite_or_empty(amax).view_as(self.amax_history[0])
        self._set_scale(amax)

    @torch.no_grad()
    def advance(self, amax: Tensor) -> None:
        """Advance by one optimizer step; in eval mode nothing moves.

        An amax that is not finite sets no scale and is not remembered: the scale stays, and the values themselves
        show the divergence.

        Args:
            amax: Largest magnitude of the tensor that this step is about to store, from `amax_of`.
        """
        if not self.training or self.mode == "none":
            return
        source = amax
        if self.mode == "delayed":
            earlier = self.amax_history.amax(0).view_as(self.scale)
            source = torch.where(earlier < 0.0, amax, earlier)
        self._set_scale(source)
        self.remember(amax)

    @torch.no_grad()
    def advance_ahead(self) -> None:
        """Advance to the scale that earlier steps decide, before this step's amax is known; then `remember` that.

        Delayed mode alone can, and an empty history leaves the scale where it is. In eval mode nothing moves.
        """
        if self.training and self.mode == "delayed":
            earlier = self.amax_history.amax(0).view_as(self.scale)
            self._set_scale(torch.where(earlier < 0.0, torch.nan, earlier))

    @torch.no_grad()
    def remember(self, amax: Tensor) -> None:
        """Push an amax in front of the history of delayed scaling; one that is not finite counts as empty.

        Args:
            amax: As in `advance`.
        """
        if not self.training or self.mode != "delayed":
            return
        entry = _finite_or_empty(amax).view_as(self.amax_history[0])
        self.amax_history.copy_(torch.cat((entry.unsqueeze(0), self.amax_history[:-1])))

    def _set_scale(self, amax: Tensor) -> None:
        """Set the scale in place from an amax, where that is finite."""
        new = scale_from_amax(amax, self.fmt, self.power_of_two, self.amax_target)
        self.scale.copy_(torch.where(new.isnan(), self.scale, new))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Scaler":
        """Move with the model, but keep float32: a scale cast to float16 with the weights would be lost."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in before.items():
            moved = self._buffers[name]
            if buffer is not None and moved is not None and moved.dtype != buffer.dtype:
                self._buffers[name] = buffer.to(moved.device)
        return self


def _finite_or_empty(amax: Tensor) -> Tensor:
    return torch.where(amax.isfinite(), amax, _EMPTY)


def _check_settings(mode: Any, history: Any, per_row: bool, rows: Any) -> None:
    """Refuse settings outside their range."""
    if mode not in get_args(ScalingMode):
        known = ", ".join(map(repr, get_args(ScalingMode)))
        raise FormatError("scaling mode", f"{mode!r} is not a mode", f"Use one of {known}")
    if type(history) is not int or history < 1:
        raise FormatError("scaling history", f"{history!r} is not a number of steps", "Give an integer of at least 1")
    if per_row and (type(rows) is not int or rows < 0):
        raise FormatError("scaling rows", f"rows={rows!r} with per_row=True", "Give the matrix's number of rows")
    if not per_row and rows is not None:
        raise FormatError("scaling rows", f"rows={rows!r} without per_row=True", "Leave rows out, or set per_row=True")
