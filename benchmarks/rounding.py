"""Rounding against a copy of the same tensor, which is what memory allows."""

from collections.abc import Callable

import torch

import altgrad as ag
from benchmarks.rows import Result, Row, Target
from benchmarks.setting import Setting, size_words
from benchmarks.timing import interleave

FORMAT = "E4M3"

_SMALL, _MIDDLE, _LARGE = range(3)
_TARGETS = {
    ("compiled", _MIDDLE): 2.7,
    ("compiled", _LARGE): 1.15,
    ("eager", _MIDDLE): 7.0,
    ("eager", _LARGE): 5.0,
    ("stochastic, compiled", _LARGE): 2.5,
}
_COUNTED = Target(1.3)


def run(setting: Setting) -> Result:
    """Time `quantize` and `quantize_and_count`, eager and compiled, into a buffer."""
    result = Result()
    for place, n in enumerate(setting.elements):
        contenders = _contenders(setting, n)
        times = interleave(contenders, setting)
        words = size_words(n)
        for name in contenders:
            if name in ("copy_", "counted, compiled"):
                continue
            limit = _TARGETS.get((name, place))
            label = f"quantize, {name} / copy_, {words}"
            result.rows.append(times.ratio(name, "copy_", label, None if limit is None else Target(limit)))
        label = f"quantize_and_count / quantize, both compiled, {words}"
        target = _COUNTED if place == _LARGE else None
        result.rows.append(times.ratio("counted, compiled", "compiled", label, target))
        result.rows.append(Row(f"copy_, {words}", times.median_s("copy_") * 1e3, "ms"))
    return result


def _contenders(setting: Setting, n: int) -> dict[str, Callable[[], object]]:
    x = setting.tensor(n)
    out, previous = torch.empty_like(x), ag.quantize(setting.tensor(n, seed=6), FORMAT)
    draws = torch.Generator().manual_seed(1)
    return {
        "copy_": lambda: out.copy_(x),
        "eager": lambda: ag.quantize(x, FORMAT, out=out),
        "compiled": lambda: ag.quantize(x, FORMAT, out=out, compiled=True),
        "stochastic, eager": lambda: ag.quantize(x, FORMAT, None, "stochastic", generator=draws, out=out),
        "stochastic, compiled": lambda: ag.quantize(
            x, FORMAT, None, "stochastic", generator=draws, out=out, compiled=True
        ),
        "counted, compiled": lambda: ag.quantize_and_count(x, FORMAT, previous=previous, out=out, compiled=True),
    }
