"""Quantized modules, precision plans and the surgery that puts them into any torch model."""

from altgrad.nn.casts import Cast, named_casts
from altgrad.nn.modules import QuantizedEmbedding, QuantizedLinear
from altgrad.nn.plan import PrecisionPlan
from altgrad.nn.surgery import advance_scales, dequantize_model, named_quantized_weights, quantize_model

__all__ = [
    "Cast",
    "PrecisionPlan",
    "QuantizedEmbedding",
    "QuantizedLinear",
    "advance_scales",
    "dequantize_model",
    "named_casts",
    "named_quantized_weights",
    "quantize_model",
]
