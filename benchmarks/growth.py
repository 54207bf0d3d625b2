"""What grows with the model and with the run: steps with parameters, telemetry with steps. Neither may grow faster."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from altgrad.models.gpt import GPT, GPTConfig
from benchmarks.model import batch, fill_gradients, plain_optimizer, quantize, training_step
from benchmarks.rows import Result, Row, Series, Target
from benchmarks.setting import Setting, size_words
from benchmarks.timing import interleave
from benchmarks.tiny import WINDOW, make_corpus, train

LINEAR = Target(1.1)
"""The largest slope in a plot of logarithms that counts as linear; what does not grow at first makes it smaller."""

R2 = Target(0.99, at_least=True)
"""The least share of the variance that a straight line is to explain."""

_WIDTH = 320
_MATRICES = (1, 3, 10, 31, 98, 293, 488)
_CHANNELS = (48, 96, 160, 320, 512, 1024)
_STEPS = (100, 200, 400)
_OURS, _PLAIN = "ManifoldAdamW step, nearest, counted, compiled", "fused AdamW"
_OUR_STEP, _PLAIN_STEP = "training step, E4M3, counted, eager", "float32"


def run(setting: Setting) -> Result:
    """Time steps of models of 0.1 to 50 million parameters, and weigh the telemetry of runs of 100 to 400 steps.

    On one thread: where threads wait for each other, any other program bends the curves of small models.
    """
    result = Result()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _optimizer_steps(setting, result)
        _training_steps(setting, result)
    finally:
        torch.set_num_threads(threads)
    _telemetry(setting, result)
    return result


def slope(x: list[float], y: list[float]) -> float:
    """Return the slope of the straight line through the logarithms: 1 where y is proportional to x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def r_squared(x: list[float], y: list[float]) -> float:
    """Return the share of y's variance that the straight line through x and y explains."""
    rest = np.array(y) - np.polyval(np.polyfit(x, y, 1), x)
    return float(1 - rest.var() / np.var(y))


def _optimizer_steps(setting: Setting, result: Result) -> None:
    """Time optimizer steps on growing numbers of square matrices."""
    x: list[float] = []
    times: dict[str, list[float]] = {_OURS: [], _PLAIN: []}
    for count in _MATRICES[:3] if setting.quick else _MATRICES:
        contenders: dict[str, Callable[[], object]] = {}
        for name in times:
            layers = nn.Sequential(*(nn.Linear(_WIDTH, _WIDTH, bias=False) for _ in range(count))).to(setting.device)
            optimizer = plain_optimizer(layers) if name == _PLAIN else quantize(layers, compiled=True)
            fill_gradients(layers)
            contenders[name] = optimizer.step
        measured = interleave(contenders, setting, budget_s=3.0)
        x.append(float(count * _WIDTH**2))
        for name in times:
            times[name].append(measured.median_s(name) * 1e3)
    _add(result, x, times, "optimizer step (ms)", _OURS)


def _training_steps(setting: Setting, result: Result) -> None:
    """Time whole steps, eager, of models that grow in width."""
    x: list[float] = []
    times: dict[str, list[float]] = {_OUR_STEP: [], _PLAIN_STEP: []}
    for channels in _CHANNELS[:3] if setting.quick else _CHANNELS:
        shape = GPTConfig(vocab_size=256, block_size=64, n_layer=4, n_head=2, n_embd=channels)
        tokens = batch(setting, shape, sequences=4)
        contenders: dict[str, Callable[[], object]] = {}
        for name in times:
            model = GPT(shape).to(setting.device)
            optimizer = plain_optimizer(model) if name == _PLAIN_STEP else quantize(model)
            contenders[name] = training_step(model, optimizer, tokens, compiled=False)
        measured = interleave(contenders, setting, budget_s=4.0)
        x.append(float(sum(p.numel() for p in model.parameters())))
        for name in times:
            times[name].append(measured.median_s(name) * 1e3)
    _add(result, x, times, "training step (ms)", _OUR_STEP)


def _telemetry(setting: Setting, result: Result) -> None:
    """Weigh the telemetry of tiny runs, and time them."""
    steps = [count // 5 for count in _STEPS] if setting.quick else list(_STEPS)
    sizes, times = [], []
    with tempfile.TemporaryDirectory() as name:
        corpus = make_corpus(Path(name))
        for count in steps:
            out = Path(name) / f"run{count}"
            times.append(train(count, setting, corpus, out))
            sizes.append((out / "telemetry.parquet").stat().st_size / 1024)
    x = [float(count) for count in steps]
    _add(result, x, {"telemetry.parquet": sizes}, "telemetry (KiB)", "telemetry.parquet", "steps")
    a_step = float(np.polyfit(x, sizes, 1)[0]) * 1024
    result.rows.append(Row("telemetry, each further step", a_step, "B", note=f"windows of {WINDOW} steps"))
    a_step = float(np.polyfit(x, times, 1)[0]) * 1e3
    result.rows.append(Row("time of a tiny run, each further step", a_step, "ms", note=f"R2 {r_squared(x, times):.4f}"))


def _add(
    result: Result, x: list[float], y: dict[str, list[float]], y_label: str, ours: str, x_label: str = "parameters"
) -> None:
    """Add the curves, and how straight ours is."""
    span = (
        f"{size_words(int(x[0]))} to {size_words(int(x[-1]))}" if x_label == "parameters" else f"{x[0]:g} to {x[-1]:g}"
    )
    others = [f"{name}: {slope(x, values):.2f}" for name, values in y.items() if name != ours]
    words = f"{ours} over {x_label}, {span}"
    result.rows.append(Row(f"{words}: log-log slope", slope(x, y[ours]), "", target=LINEAR, note=", ".join(others)))
    result.rows.append(Row(f"{words}: R2 of a straight line", r_squared(x, y[ours]), "", target=R2))
    result.series += [Series(name, x_label, y_label, x, values) for name, values in y.items()]
