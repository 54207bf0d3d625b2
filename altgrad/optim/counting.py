"""Exact counts of what one step did to one quantized weight, made where the values are, with no host sync.

With g the gradient, u the intended weight, q(.) rounding to nearest on the grid at the step's scale, and "on the grid"
true of every element that was stored there before the step (of all elements, where masters are stored):

- `flips` (FLIP-01): on the grid, and q(w_new) differs from q(w_old).
- `flips_among_updated` (UPDT-02): the flips with a nonzero gradient.
- `updates` (UPDT-01): a nonzero gradient.
- `stall` (STAB-04): a nonzero gradient, and q(w_new) equals q(w_old).
- `zero_update` (GRAD-04): w_new equals w_old.
- `rescale_moves`: not on the grid, because the scale has changed since.
- `update_underflow` (STAB-01, optimizer): u differs from w_old, but w_new does not.
- `weight_overflow` (STAB-01): |x| is above scale * max, x being w_new where masters are stored, else u.
- `weight_underflow` (STAB-01): x is nonzero and rounds to 0.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from altgrad.numerics.rounding import quantize
from altgrad.optim.grid import Grid

COUNTERS: tuple[str, ...] = (
    "flips",
    "flips_among_updated",
    "updates",
    "stall",
    "zero_update",
    "rescale_moves",
    "update_underflow",
    "weight_overflow",
    "weight_underflow",
)
"""Names of the counts, in the order of their places."""

# A float32 sum of zeros and ones is exact up to here, whatever the order of its terms.
_EXACT_IN_FLOAT32 = 2**24

_Comparison = Callable[..., Tensor]


def count_step(w_old: Tensor, g: Tensor, u: Tensor, w_new: Tensor, grid: Grid, stored_on_grid: bool) -> Tensor:
    """Count what a step did.

    Args:
        w_old: The weight before the step, any shape and float dtype.
        g: Its gradient, same shape.
        u: The intended weight, same shape.
        w_new: The weight after the step, same shape.
        grid: Its format, and the scale of this step.
        stored_on_grid: Whether the step was rounded to the grid (and `w_new` therefore equals q(w_new)).

    Returns:
        int64 tensor of shape (len(COUNTERS),) on the weight's device.
    """
    # Indicators are float32 zeros and ones: their sums count, and their inner products count intersections. A
    # comparison written as float is vectorized, which one written as bool is not.
    q_old = quantize(w_old, grid.fmt, grid.scale)
    q_new = w_new if stored_on_grid else quantize(w_new, grid.fmt, grid.scale)
    zero = u.new_zeros(())  # a number would be made into a tensor and cast at every use
    updated = _indicator(torch.ne, g, zero)
    changed = _indicator(torch.ne, q_new, q_old)
    same = _indicator(torch.eq, w_new, w_old)
    updates, changed_among_updated = _total(updated), _both(updated, changed)
    flips, flips_among_updated = _total(changed), changed_among_updated
    if stored_on_grid:
        moved_by_scale = _indicator(torch.ne, q_old, w_old)
        changed_by_scale = changed.mul_(moved_by_scale)
        rescale_moves = _total(moved_by_scale)
        flips = flips - _total(changed_by_scale)
        flips_among_updated = flips_among_updated - _both(updated, changed_by_scale)
        lost = _both(same, _indicator(torch.ne, u, w_old))
    else:
        # Masters are always "on the grid", and hold whatever was intended.
        rescale_moves = lost = zero
    counts = (
        flips,
        flips_among_updated,
        updates,
        updates - changed_among_updated,
        _total(same),
        rescale_moves,
        lost,
        _total(_indicator(torch.gt, u.abs(), grid.scale * grid.fmt.max)),
        _total(_indicator(torch.ne, u, zero)) - _total(_indicator(torch.ne, q_new, zero)),
    )
    return torch.stack(counts).to(torch.int64)


def _indicator(comparison: _Comparison, a: Tensor, b: Tensor) -> Tensor:
    """Return where a comparison holds, as zeros and ones, flat, float32."""
    out = torch.empty(a.shape, dtype=torch.float32, device=a.device)
    return comparison(a, b, out=out).view(-1)


def _total(indicator: Tensor) -> Tensor:
    """Return the number of ones, as a 0-dim float tensor."""
    exact = indicator.numel() <= _EXACT_IN_FLOAT32
    return indicator.sum(dtype=torch.float32 if exact else torch.float64)


def _both(a: Tensor, b: Tensor) -> Tensor:
    """Return the number of elements where both indicators are one, as a 0-dim float tensor."""
    return a.dot(b) if a.numel() <= _EXACT_IN_FLOAT32 else _total(a * b)
