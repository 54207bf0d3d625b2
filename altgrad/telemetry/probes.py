"""Probes of a weight: what its values make of the format's grid. Pure functions of tensors.

Definitions: DIAG-01, DIAG-02, DIAG-07, MANI-04 and STAB-03 in docs/metrics.md. A value that is not defined (a share of
no elements, anything of a weight that holds NaN) is NaN, never a number that looks like a measurement.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from altgrad.numerics.catalog import resolve
from altgrad.numerics.codec import encode, to_rung
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.geometry import ulp
from altgrad.numerics.rounding import quantize
from altgrad.numerics.units import Scale, to_units
from altgrad.telemetry.rank import rank_statistics


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


def weight_statistics(W: Tensor, fmt: FloatFormat | str, scale: Scale = None) -> dict[str, float]:
    """Return what a probe under way says of one weight and its grid, by the metric's name.

    `stiffness_bin_<k>` is the share of weights whose S, the real spacing of the grid at the weight, is from 2^k to
    2^(k+1) (DIAG-01); bins without any are left out. Rungs (MANI-04) are counted from 0 outwards.

    Args:
        W: The stored weight, of any float dtype and shape.
        fmt: Its format; of a reference format, which has no codes, there is nothing to say.
        scale: Its scale.
    """
    if resolve(fmt).is_reference:
        return {}
    alignment, spacing = grid_alignment(W, fmt, scale), ulp(W.detach(), fmt, scale).double()
    sound = bool(W.isfinite().all())
    rungs = to_rung(W.detach(), fmt, scale).abs().double() if sound else spacing * math.nan
    bins, counts = torch.unique(binades(spacing if sound else spacing[:0]), return_counts=True)
    return {
        "grid_alignment_mean": float(alignment.mean()),
        "grid_alignment_p99": percentile(alignment, 99),
        **capacity(W, fmt, scale)._asdict(),
        **{f"rung_p{percent}": percentile(rungs, percent) for percent in (10, 50, 90)},
        **{f"stiffness_log2_p{percent}": percentile(spacing.log2(), percent) for percent in (10, 50, 90)},
        **{f"stiffness_bin_{k}": n / W.numel() for k, n in zip(bins.tolist(), counts.tolist(), strict=True)},
    }


def weight_probes(W: Tensor, fmt: FloatFormat | str, scale: Tensor) -> dict[str, float]:
    """Return every probe of one quantized weight, by the metric's name.

    For a reference format, which has no codes and never saturates a weight, only `amax`, `range_bits`,
    `zero_fraction` and the ranks. Percentiles are values that occur: the smallest that at least that share of the
    elements does not exceed.

    Args:
        W: The stored weight (rows, columns), of any float dtype.
        fmt: Its format or the format's name.
        scale: Its scale, 0-dim or (rows, 1). `scale` in the result is the lower median of the rows'.
    """
    fmt = resolve(fmt)
    zero = quantize(W, fmt, scale) == 0
    found = {**_range(W), "zero_fraction": _share(zero), **rank_statistics(W)}
    if fmt.is_reference:
        return found
    return {
        **found,
        **weight_statistics(W, fmt, scale),
        "scale": float(scale.median()),
        "saturated_fraction": _share(to_units(W.detach(), scale)[0].abs() > fmt.max),
        **{f"ulp_p{percent}": percentile(ulp(W, fmt, scale), percent) for percent in (10, 50, 90)},
    }


def sign_kept(before: Tensor, after: Tensor) -> float:
    """Return the share of nonzero weights that have the sign they had before; NaN where none was nonzero.

    A format without a zero, or steps that never cross one, lock the signs of weights.

    Args:
        before: Weights of any float dtype and shape, for example a run's initial ones.
        after: The same weights later. One that has become 0 has not kept its sign.

    Example:
        >>> sign_kept(torch.tensor([1.0, -1.0, 2.0, 0.0]), torch.tensor([0.5, 1.0, 0.0, 3.0]))  # doctest: +ELLIPSIS
        0.333...
    """
    nonzero = before != 0
    return _share(before[nonzero].sign() == after[nonzero].sign()) if bool(nonzero.any()) else math.nan


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


def percentile(values: Tensor, percent: int) -> float:
    """Return the smallest value that at least `percent` % of them do not exceed; NaN of none, or where one is NaN."""
    if not values.numel():
        return math.nan
    return float(np.percentile(values.detach().cpu().numpy(), percent, method="inverted_cdf"))


def binades(values: Tensor) -> Tensor:
    """Return floor(log2 |x|) of nonzero values, exactly, int64."""
    return torch.frexp(values.detach().double()).exponent.to(torch.int64) - 1
