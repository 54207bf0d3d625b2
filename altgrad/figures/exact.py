"""Limits of formats in exact words, for tables and figures that must not round them."""

import math


def exact_words(value: float) -> str:
    """Return a positive number exactly: in decimals where that is short, else with a power of two.

    Args:
        value: At least 0.

    Example:
        >>> [exact_words(x) for x in (0.0, 448.0, 0.9921875, 2.0**-9, 1.5 * 2.0**31)]
        ['0', '448', '0.9921875', '2^-9', '1.5 * 2^31']
    """
    significand, exponent = math.frexp(value)
    if value == 0 or 2.0**-4 <= value < 1e6:
        return f"{value:.10g}"
    power = f"2^{exponent - 1}"
    return power if significand == 0.5 else f"{2 * significand:.10g} * {power}"
