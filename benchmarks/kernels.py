"""How many kernels a step takes: launches on a GPU; on CPU, operations and compiled functions that do work."""

from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.model import batch, build, fill_gradients, training_step
from benchmarks.probe import measure
from benchmarks.rows import Result, Row
from benchmarks.setting import Setting

_COMPILED = "graph_"
"""How the names of Inductor's functions begin."""

# Operations that only make another view of memory, ask for some, or have nothing to do.
_NO_WORK = {
    f"aten::{name}"
    for name in "alias as_strided contiguous detach detach_ dropout empty empty_like empty_strided expand flatten "
    "is_pinned item lift_fresh narrow permute reshape resize_ resolve_conj resolve_neg result_type select slice split "
    "split_with_sizes squeeze t to transpose unbind unsqueeze view _local_scalar_dense _reshape_alias "
    "_unsafe_view".split()
}


def run(setting: Setting) -> Result:
    """Count the kernels of whole steps and of the optimizers' part of them."""
    found = measure("kernels", setting)
    result = Result()
    for part in ("a training step", "an optimizer step"):
        for kind in ("eager", "compiled"):
            plain, quantized = found[f"{part}, plain, {kind}"], found[f"{part}, quantized, {kind}"]
            name = f"kernels of {part}, E4M3, counted, {kind}"
            result.rows.append(Row(name, quantized, "kernels", note=f"float32: {plain}"))
    return result


def probe(name: str, setting: Setting) -> dict[str, Any]:
    """Return numbers of kernels, by what is run."""
    import torch._inductor.config as inductor

    inductor.cpp.enable_kernel_profile = True
    counts = {}
    tokens = batch(setting)
    for compiled in (False, True):
        kind = "compiled" if compiled else "eager"
        for words in ("plain", "quantized"):
            model, optimizer = build(setting, words == "quantized", compiled)
            step = training_step(model, optimizer, tokens, compiled)
            counts[f"a training step, {words}, {kind}"] = _count(step, setting)
            fill_gradients(model)
            counts[f"an optimizer step, {words}, {kind}"] = _count(optimizer.step, setting)
    return counts


def _count(call: Any, setting: Setting) -> int:
    for _ in range(2):
        call()
    on_cuda = setting.device == "cuda"
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_cuda]
    with profile(activities=activities) as profiler:
        call()
        if on_cuda:
            torch.cuda.synchronize()
    events = profiler.events() or ()
    if on_cuda:
        return sum(e.device_type == DeviceType.CUDA for e in events)
    return sum(_working(event) for event in events if event.cpu_parent is None)


def _working(event: Any) -> int:
    """Return how many of the operations within one do work: the innermost ones that do, or else itself."""
    within = sum(_working(child) for child in event.cpu_children)
    works = event.name.startswith(("aten::", _COMPILED)) and event.name not in _NO_WORK
    return within or int(works)
