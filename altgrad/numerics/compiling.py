"""Kernels: elementwise functions that run eagerly in tiles, or compiled in one pass, with the same bits.

A kernel is compiled once for all formats and all shapes (Dynamo calls each further version a recompilation): formats
come in as tensors (`kernel.Constants`), sizes are dynamic. Compilation takes seconds; the first call in a process pays
for it, or a part of it where Inductor's cache on disk is warm.
"""

import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch

TILE = 1 << 18
"""Elements of a tile in eager mode: a pass over it stays within the caches of most processors (1 MiB of float32)."""

_KERNELS: "weakref.WeakSet[Kernel]" = weakref.WeakSet()


class Kernel:
    """A function on tensors in two forms, plain and compiled.

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

    def eager(self, *arguments: Any) -> Any:
        """Call the function as it is."""
        return self._function(*arguments, **self._fixed)

    def compiled(self, *arguments: Any) -> Any:
        """Call the compiled function, compiling it first where this process has not yet."""
        if self._compiled is None:
            self._compiled = self._compile()
        with torch.no_grad():
            return self._compiled(*arguments)

    def _compile(self) -> Callable[..., Any]:
        function, fixed = self._function, self._fixed

        def body(*arguments: Any) -> Any:
            return function(*arguments, **fixed)

        # Dynamo keeps versions, and their limit, by code object: each kernel has one of its own.
        code = body.__code__.replace(co_name=self.name)
        self._body = FunctionType(code, body.__globals__, self.name, closure=body.__closure__)
        return torch.compile(self._body, dynamic=True, fullgraph=True)

    def variants(self) -> int:
        """Return how many versions of the function this process has compiled; more than one would be a defect."""
        if self._body is None:
            return 0
        from torch._dynamo.eval_frame import _debug_get_cache_entry_list

        return len(_debug_get_cache_entry_list(self._body.__code__))


def compiled_variants() -> dict[str, int]:
    """Return the number of compiled versions of every kernel that this process has compiled, by the kernel's name."""
    return {kernel.name: kernel.variants() for kernel in sorted(_KERNELS, key=lambda k: k.name) if kernel.variants()}
