"""Rounding to a format: quantize, quantize and count, and quantize with a straight-through gradient.

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
from altgrad.numerics import elementwise
from altgrad.numerics.catalog import resolve
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.noise import draw_key
from altgrad.numerics.units import Scale, check_values, to_units, unit_tensor

Rounding = Literal["nearest", "stochastic"]
Ste = Literal["identity", "clipped"]

QUANTIZE_COUNTERS = ("flips", "overflow", "underflow")
"""What `quantize_and_count` counts, in the order of its places."""


def quantize(
    x: Tensor,
    fmt: FloatFormat | str,
    scale: Scale = None,
    rounding: Rounding = "nearest",
    saturate: bool = True,
    generator: torch.Generator | None = None,
    *,
    out: Tensor | None = None,
    compiled: bool = False,
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
        out: Receives the result: of `x`'s shape, dtype and device. It may be `x` itself.
        compiled: Make one pass with a kernel of torch.compile, at the speed of memory, in place of some eager ones.
            The first such call in a process compiles (seconds); all formats and shapes share it. The bits are the same.

    Returns:
        `out`, or a new tensor of `x`'s shape and dtype, outside the autograd graph; `fake_quantize` passes gradients.

    Raises:
        FormatError: If `x` is not a float tensor, or the scale, rounding or `out` cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> quantize(torch.tensor([0.3, 2.6, 100.0]), "E2M1")
        tensor([0.5000, 3.0000, 6.0000])
    """
    fmt = resolve(fmt)
    _check_rounding(fmt, rounding, generator)
    check_values(x, out)
    with torch.no_grad():
        unit = unit_tensor(x, scale)
        key = None if generator is None or rounding == "nearest" else draw_key(generator, x.device)
        if torch.compiler.is_compiling():
            rounded = elementwise.rounded(x, fmt, unit, key, saturate)
            return rounded if out is None else out.copy_(rounded)
        out = torch.empty_like(x) if out is None else out
        elementwise.round_into(out, x, fmt, unit, key, saturate, compiled)
        return out


def quantize_and_count(
    x: Tensor,
    fmt: FloatFormat | str,
    scale: Scale = None,
    rounding: Rounding = "nearest",
    generator: torch.Generator | None = None,
    *,
    previous: Tensor | None = None,
    out: Tensor | None = None,
    compiled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Quantize with saturation, and count exactly what happened.

    Args:
        x: As in `quantize`.
        fmt: As in `quantize`.
        scale: As in `quantize`.
        rounding: As in `quantize`.
        generator: As in `quantize`.
        previous: The result of an earlier call, for the flips; None counts none. It must not share memory with `out`.
        out: As in `quantize`.
        compiled: As in `quantize`.

    Returns:
        The rounded values, and an int64 tensor of shape (3,) on `x`'s device in the order of `QUANTIZE_COUNTERS`:
        elements that differ from `previous` (NaN differs from everything), elements with ``|x| > scale * max``, and
        nonzero elements that became 0.

    Raises:
        FormatError: As in `quantize`, or if `previous` is not like `x`.
        UnknownFormatError: If no format has that name.

    Example:
        >>> quantize_and_count(torch.tensor([0.3, 0.01, 100.0]), "E2M1", previous=torch.tensor([0.5, 0.5, 6.0]))
        (tensor([0.5000, 0.0000, 6.0000]), tensor([1, 1, 1]))
    """
    fmt = resolve(fmt)
    _check_rounding(fmt, rounding, generator)
    check_values(x, out)
    check_values(x, previous, "previous")
    with torch.no_grad():
        key = None if generator is None or rounding == "nearest" else draw_key(generator, x.device)
        out = torch.empty_like(x) if out is None else out
        return out, elementwise.round_and_count(out, x, previous, fmt, unit_tensor(x, scale), key, compiled)


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
            ctx.save_for_backward(to_units(x, scale)[0].abs() > fmt.max)
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
