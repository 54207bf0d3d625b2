"""What a run measures, and the files that record it.

The probes load on first use (PEP 562), so that the recorder does not wait for them.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from altgrad.telemetry.correlation import magnitude_correlation, stiffness_correlation
    from altgrad.telemetry.counters import stall_ratio
    from altgrad.telemetry.descent import effective_descent_quality, rung_moves, ulp_statistics
    from altgrad.telemetry.gradients import dead_fraction, gradient_cosine, gradient_snr_db
    from altgrad.telemetry.hessian import hessian_spectrum
    from altgrad.telemetry.probes import capacity, grid_alignment
    from altgrad.telemetry.rank import effective_rank, entropy_rank, stable_rank
    from altgrad.telemetry.rank_trend import rank_warning

__all__ = [
    "capacity",
    "dead_fraction",
    "effective_descent_quality",
    "effective_rank",
    "entropy_rank",
    "gradient_cosine",
    "gradient_snr_db",
    "grid_alignment",
    "hessian_spectrum",
    "magnitude_correlation",
    "rank_warning",
    "rung_moves",
    "stable_rank",
    "stall_ratio",
    "stiffness_correlation",
    "ulp_statistics",
]

_HOMES = {
    "correlation": ("magnitude_correlation", "stiffness_correlation"),
    "counters": ("stall_ratio",),
    "descent": ("effective_descent_quality", "rung_moves", "ulp_statistics"),
    "gradients": ("dead_fraction", "gradient_cosine", "gradient_snr_db"),
    "hessian": ("hessian_spectrum",),
    "probes": ("capacity", "grid_alignment"),
    "rank": ("effective_rank", "entropy_rank", "stable_rank"),
    "rank_trend": ("rank_warning",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module that a public name lives in."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'altgrad.telemetry' has no attribute {name!r}")
    return getattr(importlib.import_module(f"altgrad.telemetry.{_HOME_OF[name]}"), name)
