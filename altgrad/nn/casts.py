"""Casts of what passes through a layer: its inputs in the forward pass, its output gradients in the backward pass.

A cast is a submodule of its layer, `input_cast` or `grad_output_cast`, and works through the layer's hooks, so that the
layer keeps its class and its own forward; torch's fused paths, which would read weights past the layer, leave layers
with hooks alone. It acts where the layer is called. Each call in training mode moves the scale and is counted, so that
gradient accumulation moves it several times a step, and activation checkpointing, which runs a forward pass a second
time, must not be used with it.
"""

from collections.abc import Iterator
from typing import Any, Unpack, cast

import torch
from torch import Tensor, nn

from altgrad.errors import NotSupportedError
from altgrad.nn.plan import CAST_ROLES, LayerFormats, ScalingOptions
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.kernel import numbers
from altgrad.numerics.rounding import quantize, quantize_and_count
from altgrad.numerics.scaling import Scaler, ScalingMode, scale_from_amax
from altgrad.numerics.units import to_units

CAST_COUNTS = ("elements", "overflow", "underflow")
"""What a cast counts, in the order of its places."""

# The key of a cast's hook: torch's own are numbers, which start afresh in a process that loads a pickled model.
_HOOK = "altgrad_cast"
# Nothing seen since the last take.
_NONE = -1.0


class Cast(Scaler):
    """Rounds tensors to a format, to nearest and with saturation, at one scale a tensor, and counts.

    Each call in training mode advances the scale: in delayed mode to what the amaxes of earlier calls give, at the
    first call to what its own gives. A tensor of zeros, or one that holds Inf or NaN, sets no scale and is not
    remembered. In eval mode nothing moves and nothing is counted; a cast that has no scale yet takes the tensor's own.
    Nothing here waits for the device.

    Args:
        fmt: A format or its name.
        scaling: `Scaler`'s mode.
        history: As in `Scaler`, in calls.
        power_of_two: As in `Scaler`.

    Attributes:
        scale: As in `Scaler`; 0 before it is known.
        counts: int64 buffer (3,): the sums since the last take, in the order of `CAST_COUNTS` (STAB-01).
        amax: float32 buffer, 0-dim: the largest magnitude since the last take; -1 if there was none.

    Raises:
        FormatError: If a setting is outside its range.
        UnknownFormatError: If no format has that name.
    """

    counts: Tensor
    amax: Tensor

    def __init__(
        self,
        fmt: FloatFormat | str,
        scaling: ScalingMode = "delayed",
        history: int = 16,
        power_of_two: bool = True,
    ) -> None:
        super().__init__(fmt, scaling, history, power_of_two=power_of_two)
        if self.mode != "none":
            self.scale.zero_()
        self.register_buffer("counts", torch.zeros(len(CAST_COUNTS), dtype=torch.int64))
        self.register_buffer("amax", torch.full((), _NONE))

    def take_counts(self) -> Tensor:
        """Return the counts since the last take, int64 (3,) on the device, and start again.

        They are elements; elements with ``|x| > scale * max`` before clamping; nonzero elements that rounded to 0.
        """
        taken = self.counts.clone()
        self.counts.zero_()
        return taken

    def take_amax(self) -> Tensor:
        """Return the largest magnitude since the last take, float32 and 0-dim on the device, and start again.

        It is NaN if nothing came, or if NaN did.
        """
        taken = torch.where(self.amax < 0.0, torch.nan, self.amax)
        self.amax.fill_(_NONE)
        return taken

    @torch.no_grad()
    def rounded(self, x: Tensor) -> Tensor:
        """Round a tensor, outside the autograd graph; in training mode move the scale first, and count.

        Args:
            x: Tensor of any float dtype and shape.

        Returns:
            Tensor of `x`'s shape and dtype.

        Raises:
            FormatError: If `x` is not a float tensor.
        """
        amax = self.amax_of(x)
        if not self.training:
            own = scale_from_amax(amax, self.fmt, self.power_of_two).nan_to_num(nan=1.0)
            return quantize(x, self.fmt, torch.where(self.scale > 0.0, self.scale, own))
        self.advance(torch.where(amax > 0.0, amax, torch.nan))
        # Without a scale even now, all is zero or not finite.
        scale = torch.where(self.scale > 0.0, self.scale, 1.0)
        result, counts = _quantize_and_count(x, self.fmt, scale)
        self.counts.add_(counts)
        if x.numel():
            self.amax.copy_(torch.maximum(self.amax, amax))
        return result

    def input(self, x: Tensor) -> Tensor:
        """Return a layer's input rounded; the gradient passes straight through."""
        result: Tensor = _Replaced.apply(x, self.rounded(x))  # type: ignore[no-untyped-call]
        return result

    def grad_output(self, out: Tensor) -> Tensor:
        """Return a layer's output as it is; the gradient that comes back to it is rounded."""
        if not out.requires_grad:
            return out
        for dtype in (
            torch.float32,
            torch.float64,
        ):  # here: a backward pass that is being compiled must not fill a table
            numbers(self.fmt, dtype)
        result: Tensor = _RoundedGradient.apply(out, self)  # type: ignore[no-untyped-call]
        return result


def _quantize_and_count(x: Tensor, fmt: FloatFormat, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return a tensor rounded, and the counts of the call; within a compiled model in a form that fuses."""
    if not torch.compiler.is_compiling():
        result, counts = quantize_and_count(x, fmt, scale)
        counts[0].fill_(x.numel())  # in the place of flips, of which there are none without an earlier result
        return result, counts
    result = quantize(x, fmt, scale)
    units, _ = to_units(x, scale)
    if fmt.is_reference:
        units = units.to(torch.float32)  # as they are rounded
    overflow = (units.abs() > fmt.max).sum()
    underflow = ((result == 0) & (x != 0)).sum()
    return result, torch.stack([torch.full_like(overflow, x.numel()), overflow, underflow])


class _Replaced(torch.autograd.Function):
    """Another tensor in the place of a first, whose gradient it takes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, other: Tensor) -> Tensor:
        """Return the other."""
        return other

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Pass the gradient to the first."""
        return grad_outputs[0], None


class _RoundedGradient(torch.autograd.Function):
    """The identity, whose gradient is rounded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cast: Cast) -> Tensor:
        """Return a copy: what follows may work in place, which torch refuses for a view."""
        ctx.cast = cast
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Round the gradient."""
        if torch.is_grad_enabled():
            raise NotSupportedError(
                "grad_output",
                "a gradient that is cast has no derivative of its own",
                "Take second derivatives of a model without grad_output casts, for example after dequantize_model",
            )
        return ctx.cast.rounded(grad_outputs[0]), None


def _cast_input(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Hook before a layer's forward: its first argument, or the one named input, is cast."""
    given = cast(Cast, layer.input_cast)
    if args:
        return (given.input(args[0]), *args[1:]), kwargs
    if "input" not in kwargs:
        raise NotSupportedError(
            type(layer).__name__, "its input is cast, and it was called without one", "Pass the input first, by place"
        )
    return args, kwargs | {"input": given.input(kwargs["input"])}


def _cast_grad_output(layer: nn.Module, args: tuple[Any, ...], out: Any) -> Tensor:
    """Hook after a layer's forward: the gradient of its output will be cast."""
    if not isinstance(out, Tensor):
        raise NotSupportedError(
            type(layer).__name__,
            f"its grad_output is cast, and it returned a {type(out).__name__}, not a tensor",
            "Give this layer no grad_output in the plan",
        )
    return cast(Cast, layer.grad_output_cast).grad_output(out)


def attach_casts(layer: nn.Module, formats: LayerFormats, **options: Unpack[ScalingOptions]) -> None:
    """Cast what passes through a layer, from now on.

    Args:
        layer: A layer through whose call its input and output pass; see `check_castable`.
        formats: Its formats; the weight's is of no concern here.
        options: A plan's options; `per_row` concerns weights alone.
    """
    common: dict[str, Any] = {key: value for key, value in options.items() if key != "per_row"}
    device = next(layer.parameters()).device
    for role in CAST_ROLES:
        fmt = getattr(formats, role)
        if fmt is not None:
            layer.add_module(f"{role}_cast", Cast(fmt, **common).to(device).train(layer.training))
    hooks = cast(Any, layer)
    if formats.input is not None:
        hooks._forward_pre_hooks[_HOOK] = _cast_input
        hooks._forward_pre_hooks_with_kwargs[_HOOK] = True
    if formats.grad_output is not None:
        hooks._forward_hooks[_HOOK] = _cast_grad_output


def detach_casts(layer: nn.Module) -> None:
    """Remove a module's casts, if it has any."""
    for role, _ in _casts_of(layer):
        del layer._modules[f"{role}_cast"]
        for hooks in (layer._forward_pre_hooks, layer._forward_pre_hooks_with_kwargs, layer._forward_hooks):
            cast(dict[Any, Any], hooks).pop(_HOOK, None)


def has_casts(module: nn.Module) -> bool:
    """Return whether a module itself has casts."""
    return bool(_casts_of(module))


def named_casts(model: nn.Module) -> Iterator[tuple[str, str, Cast]]:
    """Yield every cast: the dotted name of its layer's weight, the role (`input` or `grad_output`) and the cast.

    A layer under several names comes once, under its first; layers that share a weight have casts of their own.
    """
    for name, module in model.named_modules():
        for role, found in _casts_of(module):
            yield f"{name}.weight" if name else "weight", role, found


def _casts_of(module: nn.Module) -> list[tuple[str, Cast]]:
    children = dict(module.named_children())
    found = ((role, children.get(f"{role}_cast")) for role in CAST_ROLES)
    return [(role, one) for role, one in found if isinstance(one, Cast)]
