"""The whole training step, quantized and counted, against the plain one."""

from collections.abc import Callable

from benchmarks.model import batch, build, training_step
from benchmarks.rows import Result, Target
from benchmarks.setting import Setting
from benchmarks.timing import interleave

_TARGETS = {"compiled": Target(1.05), "eager": Target(1.15)}


def run(setting: Setting) -> Result:
    """Time forward, backward, clip and update, eager and compiled: each against the plain step of its own kind."""
    tokens = batch(setting)
    contenders: dict[str, Callable[[], object]] = {}
    for kind in _TARGETS:
        compiled = kind == "compiled"
        contenders[f"plain, {kind}"] = training_step(*build(setting, quantized=False), tokens, compiled)
        quantized = build(setting, quantized=True, compiled=compiled)
        contenders[f"quantized, {kind}"] = training_step(*quantized, tokens, compiled)
    times = interleave(contenders, setting, budget_s=75.0)
    result = Result()
    for kind, target in _TARGETS.items():
        label = f"training step, E4M3 nearest, counted, {kind} / float32, {kind}"
        result.rows.append(times.ratio(f"quantized, {kind}", f"plain, {kind}", label, target))
    return result
