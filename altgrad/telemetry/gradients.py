"""How good a gradient is against a reference, and units that have died. Pure functions of tensors.

Definitions: METR-05, GRAD-02 and GRAD-03 in docs/metrics.md. What is not defined is NaN.
"""

import math

import torch
from torch import Tensor

GELU_DEAD = 1e-3
"""Below it a GELU's output counts as zero: inputs under about -3.44 give no more, and no gradient worth the name."""


def gradient_cosine(g: Tensor, g_ref: Tensor) -> float:
    """Return the cosine of the angle between a gradient and its reference (METR-05).

    Args:
        g: Gradient of any float dtype and shape.
        g_ref: The reference, of the same shape.

    Returns:
        From -1 to 1; NaN where one of them is zero, empty or not finite.

    Example:
        >>> gradient_cosine(torch.tensor([1.0, 0.0]), torch.tensor([3.0, 3.0]))  # doctest: +ELLIPSIS
        0.707106...
    """
    one, other = _scaled(g), _scaled(g_ref)
    norms = one.norm() * other.norm()
    if not (norms > 0):
        return math.nan
    return float((torch.dot(one, other) / norms).clamp(-1.0, 1.0))


def gradient_snr_db(g: Tensor, g_ref: Tensor) -> float:
    """Return the signal-to-noise ratio of a gradient, ``10 log10(|g_ref|^2 / |g - g_ref|^2)`` (GRAD-02).

    Args:
        g: Gradient of any float dtype and shape.
        g_ref: The reference, of the same shape.

    Returns:
        Decibels; Inf where they are equal; NaN where the reference is zero or empty, or one of them is not finite.

    Example:
        >>> round(gradient_snr_db(torch.tensor([1.1]), torch.tensor([1.0])), 3)
        20.0
    """
    reference, found = (x.detach().double().flatten() for x in (g_ref, g))
    if not bool(reference.any()) or not bool((reference.isfinite() & found.isfinite()).all()):
        return math.nan
    # Half of each, so that the difference of two finite numbers is finite.
    return _decibels(reference / 2) - _decibels(found / 2 - reference / 2)


def dead_fraction(h: Tensor, threshold: float = GELU_DEAD) -> float:
    """Return the share of hidden units that are dead: small on every sample (GRAD-03).

    Args:
        h: Activations, units in the last dimension, samples in all others.
        threshold: Magnitude up to which an activation counts as zero; 0 for ReLU.

    Returns:
        From 0 to 1; NaN without units or samples, or where a value is not finite.

    Example:
        >>> dead_fraction(torch.tensor([[0.0, 2.0], [1e-5, 0.0]]))
        0.5
    """
    if not h.numel() or not bool(h.isfinite().all()):
        return math.nan
    largest = h.detach().abs().reshape(-1, h.shape[-1] if h.ndim else 1).amax(0)
    return float((largest.double() <= threshold).double().mean())


def _decibels(x: Tensor) -> float:
    """Return ``20 log10 |x|``, no square of which leaves the range; -Inf for zero."""
    amax = x.abs().max()
    return float(20.0 * (amax.log10() + (x / amax).norm().log10())) if amax > 0 else -math.inf


def _scaled(x: Tensor) -> Tensor:
    """Return a flat float64 tensor over its largest magnitude, so that no square leaves the range; NaN where empty."""
    flat = x.detach().double().flatten()
    if not flat.numel():
        return flat.new_full((1,), math.nan)
    amax = flat.abs().max()
    return flat / amax if amax.isfinite() and amax > 0 else flat * math.nan
