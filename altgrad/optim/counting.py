"""Exact counts of what one step did to quantized weights, and sums over it, made where the values are: no host sync.

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

Summed, for the effective descent quality (EDQ):

- `intended_sq`: squares of the intended update, u - w_old.
- `realised_dot`: its products with the realised one, q(w_new) - q(w_old).
"""

from collections.abc import Callable

import torch
from torch import Tensor

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

SUMS: tuple[str, ...] = ("intended_sq", "realised_dot")
"""Names of the sums, in the order of their places."""

ZERO_UPDATE = COUNTERS.index("zero_update")

_Comparison = Callable[..., Tensor]


def count_rows(w_old: Tensor, g: Tensor, u: Tensor, w_new: Tensor, grid: Grid, stored_on_grid: bool) -> Tensor:
    """Count what a step did to each row.

    Two counts share one float, whose sum over a row is exact: half as many reductions.

    Args:
        w_old: The weights before the step, (rows, width), any float dtype.
        g: Their gradients, same shape.
        u: The intended weights, same shape.
        w_new: The weights after the step, same shape.
        grid: The rows' grid of this step.
        stored_on_grid: Whether the step was rounded to the grid (and `w_new` therefore equals q(w_new)).

    Returns:
        (rows, 7), pairs of counts and the sums, for `unpack`.
    """
    q_old = _on_grid(w_old, grid)
    q_new = w_new if stored_on_grid else _on_grid(u, grid)
    zero = u.new_zeros(())  # a number would be made into a tensor and cast at every use
    updated, changed = _indicator(torch.ne, g, zero), _indicator(torch.ne, q_new, q_old)
    same = _indicator(torch.eq, w_new, w_old)
    overflow = _indicator(torch.gt, u.abs(), grid.limit)
    # A value that rounds to 0 is nonzero no longer.
    underflow = _indicator(torch.ne, u, zero) - _indicator(torch.ne, q_new, zero)
    changed_among_updated = changed * updated
    stall = updated - changed_among_updated
    if stored_on_grid:
        moved = _indicator(torch.ne, q_old, w_old)
        flips = changed - changed * moved
        flips_among_updated = flips * updated
        lost = same * _indicator(torch.ne, u, w_old)
    else:
        # Masters are always "on the grid", and hold whatever was intended.
        flips, flips_among_updated = changed, changed_among_updated
        moved = lost = torch.zeros_like(changed)
    pairs = ((flips, flips_among_updated), (updated, stall), (same, moved), (lost, overflow), (underflow, None))
    packed = [_packed_sum(low, high) for low, high in pairs]
    intended = u - w_old
    sums = [(intended * other).sum(1, dtype=packed[0].dtype) for other in (intended, q_new - q_old)]
    return torch.stack([*packed, *sums], dim=1)


def unpack(packed: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the counts and sums that `count_rows` packed.

    Args:
        packed: (rows, 7).
        width: The rows' width.

    Returns:
        int64 tensor (rows, len(COUNTERS)) and float64 tensor (rows, len(SUMS)).
    """
    pairs, sums = packed[:, : -len(SUMS)].to(torch.int64), packed[:, -len(SUMS) :].to(torch.float64)
    base = _base(width)
    return torch.stack((pairs % base, pairs // base), dim=2).flatten(1)[:, : len(COUNTERS)], sums


def _on_grid(x: Tensor, grid: Grid) -> Tensor:
    return grid.from_units(grid.nearest(grid.to_units(x)), x.dtype)


def _indicator(comparison: _Comparison, a: Tensor, b: Tensor | float) -> Tensor:
    """Return where a comparison holds, as zeros and ones, float32."""
    if torch.compiler.is_compiling():
        return comparison(a, b).to(torch.float32)
    # Written as float it is vectorized, which a comparison written as bool is not.
    return comparison(a, b, out=torch.empty(a.shape, dtype=torch.float32, device=a.device))


def _base(width: int) -> int:
    """Return the weight of the second of two counts that share a float: above every count."""
    return 1 << 12 if width < 1 << 12 else 1 << 26


def _packed_sum(low: Tensor, high: Tensor | None) -> Tensor:
    """Return the sum over each row of the low indicator plus the base times the high one."""
    width = low.shape[1]
    narrow = width < 1 << 12  # 12 bits each: exact in float32, 26 bits in float64
    both = low if high is None else torch.add(low if narrow else low.double(), high, alpha=_base(width))
    return both.sum(1, dtype=torch.float32 if narrow else torch.float64)
