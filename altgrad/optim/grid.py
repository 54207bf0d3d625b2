"""The grid that a weight lives on."""

from typing import NamedTuple

from torch import Tensor

from altgrad.numerics.format import FloatFormat


class Grid(NamedTuple):
    """A format at a scale: the values that a quantized weight can take.

    Attributes:
        fmt: The format.
        scale: Real value of one unit of the format, float32: 0-dim, or (rows, 1) for one scale a row.
    """

    fmt: FloatFormat
    scale: Tensor
