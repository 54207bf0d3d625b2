"""From a plain model to a quantized one and back, in place."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from altgrad.errors import PlanError
from altgrad.nn.casts import attach_casts, detach_casts, has_casts
from altgrad.nn.modules import QuantizedModule, attach, detach, kind_of, weight_names
from altgrad.nn.plan import LayerFormats, PrecisionPlan, new_scaler
from altgrad.nn.support import check_castable, check_supported, is_lookalike
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.rounding import quantize
from altgrad.numerics.scaling import Scaler

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class _Place:
    """A name under which a Parameter is read, and the format in which the plan has it read there."""

    name: str
    module: nn.Module
    weight: str
    fmt: FloatFormat | None

    def __str__(self) -> str:
        return f"{_join(self.name, self.weight)} ({self.fmt.name if self.fmt else 'left alone'})"


def quantize_model(model: Model, plan: PrecisionPlan) -> Model:
    """Quantize a torch model's weights by a plan, in place, and cast what passes through its layers.

    The layers concerned are nn.Linear, nn.Embedding, nn.MultiheadAttention and their subclasses; weights of any
    other module, biases included, stay plain. Parameters stay the same objects under the same names. What a layer
    reads as its weight is the parameter rounded to its format; write to the parameter (`raw_weight`), never into
    what is read. All checks come first: a model that is refused is left as it was. Tied weights stay one Parameter
    with one scale; casts belong to layers, not weights. A layer with casts alone keeps its class.

    Args:
        model: The model; its own class is swapped if it is itself such a layer.
        plan: Which layers to quantize, and how.

    Returns:
        `model`.

    Raises:
        PlanError: If the model is quantized already, a pattern has no effect, or a weight that several layers share
            would be read in different formats.
        NotSupportedError: If inputs or output gradients of attention are to be cast.
        UnsupportedModuleError: If the plan quantizes a layer that cannot be quantized faithfully.
    """
    shared, cast_layers = _places(model, plan), _layers_to_cast(model, plan)
    quantized: dict[int, nn.Module] = {}
    scalers: dict[int, dict[str, Scaler]] = defaultdict(dict)
    for places in shared:
        first = places[0]
        assert first.fmt is not None
        weight = first.module.get_parameter(first.weight)
        scaler = new_scaler(weight, first.fmt, **plan.options).train(first.module.training)
        for place in places:
            quantized[id(place.module)] = place.module
            scalers[id(place.module)][place.weight] = scaler
    for key, module in quantized.items():
        attach(module, scalers[key])
    for module, formats in cast_layers:
        attach_casts(module, formats, **plan.options)
    return model


@torch.no_grad()
def dequantize_model(model: Model, *, keep_masters: bool = False) -> Model:
    """Turn a quantized model's layers into plain ones of their original classes, in place; their casts are removed.

    Args:
        model: The model; layers that are not quantized are left alone.
        keep_masters: By default the weights take their quantized values, so that the model computes what it computed
            before, casts apart. True leaves the stored weights as they are.

    Returns:
        `model`.
    """
    if not keep_masters:
        for _, weight, scaler in named_quantized_weights(model):
            weight.copy_(quantize(weight, scaler.fmt, scaler.scale))
    for module in list(model.modules()):
        if isinstance(module, QuantizedModule):
            detach(module)
        detach_casts(module)
    return model


def named_quantized_weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, Scaler]]:
    """Yield every quantized weight: its dotted parameter name, the stored Parameter and its scaler.

    A tied weight comes once, under its first name, as in `named_parameters`.
    """
    seen: set[int] = set()
    for name, module in model.named_modules():
        if not isinstance(module, QuantizedModule):
            continue
        for weight in weight_names(module):
            raw = module.raw(weight)
            if id(raw) not in seen:
                seen.add(id(raw))
                yield _join(name, weight), raw, module.scaler(weight)


@torch.no_grad()
def advance_scales(model: nn.Module) -> None:
    """Advance every weight's scale by one step: for optimizers that do not do it themselves.

    Call it once after each `optimizer.step()` of a plain torch optimizer. Scales of modules in eval mode stay.
    """
    for _, weight, scaler in named_quantized_weights(model):
        scaler.advance(scaler.amax_of(weight))


def _places(model: nn.Module, plan: PrecisionPlan) -> list[list[_Place]]:
    """Return, for each weight to quantize, all the places where it is read; refuse what cannot be done."""
    modules = _modules(model)
    for name, module in modules:
        if isinstance(module, QuantizedModule) or has_casts(module):
            raise PlanError(
                f"{name} ({type(module).__name__})" if name else type(module).__name__,
                "the model is already quantized",
                "Call dequantize_model first, with keep_masters=True to keep the stored weights",
            )
    plan.check_patterns([name for name, module in modules if kind_of(module) or is_lookalike(module)])
    shared: dict[int, list[_Place]] = defaultdict(list)
    for name, module in modules:
        fmt = _format_of(name, module, plan)
        weights = weight_names(module)
        for weight, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            place = _Place(name, module, weight, fmt if weight in weights else None)
            shared[id(parameter)].append(place)
    groups = [places for places in shared.values() if any(place.fmt for place in places)]
    for places in groups:
        _check_agreement(places)
    return groups


def _format_of(name: str, module: nn.Module, plan: PrecisionPlan) -> FloatFormat | None:
    """Return the format that the plan gives a module, None for none; refuse a layer that cannot take it."""
    kind = kind_of(module)
    if kind is None and not is_lookalike(module):
        return None
    fmt = plan.format_for(name)
    if fmt is not None:
        check_supported(name, module, kind.quantized_parameters if kind else ())
    return fmt


def _check_agreement(places: list[_Place]) -> None:
    """Refuse a shared weight that would be read in different formats."""
    first = places[0]
    for other in places[1:]:
        if other.fmt != first.fmt:
            raise PlanError(
                _join(first.name, first.weight),
                f"one Parameter would be read in different formats: {first} and {other}",
                "Give all that share it one format, or untie them",
            )


def _layers_to_cast(model: nn.Module, plan: PrecisionPlan) -> list[tuple[nn.Module, LayerFormats]]:
    """Return the layers through which a plan casts, with their formats; refuse what cannot be done."""
    layers = [(name, module) for name, module in _modules(model) if kind_of(module) or is_lookalike(module)]
    _check_inputs(layers, plan)
    inside = {id(module.out_proj) for _, module in layers if isinstance(module, nn.MultiheadAttention)}
    found: dict[int, tuple[str, nn.Module, LayerFormats]] = {}
    for name, module in layers:
        formats = plan.formats_for(name).without_weight()
        if isinstance(module, nn.Embedding):
            formats = LayerFormats(grad_output=formats.grad_output)
        first, _, agreed = found.setdefault(id(module), (name, module, formats))
        if formats != agreed:
            raise PlanError(
                first, f"the same layer, {name}, would be cast in another way", "Give both names the same roles"
            )
        if formats != LayerFormats():
            check_castable(name, module, inside)
    return [(module, formats) for _, module, formats in found.values() if formats != LayerFormats()]


def _check_inputs(layers: Sequence[tuple[str, nn.Module]], plan: PrecisionPlan) -> None:
    """Refuse a pattern that asks for nothing but inputs, of layers that are all embeddings: those take indices."""
    for rule in plan.rules:
        decided = [module for name, module in layers if plan.rule_for(name) is rule]
        only_input = rule.formats == LayerFormats(input=rule.formats.input) != LayerFormats()
        if only_input and decided and all(isinstance(module, nn.Embedding) for module in decided):
            raise PlanError(
                f"plan {rule.pattern!r}",
                "it casts inputs, and every layer that it decides is an embedding, whose input is indices",
                "Embeddings have the roles weight and grad_output",
            )


def _modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(model.named_modules(remove_duplicate=False))


def _join(module: str, weight: str) -> str:
    return f"{module}.{weight}" if module else weight
