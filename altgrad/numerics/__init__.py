"""Number formats as data, exact rounding, codes, geometry and scales."""
