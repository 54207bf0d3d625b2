"""How many versions of each kernel one process compiles, whatever the formats, the shapes and their mixture."""

import torch

import altgrad as ag
from altgrad.models.gpt import GPT, GPTConfig
from altgrad.numerics.compiling import compiled_variants
from benchmarks.model import LR, METRIC_POWER, fill_gradients
from benchmarks.rows import Result, Row, Target
from benchmarks.setting import Setting

SHAPES = ((1000,), (4097,), (33, 70), (256, 64), (5, 6, 7))
"""Shapes of tensors; those of weights come beside them."""

_MIXTURES = (
    {"wte": "E5M2", "blocks.0.*": "E3M4", "*": "E4M3"},
    {"lm_head": "E7M0", "blocks.*.mlp*": "E2M5", "*": "BF16"},
)


def run(setting: Setting) -> Result:
    """Round in every format and step models of mixed formats, all compiled; then look at what was compiled."""
    for fmt in ag.formats.values():
        for shape in SHAPES:
            _round(setting.tensor(*shape), fmt)
    for width, plan in zip((40, 64), _MIXTURES, strict=True):
        _step(setting, width, plan)
    variants = compiled_variants()
    most = max(variants.values())
    several = ", ".join(f"{name}: {count}" for name, count in variants.items() if count > 1)
    return Result(
        [
            Row("compiled versions of one kernel, at most", most, "", target=Target(1), note=several),
            Row("kernels compiled by the process", len(variants), "", note=f"{len(ag.formats)} formats"),
        ]
    )


def _round(x: torch.Tensor, fmt: ag.FloatFormat) -> None:
    scales = [None, torch.tensor(0.5, device=x.device)]
    if x.ndim == 2:
        scales.append(torch.full((len(x), 1), 0.25, device=x.device))
    for scale in scales:
        ag.quantize(x, fmt, scale, compiled=True)
        if not fmt.is_reference:
            draws = torch.Generator().manual_seed(0)
            ag.quantize(x, fmt, scale, "stochastic", generator=draws, compiled=True)
    ag.quantize_and_count(x, fmt, previous=torch.zeros_like(x), compiled=True)


def _step(setting: Setting, width: int, plan: dict[str, str]) -> None:
    shape = GPTConfig(vocab_size=211, block_size=32, n_layer=2, n_head=2, n_embd=width)
    model = ag.quantize_model(GPT(shape).to(setting.device), ag.PrecisionPlan(plan))
    optimizer = ag.optim.ManifoldAdamW(
        ag.optim.param_groups(model), lr=LR, metric_power=METRIC_POWER, storage="nearest", count=True, compiled=True
    )
    fill_gradients(model)
    for _ in range(2):
        optimizer.step()
