"""Quantized modules, precision plans and the surgery that puts them into any torch model."""
