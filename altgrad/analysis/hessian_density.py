"""The density of a Hessian's spectrum, from the nodes and weights of stochastic Lanczos runs. NumPy arrays only."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

KAPPA = 3.0
"""Height of a kernel over its height half a node's spacing away; Papyan (2020, section D.2) takes 3."""

MARGIN = 6
"""Standard deviations of the kernel that the grid goes on beyond the range: all but 1e-9 of the mass."""

NARROW = 1e-9
"""Width of a range, over its largest magnitude, below which all nodes count as one."""

TINY = 1e-290
"""Magnitudes below which a density could not be represented; such nodes count as 0."""


def spectral_density(
    nodes: Array, weights: Array, points: int = 256, span: tuple[float, float] | None = None
) -> tuple[Array, Array]:
    """Smooth a quadrature of the spectral density with Gaussians (Lin, Saad and Yang 2016, SIAM Review 58).

    The kernel's standard deviation is ``width / ((m - 1) sqrt(8 log KAPPA))``, as if the m nodes were evenly spaced
    over the width of the range, but at least the spacing of the grid, so that the trapezoid rule is exact to 1e-8.
    If all nodes are one, the width is its magnitude, or 1 for 0.

    Args:
        nodes: Eigenvalues (vectors, m).
        weights: Their weights, which sum to 1 in each row, (vectors, m). A node with weight 0 is left out.
        points: Points of the grid, at least 14.
        span: Range that the grid and the kernel's width follow, for densities on one grid; else that of the nodes.
            Mass outside is not on the grid.

    Returns:
        Evenly spaced eigenvalues (points,), and the mean density of the vectors there (points,). All NaN if there is
        no node, or a number is not finite.
    """
    kept = weights != 0
    values, shares = nodes[kept], weights[kept]
    if not values.size or not (np.isfinite(values).all() and np.isfinite(shares).all()):
        return np.full(points, math.nan), np.full(points, math.nan)
    low, high = span or (float(values.min()), float(values.max()))
    between = max(nodes.shape[1] - 1, 1) * math.sqrt(8 * math.log(KAPPA))
    sigma = _width(low, high) * max(1 / between, 1 / (points - 1 - 2 * MARGIN))
    grid = np.linspace(low - MARGIN * sigma, high + MARGIN * sigma, points)
    kernels = np.exp(-0.5 * ((grid[:, None] - values) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return grid, kernels @ shares / len(nodes)


def _width(low: float, high: float) -> float:
    magnitude = max(abs(low), abs(high))
    if magnitude < TINY:
        return 1.0
    return high - low if high - low > NARROW * magnitude else magnitude
