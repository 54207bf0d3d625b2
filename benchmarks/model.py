"""The model that steps are measured on, and steps of it: plain, and quantized."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import altgrad as ag
from altgrad.models.gpt import GPT, GPTConfig
from benchmarks.rounding import FORMAT
from benchmarks.setting import Setting, size_words

NAME = "gpt13m"
"""For the names of files."""

BATCH = 8
LR = 1e-4
WEIGHT_DECAY = 0.1
METRIC_POWER = 0.5
CLIP = 1.0


def config(setting: Setting) -> GPTConfig:
    """Return the shape: 12.7 million parameters, 2048 tokens a step in batches of 8."""
    if setting.quick:
        return GPTConfig(vocab_size=256, block_size=40, n_layer=2, n_head=2, n_embd=48)
    return GPTConfig(vocab_size=8192, block_size=256, n_layer=6, n_head=5, n_embd=320)


def describe(setting: Setting) -> str:
    """Return the model in words."""
    c = config(setting)
    parameters = sum(p.numel() for p in GPT(c).parameters())
    return (
        f"GPT of {size_words(parameters)} parameters: vocabulary {c.vocab_size}, {c.n_layer} layers, {c.n_embd} "
        f"channels, {c.n_head} heads; {BATCH} sequences of {c.block_size} tokens a step"
    )


def plain_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Return torch's fused AdamW for a model."""
    return torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)


def quantize(
    model: nn.Module, storage: str = "nearest", count: bool = True, compiled: bool = False
) -> ag.optim.ManifoldAdamW:
    """Quantize every layer's weight of a model to E4M3, and return AdamW in the metric of its grid.

    Args:
        model: The model.
        storage: `ManifoldAdamW`'s storage.
        count: Whether every step is counted.
        compiled: Whether steps are compiled.
    """
    ag.quantize_model(model, ag.PrecisionPlan({"*": FORMAT}))
    optimizer = ag.optim.ManifoldAdamW(
        ag.optim.param_groups(model, weight_decay=WEIGHT_DECAY),
        lr=LR,
        metric_power=METRIC_POWER,
        storage=storage,
        generator=torch.Generator().manual_seed(3),
        count=count,
        compiled=compiled,
    )
    optimizer.hold_gradients()
    return optimizer


def build(setting: Setting, quantized: bool, compiled: bool = False) -> tuple[GPT, torch.optim.Optimizer]:
    """Return the model and its optimizer: quantized and counted, or in float32 with torch's fused AdamW.

    Args:
        setting: Where and how large.
        quantized: Which of the two.
        compiled: Whether steps of the quantized model's optimizer are compiled.
    """
    model = GPT(config(setting)).to(setting.device)
    return model, quantize(model, compiled=compiled) if quantized else plain_optimizer(model)


def batch(setting: Setting, shape: GPTConfig | None = None, sequences: int = BATCH) -> tuple[Tensor, Tensor]:
    """Return tokens and the tokens that follow, (sequences, T) each, the same every time."""
    shape = config(setting) if shape is None else shape
    size = (sequences, shape.block_size + 1)
    tokens = torch.randint(shape.vocab_size, size, generator=torch.Generator().manual_seed(4)).to(setting.device)
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def training_step(
    model: GPT, optimizer: torch.optim.Optimizer, tokens: tuple[Tensor, Tensor], compiled: bool
) -> Callable[[], None]:
    """Return a whole step: forward, backward, clip, update, gradients to zero.

    Args:
        model: The model.
        optimizer: Its optimizer.
        tokens: From `batch`.
        compiled: Whether forward and backward passes are compiled.
    """
    forward = torch.compile(model, dynamic=False) if compiled else model
    parameters = list(model.parameters())
    held = isinstance(optimizer, ag.optim.GridOptimizer)  # its gradients stay where they are

    def step() -> None:
        forward(*tokens)[1].backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=not held)

    return step


def fill_gradients(model: nn.Module) -> None:
    """Give every parameter a random gradient, in place where it has one."""
    draws = torch.Generator().manual_seed(5)
    for p in model.parameters():
        gradient = torch.randn(p.shape, generator=draws).mul_(1e-3).to(p.device)
        if p.grad is None:
            p.grad = gradient
        else:
            p.grad.copy_(gradient)
