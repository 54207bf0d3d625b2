"""Rounding to a format: quantize, and quantize with a straight-through gradient.

Where other tools differ from the rules here:

- torch's CPU cast to float8_e4m3fn saturates finite overflow; here that is ``saturate=True``, and ``saturate=False``
  gives NaN, as ml_dtypes does.
- ml_dtypes saturates in formats with neither Inf nor NaN (E2M1, E2M3, E3M2) and turns NaN into a number there; here
  ``saturate=False`` gives NaN, and NaN always stays NaN.
- torch rounds float64 to bfloat16 by way of float32; the reference formats do as torch's cast does.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from altgrad.errors import FormatError
from altgrad.numerics.catalog import resolve
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.kernel import constants, round_nearest_, round_stochastic_
from altgrad.numerics.noise import draw_key, thresholds
from altgrad.numerics.units import Scale, to_units

Rounding = Literal["nearest", "stochastic"]
Ste = Literal["identity", "clipped"]


def quantize(
    x: Tensor,
    fmt: FloatFormat | str,
    scale: Scale = None,
    rounding: Rounding = "nearest",
    saturate: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Round every element to the nearest or a neighboring value of a format: ``scale * round(x / scale)``.

    Nearest rounding sends ties to the even code. Stochastic rounding takes one of the two neighboring values, with a
    probability proportional to the distance, to 2^-17 of the gap; a value on the grid never moves. The arithmetic is
    float32 (float64 for float64 input), exact for every power-of-two scale for which
    ``scale * smallest_subnormal`` is a normal float32. NaN stays NaN, -0 stays -0 where the format has it. A
    result beyond the range of `x`'s own dtype is that dtype's Inf (65504 in E6M1 rounds to 65536, Inf in float16).

    Args:
        x: Tensor of any float dtype and any shape.
        fmt: A format or its name.
        scale: The real value of one unit of the format, positive: None for 1, a number, a 0-dim tensor, or a tensor
            that broadcasts to `x`, for example (rows, 1). A tensor's values are not checked.
        rounding: ``"nearest"`` or ``"stochastic"``.
        saturate: True holds magnitudes beyond max, and Inf, to max. False turns what rounds beyond max into Inf
            where the format has it, else NaN.
        generator: Draws the one key of a stochastic call; required there.

    Returns:
        Tensor of `x`'s shape and dtype, outside the autograd graph; `fake_quantize` passes gradients.

    Raises:
        FormatError: If `x` is not a float tensor, or the scale or rounding cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> quantize(torch.tensor([0.3, 2.6, 100.0]), "E2M1")
        tensor([0.5000, 3.0000, 6.0000])
    """
    fmt = resolve(fmt)
    _check_rounding(fmt, rounding, generator)
    with torch.no_grad():
        y, unit = to_units(x, scale)
        if unit is None and y.dtype == x.dtype:
            y = y.clone()  # The arithmetic overwrites its input, which is still the caller's.
        if fmt.is_reference:
            # As torch's cast does, by way of float32. The cast itself will not do: Inductor removes a cast to a
            # narrow dtype and back. Float64 holds the rounding's constants, which leave float32's range here.
            y = y.to(torch.float32).to(torch.float64)
        rounded = _round_(y, x, fmt, rounding, saturate, generator)
        if unit is not None:
            rounded = rounded.mul_(unit)
        return rounded.to(x.dtype)


def _check_rounding(fmt: FloatFormat, rounding: str, generator: torch.Generator | None) -> None:
    """Refuse a rounding that does not exist, or that lacks its generator."""
    if rounding == "nearest":
        return
    if rounding != "stochastic":
        known = " or ".join(map(repr, get_args(Rounding)))
        raise FormatError("rounding", f"{rounding!r} is not a rounding", f"Use {known}")
    if fmt.is_reference:
        raise FormatError(
            fmt.name, "a reference format is rounded by torch's own cast, to nearest", 'Use rounding="nearest"'
        )
    if generator is None:
        raise FormatError(
            "rounding", "'stochastic' needs a generator", "Pass generator=torch.Generator().manual_seed(...)"
        )


def _round_(
    y: Tensor, sign: Tensor, fmt: FloatFormat, rounding: str, saturate: bool, generator: torch.Generator | None
) -> Tensor:
    """Round values in units of the format to its grid, overwriting them; `sign` has their signs."""
    c = constants(fmt, y.dtype, y.device)
    # Clamp first: rounding would turn 3e38 into Inf - Inf. (Two one-sided clamps are six times faster than a
    # two-sided one with tensor bounds.)
    y.clamp_(max=c.highest if saturate else c.beyond).clamp_(min=c.lowest if saturate else c.below)
    if rounding == "stochastic":
        assert generator is not None
        random = thresholds(y.shape, draw_key(generator, y.device), y.dtype)
        rounded = round_stochastic_(y, sign, random, c)
    else:
        rounded = round_nearest_(y, sign, c)
    if not saturate:
        # beyond * Inf is Inf of the same sign, and beyond * NaN is NaN.
        rounded = torch.where(rounded.abs() > c.highest, rounded * c.overflow, rounded)
    # Adding zero turns -0 into +0 and changes nothing else.
    return rounded if fmt.has_negative_zero else rounded.add_(0.0)


class _StraightThrough(torch.autograd.Function):
    """Quantize forward; backward the identity, or the identity where the forward did not saturate."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        fmt: FloatFormat,
        scale: Scale,
        rounding: Rounding,
        clipped: bool,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Quantize; for the clipped rule, remember where the magnitude was beyond max."""
        if clipped:
            y, _ = to_units(x, scale)
            ctx.save_for_backward(y.abs() > constants(fmt, y.dtype, y.device).highest)
        return quantize(x, fmt, scale, rounding, True, generator)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Pass the gradient to `x` alone."""
        (grad,) = grad_outputs
        if ctx.saved_tensors:
            grad = grad.masked_fill(ctx.saved_tensors[0], 0.0)
        return grad, None, None, None, None, None


def fake_quantize(
    x: Tensor,
    fmt: FloatFormat | str,
    scale: Scale = None,
    rounding: Rounding = "nearest",
    ste: Ste = "identity",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Quantize with saturation, and let gradients pass straight through (Bengio et al. 2013, arXiv:1308.3432).

    Args:
        x: As in `quantize`; gradients flow to it alone.
        fmt: A format or its name.
        scale: As in `quantize`.
        rounding: As in `quantize`.
        ste: ``"identity"`` passes every gradient; ``"clipped"`` zeroes it where ``|x| > scale * max``.
        generator: As in `quantize`.

    Returns:
        Tensor of `x`'s shape and dtype with the values of `quantize`.

    Raises:
        FormatError: As in `quantize`, or if `ste` is not known.
        UnknownFormatError: If no format has that name.

    Example:
        >>> w = torch.tensor([0.3, 1000.0], requires_grad=True)
        >>> fake_quantize(w, "E4M3", ste="clipped").sum().backward()
        >>> w.grad
        tensor([1., 0.])
    """
    if ste not in get_args(Ste):
        known = " or ".join(map(repr, get_args(Ste)))
        raise FormatError("ste", f"{ste!r} is not a straight-through rule", f"Use {known}")
    out: Tensor = _StraightThrough.apply(  # type: ignore[no-untyped-call]
        x, resolve(fmt), scale, rounding, ste == "clipped", generator
    )
    return out
