"""From a run's config to the objects that train it.

Seeds are derived by purpose, so that the cells of a seed differ only by their factors.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from altgrad.data.batches import BatchSampler
from altgrad.data.store import Corpus
from altgrad.models.gpt import GPT, GPTConfig
from altgrad.nn.plan import PrecisionPlan, ScalingOptions
from altgrad.nn.surgery import named_quantized_weights, quantize_model
from altgrad.numerics.format import FloatFormat
from altgrad.optim.base import GridOptimizer
from altgrad.optim.groups import param_groups
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.rung_sgd import RungSGD
from altgrad.study.runs import RunConfig
from altgrad.telemetry.counters import TrackedWeight
from altgrad.training.shift import shift_formats

REST_FORMAT = "BF16"
"""What the layers that a run does not quantize are rounded to."""


@dataclass
class Parts:
    """What a run trains with.

    Attributes:
        model: The quantized model.
        optimizer: Its optimizer.
        batches: Training batches.
        weights: The quantized weights, tied ones once.
    """

    model: GPT
    optimizer: GridOptimizer
    batches: BatchSampler
    weights: list[TrackedWeight]


def derive_seed(seed: int, purpose: str) -> int:
    """Return a 63-bit seed for one purpose, independent of those for others.

    Args:
        seed: The run's seed.
        purpose: What it is for, for example `weights`.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "little") >> 1


def build_model(run: RunConfig, vocab_size: int) -> GPT:
    """Return the unquantized model of a run; the same initial weights in every cell of a seed."""
    shape = run.model
    config = GPTConfig(
        vocab_size=vocab_size,
        block_size=shape.block_size,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_embd=shape.n_embd,
        dropout=shape.dropout,
        bias=shape.bias,
        tie_weights=shape.tie_weights,
    )
    return GPT(config, generator=_generator(run, "weights"))


def build(run: RunConfig, model: GPT, corpus: Corpus, device: str, compiled: bool) -> Parts:
    """Quantize the model and build its optimizer and batches.

    Args:
        run: The run.
        model: From `build_model`.
        corpus: The prepared corpus.
        device: `cpu` or `cuda`.
        compiled: Whether the optimizer makes its steps with compiled kernels.
    """
    torch.manual_seed(derive_seed(run.seed, "dropout"))
    quantize_model(model.to(device), precision_plan(run))
    training = run.training
    sampler = BatchSampler(
        corpus.train, training.batch_size, run.model.block_size, seed=derive_seed(run.seed, "batches")
    )
    return Parts(model, _optimizer(run, model, compiled), sampler, _tracked(model))


def rebuild(run: RunConfig, parts: Parts, wanted: Mapping[str, FloatFormat]) -> Parts:
    """Give weights other formats, and return parts for them; what the optimizer remembers stays.

    Args:
        run: The run.
        parts: Its parts; not to be used any more.
        wanted: Formats by the weight's name.
    """
    old = parts.optimizer
    shift_formats(parts.model, wanted, scaling_options(run))
    optimizer = _optimizer(run, parts.model, old.compiled, old.generator)
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p in old.state:
                optimizer.state[p] = dict(old.state[p])
    return Parts(parts.model, optimizer, parts.batches, _tracked(parts.model))


def _tracked(model: GPT) -> list[TrackedWeight]:
    return [TrackedWeight(name, parameter, scaler) for name, parameter, scaler in named_quantized_weights(model)]


def precision_plan(run: RunConfig) -> PrecisionPlan:
    """Return a run's plan: its layers in its format, with the casts it asks for, the rest in the reference format."""
    own: dict[str, Any] = {
        "weight": run.float_format(),
        "input": run.cast_format("input"),
        "grad_output": run.cast_format("grad_output"),
    }
    patterns: dict[str, Any] = dict.fromkeys(run.layer_patterns, own)
    patterns.setdefault("*", REST_FORMAT)
    return PrecisionPlan(patterns, **scaling_options(run))


def scaling_options(run: RunConfig) -> ScalingOptions:
    """Return the options of every scale of a run."""
    section = run.quantization
    return {
        "scaling": section.scaling,
        "history": section.history,
        "per_row": section.per_row,
        "power_of_two": section.power_of_two,
    }


def _optimizer(run: RunConfig, model: GPT, compiled: bool, generator: torch.Generator | None = None) -> GridOptimizer:
    spec, training = run.update_spec, run.training
    groups = param_groups(model, weight_decay=training.weight_decay)
    generator = generator or _generator(run, "stochastic rounding")
    if spec.optimizer == "rung_sgd":
        for group in groups:
            if _is_plain(group):
                group.update(direction="adamw", metric_power=0.0, storage="master", lr=training.plain_lr)
        return RungSGD(
            groups,
            lr=run.lr,
            momentum=spec.momentum,
            max_rungs=spec.max_rungs,
            betas=training.betas,
            eps=training.eps,
            storage=run.storage,
            generator=generator,
            count=True,
            compiled=compiled,
        )
    for group in groups:
        if _is_plain(group):
            group.update(metric_power=0.0, storage="master")
    return ManifoldAdamW(
        groups,
        lr=run.lr,
        betas=training.betas,
        eps=training.eps,
        weight_decay=training.weight_decay,
        metric_power=spec.metric_power,
        metric=spec.metric,
        permutation_seed=derive_seed(run.seed, "permutation"),
        precondition=spec.precondition,
        storage=run.storage,
        generator=generator,
        count=True,
        compiled=compiled,
    )


def _is_plain(group: dict[str, Any]) -> bool:
    """Return whether a group's weights stay off the study's grid: no format, or a reference format."""
    return group["fmt"] is None or group["scalers"][0].fmt.is_reference


def _generator(run: RunConfig, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(run.seed, purpose))
