"""The grid that a sheet's rows live on."""

from typing import NamedTuple

import torch
from torch import Tensor

from altgrad.numerics.format import FloatFormat
from altgrad.numerics.kernel import (
    Constants,
    Number,
    Packed,
    numbers,
    round_nearest,
    round_stochastic,
    spacing,
    tensors,
)
from altgrad.numerics.noise import thresholds
from altgrad.numerics.units import arithmetic_dtype


class Grid(NamedTuple):
    """A format at the scales of some rows: the values that quantized weights can take.

    Attributes:
        unit: Real value of one unit of the format, (rows, 1), in the arithmetic's dtype; None for 1 everywhere.
        inverse: Its reciprocal, where every unit is a power of two; else None, and values are divided.
        dtype: The dtype that rounds: that of the arithmetic, and float64 for the 16-bit references.
        packed: The format in that dtype; see `c`.
        packed_wide: The format in float64, for positions; None where there are none.
    """

    unit: Tensor | None
    inverse: Tensor | None
    dtype: torch.dtype
    packed: Constants | Packed
    packed_wide: Constants | Packed | None

    @property
    def c(self) -> Constants:
        """The format in the dtype that rounds."""
        return _unpacked(self.packed)

    @property
    def wide(self) -> Constants:
        """The format in float64."""
        assert self.packed_wide is not None, "asked for with positions=True"
        return _unpacked(self.packed_wide)

    @property
    def limit(self) -> Number:
        """The largest magnitude on the grid: a number, or a tensor that broadcasts to the rows."""
        return self.c.highest if self.unit is None else self.unit * self.c.highest

    def to_units(self, x: Tensor) -> Tensor:
        """Return values in units of the format, in the arithmetic's dtype."""
        y = x.to(arithmetic_dtype(x.dtype))
        if self.inverse is not None:
            y = y * self.inverse
        elif self.unit is not None:
            y = y / self.unit
        return y

    def from_units(self, y: Tensor, dtype: torch.dtype) -> Tensor:
        """Return real values of a dtype; in eager mode `y` is overwritten."""
        if self.unit is not None:
            y = y * self.unit if torch.compiler.is_compiling() else y.mul_(self.unit)
        return y.to(dtype)

    def nearest(self, y: Tensor) -> Tensor:
        """Return values in units rounded to nearest, in the dtype that rounds."""
        # References round as torch's cast does, by way of float32.
        y = y if y.dtype == self.dtype else y.to(torch.float32).to(self.dtype)
        return round_nearest(y, y, self.c)

    def stochastic(self, y: Tensor, key: Tensor, start: int | Tensor) -> Tensor:
        """Return values in units rounded up or down at random; `start` is the index of the first."""
        return round_stochastic(y, y, thresholds(y.shape, key, y.dtype, start), self.c)

    def held(self, x: Tensor) -> Tensor:
        """Return real values held to the grid's range."""
        return x.clamp(max=self.limit).clamp_(min=-self.limit)

    def ulp(self, x: Tensor) -> Tensor:
        """Return the real grid spacing at real values, in the arithmetic's dtype."""
        return self.from_units(spacing(self.to_units(x).to(self.dtype), self.c), arithmetic_dtype(x.dtype))

    def rows(self, part: slice) -> "Grid":
        """Return the grid of some of the rows."""
        unit = None if self.unit is None else self.unit[part]
        return self._replace(unit=unit, inverse=None if self.inverse is None else self.inverse[part])


def _unpacked(c: Constants | Packed) -> Constants:
    return c.unpack() if isinstance(c, Packed) else c


def make_grid(
    fmt: FloatFormat, unit: Tensor | None, power_of_two: bool, like: Tensor, *, positions: bool = False, kernel: bool
) -> Grid:
    """Return the grid of rows.

    Args:
        fmt: The format.
        unit: One scale a row, (rows, 1), float32; None for 1.
        power_of_two: Whether every scale is a power of two.
        like: The weights; their dtype and device decide the arithmetic.
        positions: Whether positions on the number line will be asked for.
        kernel: Whether a kernel will use it, which takes formats as tensors.
    """
    working = arithmetic_dtype(like.dtype)
    rounding = torch.float64 if fmt.is_reference else working

    def constants(dtype: torch.dtype) -> Constants | Packed:
        return tensors(fmt, dtype, like.device) if kernel else numbers(fmt, dtype)

    if unit is not None:
        unit = unit.to(working)
    inverse = unit.reciprocal() if unit is not None and power_of_two else None
    return Grid(unit, inverse, rounding, constants(rounding), constants(torch.float64) if positions else None)
