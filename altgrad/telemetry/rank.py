"""Ranks of a weight. Pure functions of tensors, computed in float64 where the tensor is.

Definitions: RANK-01 and RANK-02 in docs/metrics.md. A matrix of zeros has rank 0; one that is empty or holds a value
that is not finite has none (NaN).
"""

import math

import torch
from torch import Tensor

from altgrad.errors import AltGradError

EXACT = 2048
"""Up to this smaller side `stable_rank` looks at every singular value (seconds); above it, at a Krylov space."""

ENTROPY_ERROR = 1e-6
"""What the Gram matrix may cost the entropy rank, relative to it. Where its bound is larger, the SVD takes over."""

BLOCK, POWERS = 16, 24
"""Width and number of powers of the Krylov space: it holds 400 directions. Measured on a side of 4096, flat, linear,
geometric and spiked spectra: the largest singular value's square is too small by less than 1e-4. Stated: 1 %."""

SHARE = 0.99
"""The share of the energy that `effective_rank` asks for."""

_TIE = 1e-12
"""A share that is reached to this is reached: sums of squares are rounded."""


def stable_rank(W: Tensor) -> float:
    """Return the stable rank, ``|W|_F^2 / |W|_2^2`` (RANK-01; Rudelson and Vershynin 2007, section 1).

    The spectral norm is exact up to a smaller side of `EXACT`. Above it, it is that of the weight on a random Krylov
    space, always the same one, and the stable rank is too large by up to 1 %.

    Args:
        W: Tensor of any float dtype, (rows, columns); of more dimensions, all but the first are one.

    Returns:
        From 1 to the rank; 0 for a matrix of zeros, NaN for one that is empty or holds a value that is not finite.

    Example:
        >>> round(stable_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0]))), 6)
        1.5
    """
    matrix = _normalized(W)
    if matrix is None:
        return _without(W)
    top = _gram_values(matrix)[0] if min(matrix.shape) <= EXACT else _krylov_norm(matrix)
    return float(matrix.square().sum() / top.square())


def effective_rank(W: Tensor, energy: float = SHARE) -> float:
    """Return how many singular values it takes for a share of the energy, the sum of their squares (RANK-02).

    Args:
        W: As in `stable_rank`.
        energy: The share, above 0 and at most 1.

    Returns:
        A whole number from 1 to the rank; 0 and NaN as in `stable_rank`.

    Raises:
        AltGradError: If `energy` is no such share.

    Example:
        >>> effective_rank(torch.diag(torch.tensor([10.0, 1.0, 0.1])))
        1.0
    """
    if not 0 < energy <= 1:
        raise AltGradError("effective_rank", f"energy={energy!r} is not a share", "Give a number above 0, at most 1")
    matrix = _normalized(W)
    return _without(W) if matrix is None else _effective(_gram_values(matrix), energy)


def entropy_rank(W: Tensor) -> float:
    """Return ``exp(H(s / sum s))``, H the entropy of the singular values in nats (Roy and Vetterli 2007, section 2).

    Args:
        W: As in `stable_rank`.

    Returns:
        From 1 to the rank, to `ENTROPY_ERROR`; 0 and NaN as in `stable_rank`.

    Example:
        >>> round(entropy_rank(torch.eye(3)), 6)
        3.0
    """
    return rank_statistics(W)["entropy_rank"]


def rank_statistics(W: Tensor) -> dict[str, float]:
    """Return all three ranks of a weight, by the metric's name.

    They come from one decomposition of the Gram matrix; only where that is too coarse for the entropy rank (many
    singular values near 0) an SVD replaces it. Every singular value counts, whatever the size.

    Args:
        W: As in `stable_rank`.
    """
    matrix = _normalized(W)
    if matrix is None:
        return dict.fromkeys(("stable_rank", "effective_rank", "entropy_rank"), _without(W))
    s = _gram_values(matrix)
    if _entropy_bound(s, max(matrix.shape)) > ENTROPY_ERROR:
        s = _svd_values(matrix)
    return {
        "stable_rank": float(s.square().sum() / s[0].square()),
        "effective_rank": _effective(s, SHARE),
        "entropy_rank": float(torch.special.entr(s / s.sum()).sum().exp()),
    }


def _normalized(W: Tensor) -> Tensor | None:
    """Return a weight over its largest magnitude as a wide float64 matrix, or None where there is none above 0."""
    if not W.numel():
        return None
    matrix = W.detach().double().reshape(W.shape[0] if W.ndim > 1 else 1, -1)
    amax = matrix.abs().max()
    if not (amax > 0 and amax.isfinite()):
        return None
    matrix = matrix / amax  # so that no square underflows or overflows
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def _without(W: Tensor) -> float:
    """Return the rank of a weight that has no singular value above 0."""
    return 0.0 if W.numel() and bool((W == 0).all()) else math.nan


def _gram_values(matrix: Tensor) -> Tensor:
    """Return the singular values, falling, as roots of the Gram matrix's eigenvalues.

    Their squares are off by about ``columns * 2^-52`` of the largest one: nothing to sums of squares, but half of the
    digits of a singular value near 0.
    """
    squares: Tensor = torch.linalg.eigvalsh(matrix @ matrix.T)
    return squares.clamp(min=0.0).sqrt().flip(0)


def _svd_values(matrix: Tensor) -> Tensor:
    """Return the singular values, falling, each to ``columns * 2^-52`` of the largest one."""
    wide = matrix.shape[1] >= 2 * matrix.shape[0]
    values: Tensor = torch.linalg.svdvals(torch.linalg.qr(matrix.T, mode="r").R if wide else matrix)
    return values


def _entropy_bound(s: Tensor, side: int) -> float:
    """Return how far the entropy of singular values from the Gram matrix can be off, in nats.

    If squares are off by d, a root is off by at most min(sqrt d, d / s); by Fannes' inequality in Audenaert's form
    (2007, equation 6) two distributions on n values at the distance t have entropies within ``t ln n + h(t)``.
    """
    d = side * torch.finfo(s.dtype).eps * s[0].square()
    t = float(torch.minimum(d.sqrt(), d / s).sum() / s.sum())
    return t * (math.log(len(s)) + 1.0 - math.log(t)) if t < 0.5 else math.inf


def _effective(s: Tensor, energy: float) -> float:
    reached = s.square().cumsum(0)
    return float((reached < energy * reached[-1] * (1.0 - _TIE)).sum() + 1)


def _krylov_norm(matrix: Tensor) -> Tensor:
    """Return the spectral norm on the block Krylov space of `matrix` and random directions (Musco and Musco 2015).

    It is never above the norm. Unlike plain subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4) it
    gets close to it in few products also where no gap parts the largest singular value from the next.
    """
    generator = torch.Generator().manual_seed(0)  # its own, so that nobody's random numbers move
    start = torch.randn(matrix.shape[1], BLOCK, generator=generator, dtype=torch.float64).to(matrix.device)
    block = torch.linalg.qr(matrix @ start).Q
    basis = block
    for _ in range(POWERS):
        block = matrix @ (matrix.T @ block)
        block = torch.linalg.qr(block - basis @ (basis.T @ block)).Q
        basis = torch.cat([basis, block], dim=1)
    basis = torch.linalg.qr(basis).Q  # of a low rank, the last blocks are noise and not orthogonal to the first
    return _gram_values(basis.T @ matrix)[0]
