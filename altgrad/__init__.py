"""AltGrad: a test bench and pipeline for geometry-aware training in 8-bit floating-point formats.

The public names load on first use (PEP 562): importing one light part, such as `altgrad.study`, does not import torch.
"""

import importlib
from typing import TYPE_CHECKING

from altgrad.version import __version__

if TYPE_CHECKING:
    from altgrad import data, models, nn, numerics, optim, study, telemetry, training
    from altgrad.nn import (
        PrecisionPlan,
        QuantizedEmbedding,
        QuantizedLinear,
        advance_scales,
        dequantize_model,
        quantize_model,
    )
    from altgrad.numerics.catalog import formats, register
    from altgrad.numerics.codec import decode, encode, from_rung, to_rung
    from altgrad.numerics.format import FloatFormat
    from altgrad.numerics.geometry import from_rung_position, rung_position, stiffness, ulp
    from altgrad.numerics.rounding import fake_quantize, quantize, quantize_and_count

__all__ = [
    "FloatFormat",
    "PrecisionPlan",
    "QuantizedEmbedding",
    "QuantizedLinear",
    "__version__",
    "advance_scales",
    "data",
    "decode",
    "dequantize_model",
    "encode",
    "fake_quantize",
    "formats",
    "from_rung",
    "from_rung_position",
    "models",
    "nn",
    "numerics",
    "optim",
    "quantize",
    "quantize_and_count",
    "quantize_model",
    "register",
    "rung_position",
    "stiffness",
    "study",
    "telemetry",
    "to_rung",
    "training",
    "ulp",
]

_MODULES = ("data", "models", "nn", "numerics", "optim", "study", "telemetry", "training")

_HOMES = {
    "altgrad.nn": (
        "PrecisionPlan",
        "QuantizedEmbedding",
        "QuantizedLinear",
        "advance_scales",
        "dequantize_model",
        "quantize_model",
    ),
    "altgrad.numerics.catalog": ("formats", "register"),
    "altgrad.numerics.codec": ("decode", "encode", "from_rung", "to_rung"),
    "altgrad.numerics.format": ("FloatFormat",),
    "altgrad.numerics.geometry": ("from_rung_position", "rung_position", "stiffness", "ulp"),
    "altgrad.numerics.rounding": ("fake_quantize", "quantize", "quantize_and_count"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module that a public name lives in, and keep the name here."""
    if name in _MODULES:
        return importlib.import_module(f"altgrad.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'altgrad' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted({*globals(), *__all__})
