"""How a step is landed: kept in full precision, or rounded to the grid that the weight is stored on."""

import torch
from torch import Tensor

from altgrad.numerics.format import FloatFormat
from altgrad.numerics.rounding import Rounding, quantize

MASTER = "master"
"""Storage that keeps the intended weight; only the forward pass sees the grid.

Micikevicius et al., "Mixed Precision Training" (2018, arXiv:1710.03740), section 3.1.
"""

ECO = "eco"
"""Storage that rounds to nearest and gives the rounding error to the momentum, which carries it to later steps.

Nikdan et al., "ECO: Quantized Training without Full-Precision Master Weights" (arXiv:2601.22101), algorithm 3 (Adam),
with rounding to nearest. See `altgrad.optim.direction.Feedback` for the arithmetic.

The error is u - w_new, of u as far as the grid reaches: what lies beyond the format's max cannot be stored by any later
step either, and would add to the momentum without end. The landing when a group is added happens before there is a
momentum, and feeds back nothing.
"""

ROUNDINGS: dict[str, Rounding | None] = {MASTER: None, "nearest": "nearest", "stochastic": "stochastic", ECO: "nearest"}
"""How each storage rounds to the grid; None for not at all.

To nearest, which loses what is under half a spacing, and stochastically, which keeps it on average: Gupta et al., "Deep
Learning with Limited Numerical Precision" (2015, arXiv:1502.02551), section 3.
"""

STORAGES = tuple(ROUNDINGS)
"""Every storage."""


def land(u: Tensor, fmt: FloatFormat, scale: Tensor, storage: str, generator: torch.Generator | None) -> Tensor:
    """Return what is stored of an intended weight when it joins an optimizer.

    Args:
        u: Intended weights, any shape and float dtype.
        fmt: Their format.
        scale: Its scale.
        storage: One of `STORAGES`.
        generator: Draws one key for each call with stochastic storage.

    Returns:
        `u` itself for `master`, else a new tensor of values on the grid.
    """
    rounding = ROUNDINGS[storage]
    return u if rounding is None else quantize(u, fmt, scale, rounding=rounding, generator=generator)
