"""The optimizer's step against torch's fused AdamW, on the parameters of one model, gradients in place."""

from collections.abc import Callable

from altgrad.models.gpt import GPT
from benchmarks.model import config, fill_gradients, plain_optimizer, quantize
from benchmarks.rows import Result, Row, Target
from benchmarks.setting import Setting
from benchmarks.timing import interleave

STORAGES = ("master", "nearest", "stochastic")
_PLAIN, _COUNTED = Target(1.15), Target(1.5)


def run(setting: Setting) -> Result:
    """Time steps of `ManifoldAdamW` in every storage, compiled and counted or not; and one eager, for comparison."""
    fused = "torch AdamW(fused=True)"
    rows: dict[str, Target | None] = {}
    contenders: dict[str, Callable[[], object]] = {fused: _plain_step(setting)}
    for storage in STORAGES:
        for count in (False, True):
            name = f"ManifoldAdamW step, {storage}{', counted' if count else ''}, compiled / fused AdamW"
            contenders[name] = _grid_step(setting, storage, count, compiled=True)
            rows[name] = _COUNTED if count else _PLAIN
    for count in (False, True):
        name = f"ManifoldAdamW step, nearest{', counted' if count else ''}, eager / fused AdamW"
        contenders[name] = _grid_step(setting, "nearest", count, compiled=False)
        rows[name] = None
    times = interleave(contenders, setting, budget_s=25.0)
    result = Result([times.ratio(name, fused, target=target) for name, target in rows.items()])
    result.rows.append(Row(f"{fused} step", times.median_s(fused) * 1e3, "ms"))
    return result


def _plain_step(setting: Setting) -> Callable[[], object]:
    model = GPT(config(setting)).to(setting.device)
    fill_gradients(model)
    return plain_optimizer(model).step


def _grid_step(setting: Setting, storage: str, count: bool, compiled: bool) -> Callable[[], object]:
    model = GPT(config(setting)).to(setting.device)
    optimizer = quantize(model, storage, count, compiled)
    fill_gradients(model)
    return optimizer.step
