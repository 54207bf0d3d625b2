"""What a run measures, and the files that record it.

The probes load on first use (PEP 562), so that the recorder does not wait for them.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from altgrad.telemetry.probes import capacity, grid_alignment, stable_rank

__all__ = ["capacity", "grid_alignment", "stable_rank"]


def __getattr__(name: str) -> object:
    """Import the module that a public name lives in."""
    if name not in __all__:
        raise AttributeError(f"module 'altgrad.telemetry' has no attribute {name!r}")
    return getattr(importlib.import_module("altgrad.telemetry.probes"), name)
