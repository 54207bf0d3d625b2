"""What cannot be quantized faithfully, and why: every such module is refused aloud."""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from altgrad.errors import NotSupportedError, UnsupportedModuleError
from altgrad.nn.plan import CAST_ROLES

WEIGHT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What a stored weight can be; the arithmetic of rounding is defined for these."""


def is_lookalike(module: nn.Module) -> bool:
    """Return whether a module holds a weight matrix in a form that no property can reach.

    These are scripted modules and the quantized, quantizable and quantization-aware layers of torch.ao.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return any(parameter.ndim >= 2 for parameter in module.parameters(recurse=False))
    return type(module).__module__.startswith("torch.ao.nn.") and (
        hasattr(module, "weight") or isinstance(module, nn.MultiheadAttention)
    )


def check_supported(name: str, module: nn.Module, weights: Sequence[str]) -> None:
    """Refuse a layer whose weights cannot be quantized faithfully.

    Args:
        name: The layer's dotted name, for the error.
        module: A plain layer of a supported kind, or a lookalike.
        weights: Names of the weights that its kind quantizes.

    Raises:
        UnsupportedModuleError: Naming the layer, the reason and the way out.
    """
    where = _where(name, module)
    if is_lookalike(module):
        raise UnsupportedModuleError(
            where,
            "its weight is held by TorchScript or torch.ao, out of reach",
            "Quantize the plain model before it is scripted or prepared, or give this layer None in the plan",
        )
    if parametrize.is_parametrized(module):
        raise UnsupportedModuleError(
            where,
            "it is parametrized, so its weight is computed on each access",
            "Remove it with torch.nn.utils.parametrize.remove_parametrizations, or give this layer None in the plan",
        )
    for weight in weights:
        _check_weight(where, module, weight)
    if isinstance(module, nn.Embedding):
        _check_embedding(where, module)


def check_castable(name: str, module: nn.Module, inside: set[int]) -> None:
    """Refuse a layer whose inputs and outputs do not pass through its call, or are out of reach.

    Args:
        name: The layer's dotted name, for the error.
        module: A plain layer of a supported kind, or a lookalike.
        inside: Ids of the output projections of attention layers.

    Raises:
        NotSupportedError: If it is part of attention.
        UnsupportedModuleError: If it is a lookalike, or has an attribute of a cast's name.
    """
    where = _where(name, module)
    if is_lookalike(module):
        check_supported(name, module, ())
    if isinstance(module, nn.MultiheadAttention) or id(module) in inside:
        raise NotSupportedError(
            where,
            "input and grad_output of attention and of its out_proj are not cast: it multiplies inside one function",
            "Match it with a pattern of its own, before this one, that gives the weight alone",
        )
    for role in CAST_ROLES:
        if hasattr(module, f"{role}_cast"):
            raise UnsupportedModuleError(
                where, f"it already has an attribute {role}_cast, where the cast would live", "Rename that attribute"
            )


def _where(name: str, module: nn.Module) -> str:
    return f"{name} ({type(module).__name__})" if name else type(module).__name__


def _check_weight(where: str, module: nn.Module, name: str) -> None:
    """Refuse a weight that is not an ordinary Parameter that the layer reads under its name."""
    if name not in module._parameters:
        raise UnsupportedModuleError(
            where,
            f"its {name} is no Parameter: weight norm, spectral norm, pruning or other code computes it",
            "Remove that first (for example torch.nn.utils.remove_weight_norm), or give this layer None in the plan",
        )
    if inspect.getattr_static(type(module), name, None) is not None:
        raise UnsupportedModuleError(
            where,
            f"its class defines {name} itself, which quantization would replace",
            "Give this layer None in the plan",
        )
    if hasattr(module, f"{name}_scaler"):
        raise UnsupportedModuleError(
            where, f"it already has an attribute {name}_scaler, where the scale would live", "Rename that attribute"
        )
    raw = module._parameters[name]
    if raw is not None:
        _check_tensor(where, name, raw)


def _check_tensor(where: str, name: str, raw: Tensor) -> None:
    """Refuse a weight without values, of a special tensor type, or of a dtype that is not a usual float."""
    if isinstance(raw, UninitializedParameter):
        raise UnsupportedModuleError(where, f"its {name} has no shape yet", "Run a batch through the lazy model first")
    if raw.is_meta:
        raise UnsupportedModuleError(
            where, f"its {name} is on the meta device and has no values", "Load or initialize the weights first"
        )
    if type(raw.data) is not Tensor or raw.layout != torch.strided:
        raise UnsupportedModuleError(
            where,
            f"its {name} is a {type(raw.data).__name__} of layout {raw.layout}, not a plain dense tensor",
            "Quantize the model before its weights are replaced, or give this layer None in the plan",
        )
    if raw.dtype not in WEIGHT_DTYPES:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in WEIGHT_DTYPES)
        raise UnsupportedModuleError(where, f"its {name} is {raw.dtype}", f"Cast the model to one of {known}")


def _check_embedding(where: str, module: nn.Embedding) -> None:
    """Refuse embeddings that write into their table, or whose gradients skip it."""
    if module.max_norm is not None:
        raise UnsupportedModuleError(
            where,
            f"max_norm={module.max_norm} renormalizes the table in the forward pass, which would write into a copy",
            "Build the embedding without max_norm, or give this layer None in the plan",
        )
    if module.sparse:
        raise UnsupportedModuleError(
            where,
            "sparse=True gives sparse gradients, which do not pass through the rounding",
            "Build the embedding with sparse=False, or give this layer None in the plan",
        )
