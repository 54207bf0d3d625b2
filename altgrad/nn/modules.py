"""Layers whose weight reads back quantized, wherever it is read.

The raw weight stays the module's Parameter under its old name, so `parameters()` and the keys of `state_dict()` are
those of the plain layer. The class gives the name a property that quantizes the raw weight at its scale, with a
straight-through gradient; code that reads `.weight` past the layer's own forward (torch's transformer layers do) sees
the same values as the forward.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar, Self, Unpack, cast

import torch
from torch import Tensor, nn

from altgrad.errors import UnsupportedModuleError
from altgrad.nn.plan import ScalingOptions, new_scaler
from altgrad.nn.support import check_supported
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.rounding import fake_quantize
from altgrad.numerics.scaling import Scaler


def _quantized_view(name: str) -> property:
    """Return a property that reads the raw Parameter `name` through its format."""

    def read(self: nn.Module) -> Tensor | None:
        parameters = self.__dict__.get("_parameters", {})
        if name not in parameters:
            raise AttributeError(name)  # so that nn.Module can register it, and says so itself otherwise
        raw: Tensor | None = parameters[name]
        scaler = cast(Scaler | None, self._modules.get(f"{name}_scaler"))
        if raw is None or scaler is None:  # no such weight, or its layer is still being built
            return raw
        try:
            return fake_quantize(raw, scaler.fmt, scaler.scale)
        except AttributeError as error:
            # Left to pass, it would make nn.Module look the name up itself and hand out the weight unrounded.
            raise RuntimeError(f"rounding {name} failed: {error}") from error

    return property(read, doc="The quantized weight; writing into it changes a copy, see `raw`.")


class QuantizedModule(nn.Module):
    """What all quantized layers share. A layer becomes one by a change of its class; see `attach`.

    Attributes:
        plain_class: The class that the layer has without quantization.
        quantized_parameters: Names of the weights that read back quantized. Each has its scale in a submodule
            ``<name>_scaler``.
    """

    plain_class: ClassVar[type[nn.Module]]
    quantized_parameters: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give the class a quantized view of each weight that it lists."""
        super().__init_subclass__(**kwargs)
        for name in cls.__dict__.get("quantized_parameters", ()):
            setattr(cls, name, _quantized_view(name))

    def raw(self, name: str = "weight") -> nn.Parameter:
        """Return the Parameter that the optimizer updates: the stored weight, not rounded in reading."""
        return cast(nn.Parameter, self._parameters[name])

    def scaler(self, name: str = "weight") -> Scaler:
        """Return the scale of a weight; its attribute `fmt` is the weight's format."""
        return cast(Scaler, self._modules[f"{name}_scaler"])

    @contextlib.contextmanager
    def _stored(self) -> Iterator[None]:
        """While open, the weights read as they are stored; at the end their scales start afresh from them."""
        scalers = {name: self._modules.pop(f"{name}_scaler", None) for name in weight_names(self)}
        try:
            yield
        finally:
            for name, scaler in scalers.items():
                if scaler is not None:  # a layer that is being built has none yet
                    self._modules[f"{name}_scaler"] = scaler
                    self.scaler(name).initialize(self.raw(name))

    def extra_repr(self) -> str:
        """Return the plain layer's text and the formats."""
        present = [name for name in self.quantized_parameters if f"{name}_scaler" in self._modules]
        formats = ", ".join(f"{name}={self.scaler(name).fmt.name}" for name in present)
        plain = super().extra_repr()
        return f"{plain}, {formats}" if plain else formats

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle and copy by the plain class: classes made for subclasses of layers cannot be found by name."""
        if type(self) is not _CLASSES.get(self.plain_class):  # a user's own subclass, which can
            return cast(tuple[Any, ...], super().__reduce_ex__(protocol))
        return _bare, (self.plain_class,), self.__getstate__()  # type: ignore[no-untyped-call]


class QuantizedLinear(QuantizedModule, nn.Linear):
    """nn.Linear whose weight is rounded to a format in the forward pass, with a straight-through gradient.

    Args:
        in_features: Size of each input sample.
        out_features: Size of each output sample.
        bias: Whether there is a bias; it is never rounded.
        device: As in nn.Linear.
        dtype: As in nn.Linear.
        fmt: A format or its name.
        scaling: The scale's options, as in `PrecisionPlan`.

    Raises:
        FormatError: If a scaling option is outside its range.
        UnknownFormatError: If no format has that name.

    Example:
        >>> layer = QuantizedLinear(3, 2, fmt="E4M3")
        >>> layer.weight.shape, layer.raw_weight is next(layer.parameters())
        (torch.Size([2, 3]), True)
    """

    plain_class = nn.Linear
    quantized_parameters = ("weight",)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        fmt: FloatFormat | str,
        **scaling: Unpack[ScalingOptions],
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        attach(self, {"weight": new_scaler(self.raw(), fmt, **scaling)})

    @classmethod
    def from_linear(cls, linear: nn.Linear, fmt: FloatFormat | str, **scaling: Unpack[ScalingOptions]) -> Self:
        """Turn an nn.Linear, or a layer of a subclass, into a quantized one, in place, and return it.

        Raises:
            UnsupportedModuleError: If its weight cannot be quantized faithfully.
            FormatError: If a scaling option is outside its range.
            UnknownFormatError: If no format has that name.
        """
        return cast(Self, _convert(linear, cls, fmt, scaling))

    @property
    def raw_weight(self) -> nn.Parameter:
        """The stored weight (out_features, in_features)."""
        return self.raw()

    def reset_parameters(self) -> None:
        """Initialize the stored weight as nn.Linear does, and its scale from it."""
        with self._stored():
            super().reset_parameters()


class QuantizedEmbedding(QuantizedModule, nn.Embedding):
    """nn.Embedding whose table is rounded to a format in the forward pass, with a straight-through gradient.

    `max_norm` (which would write into the table in the forward pass) and `sparse` gradients are not supported.

    Args:
        num_embeddings: Rows of the table.
        embedding_dim: Size of each row.
        padding_idx: As in nn.Embedding.
        scale_grad_by_freq: As in nn.Embedding.
        device: As in nn.Embedding.
        dtype: As in nn.Embedding.
        fmt: A format or its name.
        scaling: The scale's options, as in `PrecisionPlan`.

    Raises:
        FormatError: If a scaling option is outside its range.
        UnknownFormatError: If no format has that name.
    """

    plain_class = nn.Embedding
    quantized_parameters = ("weight",)

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        scale_grad_by_freq: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        fmt: FloatFormat | str,
        **scaling: Unpack[ScalingOptions],
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            scale_grad_by_freq=scale_grad_by_freq,
            device=device,
            dtype=dtype,
        )
        attach(self, {"weight": new_scaler(self.raw(), fmt, **scaling)})

    @classmethod
    def from_embedding(cls, embedding: nn.Embedding, fmt: FloatFormat | str, **scaling: Unpack[ScalingOptions]) -> Self:
        """Turn an nn.Embedding, or a layer of a subclass, into a quantized one, in place, and return it.

        Raises:
            UnsupportedModuleError: If its weight cannot be quantized faithfully.
            FormatError: If a scaling option is outside its range.
            UnknownFormatError: If no format has that name.
        """
        return cast(Self, _convert(embedding, cls, fmt, scaling))

    @property
    def raw_weight(self) -> nn.Parameter:
        """The stored table (num_embeddings, embedding_dim)."""
        return self.raw()

    def reset_parameters(self) -> None:
        """Initialize the stored table as nn.Embedding does, and its scale from it."""
        with self._stored():
            super().reset_parameters()


class QuantizedMultiheadAttention(QuantizedModule, nn.MultiheadAttention):
    """nn.MultiheadAttention whose input projections are rounded to a format; made by `quantize_model`.

    `in_proj_weight`, or `q_proj_weight`, `k_proj_weight` and `v_proj_weight` where keys or values have a width of
    their own. The output projection is a layer of its own, `out_proj`, and a plan decides on it by that name.
    """

    plain_class = nn.MultiheadAttention
    quantized_parameters = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


KINDS = (QuantizedLinear, QuantizedEmbedding, QuantizedMultiheadAttention)
"""The layers that can be quantized, each by its quantized class."""

_CLASSES: dict[type[nn.Module], type[QuantizedModule]] = {kind.plain_class: kind for kind in KINDS}


def kind_of(module: nn.Module) -> type[QuantizedModule] | None:
    """Return the quantized class of a plain layer's kind, or None for a module of another kind."""
    return next((kind for kind in KINDS if isinstance(module, kind.plain_class)), None)


def weight_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the weights that quantization of a layer concerns; names of absent weights are left out."""
    kind = kind_of(module)
    names = kind.quantized_parameters if kind is not None else ()
    return tuple(name for name in names if module._parameters.get(name) is not None)


def quantized_class(plain: type[nn.Module]) -> type[QuantizedModule]:
    """Return the class of a plain layer class's quantized layers; for subclasses of a layer it is made once."""
    if plain not in _CLASSES:
        kind = next(kind for kind in KINDS if issubclass(plain, kind.plain_class))
        body = {"plain_class": plain, "__module__": plain.__module__, "__doc__": plain.__doc__}
        _CLASSES[plain] = type(f"Quantized{plain.__name__}", (kind, plain), body)
    return _CLASSES[plain]


def attach(module: nn.Module, scalers: dict[str, Scaler]) -> None:
    """Make a layer a quantized one in place: the one way in which weights come to read back quantized.

    Args:
        module: A supported layer, plain, or quantized by class and still without scales.
        scalers: The scale of each weight of `weight_names`, by the weight's name.
    """
    if not isinstance(module, QuantizedModule):
        module.__class__ = quantized_class(type(module))
    for name, scaler in scalers.items():
        module.add_module(f"{name}_scaler", scaler)


def detach(module: QuantizedModule) -> None:
    """Make a quantized layer a plain one again; what its weights hold stays as it is."""
    for name in weight_names(module):
        del module._modules[f"{name}_scaler"]
    module.__class__ = type(module).plain_class  # type: ignore[assignment]  # the reverse of attach


def _convert(module: nn.Module, kind: type[QuantizedModule], fmt: FloatFormat | str, scaling: Any) -> nn.Module:
    """Quantize one layer of a given kind in place."""
    if not isinstance(module, kind.plain_class) or isinstance(module, QuantizedModule):
        raise UnsupportedModuleError(
            kind.__name__,
            f"{type(module).__name__} is not a plain layer of its kind",
            f"Give an nn.{kind.plain_class.__name__}",
        )
    check_supported(type(module).__name__, module, kind.quantized_parameters)
    attach(module, {"weight": new_scaler(cast(Tensor, module.weight), fmt, **scaling).train(module.training)})
    return module


def _bare(plain: type[nn.Module]) -> QuantizedModule:
    """Return an empty quantized layer, to be filled with a pickled or copied state."""
    cls = quantized_class(plain)
    return cls.__new__(cls)
