"""Partition-relative clipping (STAB-05): no gradient element leaves the format's range around their rms."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from altgrad.numerics.format import FloatFormat


def partition_limit(g: Tensor, fmt: FloatFormat) -> Tensor:
    """Return the largest magnitude that a gradient's elements may have: ``rms(g) * 2^(DR / 2)``.

    DR is the format's dynamic range in binades, ``log2(max / smallest_subnormal)``: its bias does not matter.

    Args:
        g: A gradient of any float dtype and shape.
        fmt: The format of its weight.

    Returns:
        0-dim tensor of `g`'s dtype, on its device.
    """
    rms = torch.linalg.vector_norm(g, dtype=torch.float64) / max(g.numel(), 1) ** 0.5
    limit: Tensor = rms * (fmt.max / fmt.smallest_subnormal) ** 0.5
    return limit.to(g.dtype)


class PartitionClip:
    """Clips the gradients of quantized weights in place, and counts what it held, without waiting for the device.

    Args:
        formats: The format of each quantized weight, by name.
    """

    def __init__(self, formats: Mapping[str, FloatFormat]) -> None:
        self._formats = dict(formats)
        self._clipped: dict[str, Tensor] = {}

    @torch.no_grad()
    def clip(self, gradients: Mapping[str, Tensor]) -> None:
        """Hold every element of these gradients that are of quantized weights."""
        for name, fmt in self._formats.items():
            if name not in gradients:
                continue
            g = gradients[name]
            limit = partition_limit(g, fmt)
            held = (g.abs() > limit).sum()
            self._clipped[name] = self._clipped[name] + held if name in self._clipped else held
            torch.clamp(g, -limit, limit, out=g)

    def take(self, names: Sequence[str]) -> Tensor:
        """Return the elements held since the last call, int64 (names,), on their device."""
        taken, self._clipped = self._clipped, {}
        device = next(iter(taken.values())).device if taken else torch.device("cpu")
        zero = torch.zeros((), dtype=torch.int64, device=device)
        return torch.stack([taken.get(name, zero) for name in names]) if names else torch.zeros(0, dtype=torch.int64)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counts of the open window, for the restart state."""
        return {name: count.clone() for name, count in self._clipped.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self._clipped = dict(state)
