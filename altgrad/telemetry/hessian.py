"""Spectrum of the loss's Hessian in the parameters: top eigenvalues and density, by stochastic Lanczos (DIAG-05).

Ghorbani, Krishnan and Xiao (2019, arXiv:1901.10159, section 2): Lanczos from random vectors turns Hessian-vector
products into a small tridiagonal matrix, whose eigenvalues and first components are the nodes and weights of a
Gauss quadrature of the spectral density (Golub and Welsch 1969).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from altgrad.errors import ModelError

BREAKDOWN = 10.0
"""Units of rounding, of the largest entry of the tridiagonal matrix, below which the next vector is noise."""

_CHUNK = 2**17  # elements of each basis vector that are in float64 at a time: few enough to stay in cache


class HessianSpectrum(NamedTuple):
    """Estimates of a Hessian's spectrum; every number is NaN where a product was not finite.

    A Krylov space holds one vector of each eigenspace, so that an eigenvalue that repeats shows once.

    Attributes:
        top: The largest eigenvalues found, largest first: float64, on the CPU, (top,). Up to rounding, the i-th is
            at most the true i-th. NaN beyond what the runs found.
        residuals: Beside each of `top`, the distance within which the Hessian has an eigenvalue, up to rounding:
            |beta_m s_mi| (Golub and Van Loan 2013, section 10.1), (top,).
        lowest: The lowest eigenvalue found; at least the true one.
        nodes: Nodes of the quadrature, float64, ascending in each row (vectors, steps). Rows that ended early repeat
            their last node, with weight 0.
        weights: Their weights, which sum to 1 in each row (vectors, steps).
    """

    top: Tensor
    residuals: Tensor
    lowest: float
    nodes: Tensor
    weights: Tensor


def hessian_spectrum(
    loss_fn: Callable[[], Tensor],
    params: Sequence[Tensor],
    *,
    steps: int = 12,
    vectors: int = 2,
    top: int = 5,
    generator: torch.Generator,
) -> HessianSpectrum:
    """Estimate the spectrum of a loss's Hessian.

    The loss is computed once, with the math backend of attention, the only one that can be differentiated twice. Its
    graph stays in memory until the end; a product is a backward pass through it, of about the time of two training
    steps. The basis is kept in the parameters' precision (at least float32), ``steps`` times their size; all sums
    over it are in float64, and every vector is orthogonalized twice against all before it. Gradients and
    `requires_grad` of `params` stay as they are.

    Args:
        loss_fn: Computes the loss, a scalar, from `params`; no straight-through steps on the way.
        params: Tensors that require gradients, on one device.
        steps: Products a vector, m: the quadrature is exact for polynomials of degree 2 m - 1.
        vectors: Random vectors, each uniform on the sphere: the mean over them of ``sum(weights * nodes)`` is
            trace / n on average, n the number of parameters.
        top: Number of eigenvalues to return; from the same products, the best of all vectors.
        generator: Gives the vectors, on its own device: n normal draws each, in the order of `params`.

    Returns:
        The estimates; NaN if there are no parameters, or a product is not finite.

    Raises:
        ModelError: If a number is below 1, or the loss does not depend on parameters that require gradients.

    Example:
        >>> w = torch.tensor([1.0, 1.0], requires_grad=True)
        >>> hessian_spectrum(lambda: w[0] ** 2 - w[1] ** 2, [w], top=1, generator=torch.Generator().manual_seed(0)).top
        tensor([2.0000], dtype=torch.float64)
    """
    for name, number in (("steps", steps), ("vectors", vectors), ("top", top)):
        if number < 1:
            raise ModelError(name, f"{number!r} is not a number of {name}", "Give an integer of at least 1")
    size = sum(p.numel() for p in params)
    if not size:
        return _spectrum([], steps, vectors, top)
    product = _hessian_product(loss_fn, params)
    runs = []
    for _ in range(vectors):
        start = torch.randn(size, generator=generator, device=generator.device)
        runs.append(_lanczos(product, start.to(params[0].device, _basis_dtype(params)), steps))
    return _spectrum([run for run in runs if run is not None], steps, vectors, top)


def _hessian_product(loss_fn: Callable[[], Tensor], params: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the product of the Hessian with a flat vector (n,), as float64 (n,)."""
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        loss = loss_fn()
        if not loss.requires_grad or not all(p.requires_grad for p in params):
            raise ModelError(
                "hessian_spectrum",
                "the loss does not depend on parameters that require gradients",
                "Give parameters with requires_grad, and a loss that is not detached from them",
            )
        gradients = torch.autograd.grad(loss, params, create_graph=True, allow_unused=True, materialize_grads=True)
    curved = [g.requires_grad for g in gradients]  # a gradient that is constant has no graph

    def product(vector: Tensor) -> Tensor:
        parts = torch.split(vector, [p.numel() for p in params])
        pairs = [(g, v.view_as(g).to(g.dtype)) for g, v, c in zip(gradients, parts, curved, strict=True) if c]
        if not pairs:
            return torch.zeros_like(vector, dtype=torch.float64)
        outputs, seeds = zip(*pairs, strict=True)
        rows = torch.autograd.grad(outputs, params, seeds, retain_graph=True, allow_unused=True, materialize_grads=True)
        return torch.cat([row.flatten().double() for row in rows])

    return product


def _basis_dtype(params: Sequence[Tensor]) -> torch.dtype:
    dtype = torch.float32
    for p in params:
        dtype = torch.promote_types(dtype, p.dtype)
    return dtype


def _lanczos(product: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> tuple[Tensor, float] | None:
    """Run Lanczos with full reorthogonalization (Golub and Van Loan 2013, section 10.3).

    Args:
        product: Multiplies the matrix with a vector (n,).
        start: The first vector (n,), of any length but 0, in the dtype of the basis.
        steps: Products at most.

    Returns:
        The tridiagonal matrix T (m, m), float64 on the CPU, with m below `steps` where the space was exhausted; and
        beta_m, the length of what is left of the next vector. None if a number is not finite.
    """
    size = start.numel()
    steps = min(steps, size)
    basis = start.new_empty(steps, size)
    diagonal: list[float] = []
    off: list[float] = []
    vector, length = start.double(), _norm(start.double())
    for j in range(steps):
        basis[j] = vector / length
        vector = product(basis[j])
        coefficient = _orthogonalize(vector, basis[: j + 1])
        diagonal.append(coefficient + _orthogonalize(vector, basis[: j + 1]))
        length = _norm(vector)
        if not math.isfinite(diagonal[-1]) or not math.isfinite(length):
            return None
        off.append(length)
        if length <= BREAKDOWN * torch.finfo(basis.dtype).eps * max(map(abs, diagonal + off[:-1])):
            break
    t = torch.tensor(diagonal, dtype=torch.float64).diag()
    beside = torch.tensor(off[:-1], dtype=torch.float64)
    return t + beside.diag(1) + beside.diag(-1), off[-1]


def _orthogonalize(vector: Tensor, basis: Tensor) -> float:
    """Take from a float64 vector (n,), in place, its parts along basis vectors (k, n); return the last one's."""
    coefficients = vector.new_zeros(len(basis))
    pieces = list(zip(torch.split(basis, _CHUNK, 1), torch.split(vector, _CHUNK), strict=True))
    for rows, part in pieces:
        coefficients += rows.double() @ part
    for rows, part in pieces:
        part -= coefficients @ rows.double()
    return float(coefficients[-1])


def _norm(vector: Tensor) -> float:
    """Return a vector's length; where squares could underflow or overflow, by way of its largest magnitude."""
    length = float(vector.norm())
    if 1e-150 < length < 1e150:
        return length
    amax = float(vector.abs().max())
    return amax * float((vector / amax).norm()) if amax > 0 else amax  # NaN stays


def _spectrum(runs: Sequence[tuple[Tensor, float]], steps: int, vectors: int, top: int) -> HessianSpectrum:
    """Read nodes, weights and top eigenvalues off the tridiagonal matrices of all runs."""
    nodes, weights = torch.full((2, vectors, steps), math.nan, dtype=torch.float64)
    ritz, bounds = torch.full((2, vectors, top), math.nan, dtype=torch.float64)
    if len(runs) < vectors:
        return HessianSpectrum(ritz[0], bounds[0], math.nan, nodes, weights)
    for v, (t, beta) in enumerate(runs):
        values, components = torch.linalg.eigh(t)
        m, k = len(t), min(len(t), top)
        nodes[v, :m], nodes[v, m:] = values, values[-1]
        weights[v, :m], weights[v, m:] = components[0].square(), 0.0
        ritz[v, :k] = values.flip(0)[:k]
        bounds[v, :k] = (beta * components[-1]).abs().flip(0)[:k]
    best = ritz.nan_to_num(nan=-math.inf).argmax(0, keepdim=True)  # each run's i-th is at most the true i-th
    return HessianSpectrum(ritz.gather(0, best)[0], bounds.gather(0, best)[0], float(nodes.min()), nodes, weights)
