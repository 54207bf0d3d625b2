"""Peak memory of a training step, by part: on CPU the process's resident memory, on CUDA torch's allocations.

On CPU the peak is taken over what was resident before the model was made, after a first step of a tiny model has
loaded every library. Steps are eager there, since a compiler in the process would count as memory of the step.
"""

import gc
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from altgrad.models.gpt import GPT
from benchmarks.model import batch, build, training_step
from benchmarks.probe import measure
from benchmarks.rows import Result, Row, Target
from benchmarks.setting import Setting

PARTS = ("parameters", "gradients", "optimizer state", "quantized copies", "activations", "temporaries")
"""What a peak is made of; temporaries are what the others leave of it."""

_MIB = 1 << 20
_STEPS = 3


def run(setting: Setting) -> Result:
    """Compare the peaks of a quantized, counted step and a plain one, each in a process of its own."""
    plain, quantized = measure("memory-plain", setting), measure("memory-quantized", setting)
    result = Result(
        [Row("peak memory of a training step, E4M3 / float32", quantized["peak"] / plain["peak"], target=Target(1.35))]
    )
    for part in ("peak", *PARTS):
        note = f"float32: {plain[part] / _MIB:.1f} MiB"
        result.rows.append(Row(f"memory of an E4M3 step: {part}", quantized[part] / _MIB, "MiB", note=note))
    return result


def probe(name: str, setting: Setting) -> dict[str, Any]:
    """Return the peak of some steps and its parts, in bytes."""
    quantized = name == "memory-quantized"
    tiny = Setting(setting.device, setting.threads, quick=True)
    training_step(*build(tiny, quantized), batch(tiny), compiled=False)()
    gc.collect()
    baseline = _reset_peak(setting)
    model, optimizer = build(setting, quantized)
    tokens = batch(setting)
    step = training_step(model, optimizer, tokens, compiled=False)
    for _ in range(_STEPS):
        step()
    found: dict[str, Any] = {"peak": _peak(setting) - baseline, **_parts(model, optimizer, tokens)}
    found["temporaries"] = found["peak"] - sum(found[part] for part in PARTS[:-1])
    return found


def _parts(model: GPT, optimizer: torch.optim.Optimizer, tokens: tuple[Tensor, Tensor]) -> dict[str, int]:
    parameters = list(model.parameters())
    own = _storages(parameters)
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(*tokens)[1].backward()
    # Activations have another shape than any weight: they are as long as the batch.
    shapes = {shape for p in parameters if p.ndim == 2 for shape in (tuple(p.shape), tuple(p.shape[::-1]))}
    copies = {k: v for k, v in _storages(t for t in saved if tuple(t.shape) in shapes).items() if k not in own}
    activations = {k: v for k, v in _storages(saved).items() if k not in own | copies}
    state = [value for kept in optimizer.state.values() for value in kept.values() if isinstance(value, Tensor)]
    return {
        "parameters": sum(own.values()),
        "gradients": sum(_storages(p.grad for p in parameters if p.grad is not None).values()),
        "optimizer state": sum(_storages(state).values()),
        "quantized copies": sum(copies.values()),
        "activations": sum(activations.values()),
    }


def _storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Return the sizes in bytes of the storages of tensors, by address: what several share counts once."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _reset_peak(setting: Setting) -> int:
    """Start the peak anew where the system lets us; return what is in use, in bytes."""
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak is the present from here on
    except OSError:
        pass
    return _peak(setting)


def _peak(setting: Setting) -> int:
    if setting.device == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
