"""The smoothed spectral density against SciPy's normal distribution, curvlinops and spectra out to break it."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import torch

from altgrad.analysis.hessian_density import Array, spectral_density

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it pulls in torch.jit
    from curvlinops.papyan2020traces.spectrum import lanczos_approximate_spectrum_from_iter


def quadrature(vectors: int, m: int, seed: int = 0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    return np.sort(random.normal(size=(vectors, m)) * 5), random.dirichlet(np.ones(m), size=vectors)


@pytest.mark.parametrize(
    ("vectors", "m", "points"), [(1, 2, 256), (2, 12, 256), (3, 90, 256), (2, 500, 256), (2, 12, 14)]
)
def test_it_is_a_mixture_of_normals_with_integral_one(vectors: int, m: int, points: int) -> None:
    nodes, weights = quadrature(vectors, m)
    grid, density = spectral_density(nodes, weights, points)
    assert grid.shape == density.shape == (points,)
    width = nodes.max() - nodes.min()
    rule = 2 * (width / 2) / ((m - 1) * math.sqrt(8 * math.log(3)))
    sigma = max(rule, width / (points - 13))
    expected = sum(
        weight * scipy.stats.norm.pdf(grid, node, sigma) for node, weight in zip(nodes.flat, weights.flat, strict=True)
    )
    np.testing.assert_allclose(density, expected / vectors, rtol=1e-9)
    assert scipy.integrate.trapezoid(density, grid) == pytest.approx(1, abs=1e-8)
    assert (np.diff(grid) <= sigma * (1 + 1e-9)).all()


def test_the_kernels_width_is_that_of_curvlinops() -> None:
    nodes, weights = quadrature(1, 12)
    components = torch.zeros(12, 12, dtype=torch.float64)
    components[0] = torch.from_numpy(np.sqrt(weights[0]))
    run = torch.from_numpy(nodes[0]), components
    grid, theirs = lanczos_approximate_spectrum_from_iter(run, (nodes.min(), nodes.max()), 500, 3.0, 0.0)
    ours = np.interp(grid.numpy(), *spectral_density(nodes, weights, 4000))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_vectors_count_alike() -> None:
    nodes, weights = quadrature(2, 12)
    span = (float(nodes.min()), float(nodes.max()))
    both = spectral_density(nodes, weights)[1]
    each = [spectral_density(nodes[v : v + 1], weights[v : v + 1], span=span)[1] for v in range(2)]
    np.testing.assert_allclose(both, np.mean(each, axis=0), rtol=1e-12)


def test_a_span_puts_spectra_on_one_grid() -> None:
    (one, weights), (two, _) = quadrature(2, 12), quadrature(2, 12, seed=1)
    grids = [spectral_density(nodes, weights, span=(-40.0, 50.0)) for nodes in (one, two)]
    np.testing.assert_array_equal(grids[0][0], grids[1][0])
    assert grids[0][0][0] < -40 and grids[0][0][-1] > 50
    for grid, density in grids:
        assert scipy.integrate.trapezoid(density, grid) == pytest.approx(1, abs=1e-8)


def test_nodes_without_weight_do_not_count() -> None:
    nodes, weights = np.array([[1.0, 2.0, 900.0], [1.5, 3.0, np.nan]]), np.array([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]])
    grid, density = spectral_density(nodes, weights)
    assert grid[0] > -10 and grid[-1] < 13
    assert scipy.integrate.trapezoid(density, grid) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("value", [0.0, 3.0, -1e-30, 1e200, 5e-324, -1e-310])
@pytest.mark.parametrize("noise", [0.0, 1e-13])
@pytest.mark.parametrize("m", [1, 5])
def test_a_spectrum_of_one_value_is_one_kernel_around_it(value: float, noise: float, m: int) -> None:
    nodes = np.full((2, m), value) * (1 + noise * np.arange(2)[:, None])
    grid, density = spectral_density(nodes, np.full((2, m), 1 / m))
    assert np.isfinite(density).all() and (np.diff(grid) > 0).all()
    assert scipy.integrate.trapezoid(density, grid) == pytest.approx(1, abs=1e-8)
    assert scipy.integrate.trapezoid(density * grid, grid) == pytest.approx(value, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        (np.full((2, 3), np.nan), np.full((2, 3), np.nan)),
        (np.array([[1.0, np.inf]]), np.array([[0.5, 0.5]])),
        (np.array([[1.0, 2.0]]), np.array([[0.5, np.nan]])),
        (np.zeros((0, 5)), np.zeros((0, 5))),
        (np.zeros((1, 2)), np.zeros((1, 2))),
    ],
)
def test_what_is_not_defined_is_nan(nodes: Array, weights: Array) -> None:
    grid, density = spectral_density(nodes, weights, 20)
    assert grid.shape == density.shape == (20,)
    assert np.isnan(grid).all() and np.isnan(density).all()
