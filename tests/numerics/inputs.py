"""Inputs that rounding goes wrong on: every half-width pattern, every tie and its neighbors, edges and specials."""

from functools import cache

import numpy as np
import torch

from tests.numerics.oracle import Grid, grid_of

SCALES = (2.0**-40, 2.0**-7, 1.0, 2.0**13)
ODD_SCALES = (0.0037, 3.3)
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@cache
def every_pattern(dtype: torch.dtype) -> torch.Tensor:
    """Return all 65,536 bit patterns of a 16-bit float dtype."""
    return torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)


def hard_values(name: str, dtype: type, scale: float = 1.0) -> np.ndarray:
    """Return a format's grid, ties, the dtype's binade edges and specials at a scale, with their neighbors in `dtype`.

    The edges are those of float32 for float64 too, and its subnormals' and beyond.
    """
    return hard_values_of(grid_of(name), dtype, scale)


def hard_values_of(grid: Grid, dtype: type, scale: float = 1.0) -> np.ndarray:
    """Return `hard_values` of any grid."""
    points = [float(value) for value in (*grid.magnitudes, *grid.midpoints)]
    info = np.finfo(dtype)
    points += [2.0**e for e in range(-149, 128)]
    exact = np.array(points, dtype=np.float64) * scale
    exact = np.concatenate([exact, [info.tiny, info.smallest_subnormal, info.max, 3e38, 1e-40, 1.5 * 2.0**-127]])
    with np.errstate(under="ignore", over="ignore"):
        center = exact.astype(dtype)
        values = np.concatenate([center, np.nextafter(center, dtype(0)), np.nextafter(center, dtype(np.inf))])
    values = np.concatenate([values, np.array([0.0, np.inf], dtype=dtype)])
    return np.concatenate([values, -values, np.array([np.nan], dtype=dtype)])


def hard_tensor(name: str, dtype: torch.dtype, scale: float = 1.0) -> torch.Tensor:
    """Return every input that a format is tested on in one dtype: `hard_values` or, where they fit, all patterns."""
    if dtype.itemsize == 2:
        return every_pattern(dtype)
    values = torch.from_numpy(hard_values(name, np.float32 if dtype == torch.float32 else np.float64, scale))
    return torch.cat([every_pattern(torch.bfloat16).to(dtype), values])
