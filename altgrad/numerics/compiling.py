"""Kernels: elementwise functions that run eagerly in tiles, or compiled in one pass, with the same bits.

A kernel is compiled once for all formats and all shapes (Dynamo calls each further version a recompilation): formats
come in as tensors (`kernel.Packed`), sizes are dynamic. Compilation takes seconds; the first call in a process pays
for it, or a part of it where Inductor's cache on disk is warm.
"""

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import torch
from torch.utils.dlpack import from_dlpack, to_dlpack  # type: ignore[attr-defined]  # not in its __all__

TILE = 1 << 18
"""Elements of a tile in eager mode: a pass over it stays within the caches of most processors (1 MiB of float32)."""

SMALLEST = 32
"""Sizes from which tensors go to kernels. Below it is not worth it, and the compiler could take a size for that of a
small tensor of constants, or for 0 or 1, and compile a version for it."""

_DEVICES = ("cpu", "cuda")

_KERNELS: "weakref.WeakSet[Kernel]" = weakref.WeakSet()


def tile_rows(width: int, device: torch.device) -> int:
    """Return how many rows of a width an eager pass takes at once: on a CPU a tile's, on a GPU any number.

    Args:
        width: Elements of a row.
        device: Where they are.
    """
    return max(1, TILE // max(width, 1)) if device.type == "cpu" else sys.maxsize


class Kernel:
    """A function on tensors, compiled at its first call.

    Args:
        function: The function. Its tensors' sizes must not decide what it does, nor values anything.
        name: For `compiled_variants`; the function's own if left out.
        fixed: Arguments that are the same at every call, by name: they make kernels of their own.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None, **fixed: Any) -> None:
        self.name = name or function.__name__
        self._function = function
        self._fixed = fixed
        self._body: FunctionType | None = None
        self._compiled: Callable[..., Any] | None = None
        _KERNELS.add(self)

    def compiled(self, *arguments: Any) -> Any:
        """Call the compiled function, compiling it first where this process has not yet."""
        if self._compiled is None:
            self._compiled = self._compile()
        if not _special_mode():  # leaving modes takes as long as all other preparations of a call
            return self._compiled(*_plain(arguments))
        with torch.inference_mode(False), torch.no_grad(), _no_autocast():
            return self._compiled(*_plain(arguments))

    def _compile(self) -> Callable[..., Any]:
        function, fixed = self._function, self._fixed

        def body(*arguments: Any) -> Any:
            return function(*arguments, **fixed)

        # Dynamo keeps versions, and their limit, by code object: each kernel has one of its own.
        code = body.__code__.replace(co_name=self.name)
        self._body = FunctionType(code, body.__globals__, self.name, closure=body.__closure__)
        options: dict[str, Any] = {
            # Else Inductor carries float32's digits past a rounding to a half type; counts see what is never stored.
            "emulate_precision_casts": True,
            # It decides by the first call's sizes whether to use threads, for good: a small one must not forbid them.
            "cpp.min_chunk_size": 1,
        }
        return torch.compile(self._body, dynamic=True, fullgraph=True, options=options)

    def variants(self) -> int:
        """Return how many versions of the function this process has compiled; more than one would be a defect."""
        if self._body is None:
            return 0
        from torch._dynamo.eval_frame import _debug_get_cache_entry_list

        return len(_debug_get_cache_entry_list(self._body.__code__))


def _special_mode() -> bool:
    """Return whether gradients, inference mode or autocast are on: each would be part of what Dynamo compiles for."""
    return torch.is_grad_enabled() or torch.is_inference_mode_enabled() or any(map(torch.is_autocast_enabled, _DEVICES))


@contextlib.contextmanager
def _no_autocast() -> Iterator[None]:
    """Leave autocast, which changes nothing of what kernels do, where some device is under it."""
    with contextlib.ExitStack() as stack:
        for device in _DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def _plain(argument: Any) -> Any:
    """Return arguments with views, parameters and inference tensors as plain tensors on the same memory.

    A view's offset, the shape of what it is a view of, and a tensor's kind would be part of what Dynamo compiles for.
    """
    if isinstance(argument, torch.Tensor):
        own = argument._base is None and not argument.storage_offset()
        if own and not argument.requires_grad and not argument.is_inference():
            return argument
        return from_dlpack(to_dlpack(argument.detach()))
    if isinstance(argument, tuple):
        parts = [_plain(part) for part in argument]
        return type(argument)(*parts) if hasattr(argument, "_fields") else tuple(parts)
    return argument


def compiled_variants() -> dict[str, int]:
    """Return the number of compiled versions of every kernel that this process has compiled, by name.

    Kernels of one name (for other dtypes, or with other parts absent) show the largest of their numbers.
    """
    found: dict[str, int] = {}
    for kernel in sorted(_KERNELS, key=lambda kernel: kernel.name):
        if kernel.variants():
            found[kernel.name] = max(kernel.variants(), found.get(kernel.name, 0))
    return found
