"""Probes of a weight: what its values make of the format's grid, and its rank. Pure functions of tensors.

Definitions: DIAG-02, DIAG-07, RANK-01 and STAB-03 in docs/metrics.md. A value that is not defined (a share of no
elements, anything of a weight that holds NaN) is NaN, never a number that looks like a measurement.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from altgrad.numerics.catalog import resolve
from altgrad.numerics.codec import encode
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.geometry import ulp
from altgrad.numerics.rounding import quantize
from altgrad.numerics.units import Scale, to_units


class Capacity(NamedTuple):
    """How much of a format a tensor uses (DIAG-07).

    Attributes:
        codes_used_fraction: Share of the format's finite codes that occur, from 0 to 1.
        code_entropy_bits: Entropy of the histogram of codes, in bits: at most the format's width.
    """

    codes_used_fraction: float
    code_entropy_bits: float


def grid_alignment(W: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> Tensor:
    """Return ``|W - q(W)| / ulp(W)`` of the elements that do not saturate (DIAG-02).

    It is 0 on the grid and at most 1/2; uniform weights would give a mean of 1/4. Just below a power of two the ulp
    is that of the binade below.

    Args:
        W: Tensor of any float dtype and shape.
        fmt: A format or its name.
        scale: As in `quantize`: one for the tensor, or one a row as (rows, 1).

    Returns:
        float64 tensor with one value for each element with ``|W| <= scale * max``, in their order; NaN for NaN.

    Raises:
        FormatError: If `W` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> grid_alignment(torch.tensor([1.0, 1.0625, 1000.0]), "E4M3")
        tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    y, _ = to_units(W.detach(), scale)
    error = y.double() - quantize(y, fmt).double()
    alignment = error.abs() / ulp(y, fmt).double()
    return alignment[~(y.abs() > resolve(fmt).max)]  # so that NaN stays


def capacity(W: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> Capacity:
    """Return the share of a format's codes in use by q(W), and the entropy of their histogram (DIAG-07).

    -0 and +0 are two codes where the format has both. A tensor of n elements uses at most n codes.

    Args:
        W: Tensor of any float dtype and shape.
        fmt: A format of up to 8 bits, or its name.
        scale: As in `quantize`.

    Returns:
        The two numbers; NaN if `W` is empty or holds a value that is not finite.

    Raises:
        FormatError: If the format is a reference, `W` is not a float tensor or the scale cannot be used.
        UnknownFormatError: If no format has that name.

    Example:
        >>> capacity(torch.tensor([0.5, 0.5, -1.0, 3.0]), "E2M1")
        Capacity(codes_used_fraction=0.1875, code_entropy_bits=1.5)
    """
    fmt = resolve(fmt)
    if not W.numel() or not bool(W.isfinite().all()):
        return Capacity(math.nan, math.nan)
    counts = torch.bincount(encode(W, fmt, scale).flatten().to(torch.int64), minlength=fmt.num_codes)
    used = counts[counts > 0].double() / W.numel()
    return Capacity(used.numel() / fmt.num_finite_codes, float(-(used * used.log2()).sum()))


def stable_rank(W: Tensor) -> float:
    """Return the stable rank, ``|W|_F^2 / |W|_2^2`` (RANK-01; Rudelson and Vershynin 2007, section 1).

    The spectral norm is exact, from the eigenvalues of the smaller Gram matrix in float64.

    Args:
        W: Tensor of any float dtype, (rows, columns); of more dimensions, all but the first are one.

    Returns:
        From 1 to the rank; 0 for a matrix of zeros, NaN for one that is empty or holds a value that is not finite.

    Example:
        >>> stable_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0])))
        1.5
    """
    if not W.numel():
        return math.nan
    matrix = W.detach().double().reshape(W.shape[0] if W.ndim else 1, -1)
    amax = matrix.abs().max()
    if amax == 0:
        return 0.0
    if not amax.isfinite():
        return math.nan
    matrix = matrix / amax  # so that no square underflows or overflows
    gram = matrix.T @ matrix if matrix.shape[0] > matrix.shape[1] else matrix @ matrix.T
    return float(gram.trace() / torch.linalg.eigvalsh(gram)[-1])


def weight_probes(W: Tensor, fmt: FloatFormat | str, scale: Tensor) -> dict[str, float]:
    """Return every probe of one quantized weight, by the metric's name.

    For a reference format, which has no codes and never saturates a weight, only `amax`, `range_bits`,
    `zero_fraction` and `stable_rank`. Percentiles are values that occur: the smallest that at least that share of the
    elements does not exceed.

    Args:
        W: The stored weight (rows, columns), of any float dtype.
        fmt: Its format or the format's name.
        scale: Its scale, 0-dim or (rows, 1). `scale` in the result is the lower median of the rows'.
    """
    fmt = resolve(fmt)
    zero = quantize(W, fmt, scale) == 0
    found = {**_range(W), "zero_fraction": _share(zero), "stable_rank": stable_rank(W)}
    if fmt.is_reference:
        return found
    alignment = grid_alignment(W, fmt, scale)
    return {
        **found,
        **capacity(W, fmt, scale)._asdict(),
        "scale": float(scale.median()),
        "saturated_fraction": _share(to_units(W.detach(), scale)[0].abs() > fmt.max),
        "grid_alignment_mean": float(alignment.mean()),
        "grid_alignment_p99": _percentile(alignment, 99),
        **{f"ulp_p{percent}": _percentile(ulp(W, fmt, scale), percent) for percent in (10, 50, 90)},
    }


def _range(W: Tensor) -> dict[str, float]:
    """Return the largest magnitude, and the binades from the smallest nonzero one up to it (STAB-03)."""
    magnitude = W.detach().double().abs()
    if not magnitude.numel():
        return {"amax": math.nan, "range_bits": math.nan}
    amax = float(magnitude.max())
    smallest = float(torch.where(magnitude > 0, magnitude, math.inf).min())
    defined = amax > 0 and math.isfinite(amax)
    return {"amax": amax, "range_bits": math.log2(amax / smallest) if defined else math.nan}


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())


def _percentile(values: Tensor, percent: int) -> float:
    """Return the smallest value that at least `percent` of them do not exceed; NaN of none, or where one is NaN."""
    if not values.numel():
        return math.nan
    return float(np.percentile(values.cpu().numpy(), percent, method="inverted_cdf"))
