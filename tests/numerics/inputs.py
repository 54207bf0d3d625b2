"""Inputs that rounding goes wrong on: every half-width pattern, every tie and its neighbors, edges and specials."""

import numpy as np
import torch

from tests.numerics.oracle import GRIDS


def every_pattern(dtype: torch.dtype) -> torch.Tensor:
    """Return all 65,536 bit patterns of a 16-bit float dtype."""
    return torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)


def hard_values(name: str, dtype: type, scale: float = 1.0) -> np.ndarray:
    """Return a format's grid, ties, binade edges and specials at a scale, with their neighbors in `dtype`."""
    grid = GRIDS[name]
    points = [float(value) for value in (*grid.magnitudes, *grid.midpoints)]
    info = np.finfo(dtype)
    points += [2.0**e for e in range(-30, 30)]
    exact = np.array(points, dtype=np.float64) * scale
    exact = np.concatenate([exact, [info.tiny, info.smallest_subnormal, info.max, 3e38, 1e-40, 1.5 * 2.0**-127]])
    with np.errstate(under="ignore", over="ignore"):
        center = exact.astype(dtype)
        values = np.concatenate([center, np.nextafter(center, dtype(0)), np.nextafter(center, dtype(np.inf))])
    values = np.concatenate([values, np.array([0.0, np.inf], dtype=dtype)])
    return np.concatenate([values, -values, np.array([np.nan], dtype=dtype)])
