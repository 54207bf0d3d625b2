"""How often a training run waits for its device to bring values to Python, while it trains.

A value is read where a tensor becomes a Python number, a list or an array; what is computed from a tensor that was
brought over is there already. On CPU the tensor does not tell whether a GPU run would hold it on the host (as it does
the places of a batch in the corpus); the folder of the code does: reads in `altgrad/data` are the host's own.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import altgrad
from benchmarks.probe import measure
from benchmarks.rows import Result, Row, Target
from benchmarks.setting import Setting
from benchmarks.tiny import WINDOW, make_corpus, make_run

_PACKAGE = Path(altgrad.__file__).parent
_READS = {
    torch.Tensor.cpu,
    torch.Tensor.item,
    torch.Tensor.tolist,
    torch.Tensor.numpy,
    torch.Tensor.__array__,
    torch.Tensor.__bool__,
    torch.Tensor.__float__,
    torch.Tensor.__int__,
    torch.Tensor.__index__,
}
_WINDOWS = (2, 4)


def run(setting: Setting) -> Result:
    """Count what one more window of steps reads, by place."""
    places: dict[str, float] = measure("transfers", setting)
    note = ", ".join(f"{place}: {count:g}" for place, count in sorted(places.items(), key=lambda item: -item[1]))
    total = sum(places.values())
    telemetry = sum(count for place, count in places.items() if place.startswith("telemetry/"))
    words = f"transfers to the host in a window of {WINDOW} steps"
    return Result(
        [
            Row(f"{words}, by telemetry", telemetry, "", target=Target(1)),
            Row(f"{words}, all of training", total, "", note=note),
        ]
    )


def probe(name: str, setting: Setting) -> dict[str, Any]:
    """Return the reads of one window of steps, by function: what twice as many windows read more, over their number."""
    from altgrad.training.run import train_run

    counts = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder))
        for windows in _WINDOWS:
            run, reads = make_run(windows * WINDOW, setting), Reads()
            with reads:
                train_run(run, corpus, Path(folder) / str(windows), False, say=lambda message: None)
            counts.append(reads.places)
    more = counts[1]
    more.subtract(counts[0])
    return {place: count / (_WINDOWS[1] - _WINDOWS[0]) for place, count in more.items() if count}


class Reads:
    """Counts, while it is entered, the places where a tensor's values become Python's.

    Attributes:
        places: Numbers of reads by `file:function`, within altgrad and outside its data folder.
    """

    def __init__(self) -> None:
        self.places: Counter[str] = Counter()
        self._depth = 0
        self._on_host: set[int] = set()
        self._kept: list[torch.Tensor] = []  # an address is a tensor's own only while the tensor lives
        self._modes = (_Functions(self), _Dispatches(self))

    def __enter__(self) -> "Reads":
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function of tensors, and count it if it reads what is not on the host already."""
        reads, on_host = function in _READS, any(id(leaf) in self._on_host for leaf in tree_leaves(args))
        if reads and not on_host:
            self.note()
        self._depth += reads
        try:
            value = function(*args, **kwargs)
        finally:
            self._depth -= reads
        if reads or on_host:
            tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
            self._on_host.update(map(id, tensors))
            self._kept += tensors
        return value

    def note(self) -> None:
        """Count a read at the innermost place of the package, unless it is part of one that is counted."""
        frame = sys._getframe(1)
        while not self._depth and frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(_PACKAGE):
                place = path.relative_to(_PACKAGE)
                if place.parts[0] != "data":
                    self.places[f"{place}:{frame.f_code.co_name}"] += 1
                return
            frame = frame.f_back  # type: ignore[assignment]


class _Functions(TorchFunctionMode):
    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self._reads = reads

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._reads.call(func, args, kwargs or {})


class _Dispatches(TorchDispatchMode):
    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self._reads = reads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self._reads.note()
        return func(*args, **(kwargs or {}))
