"""How a step is made: from weights and their gradients to the intended weights, before anything is stored."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from altgrad.numerics.kernel import from_position, position
from altgrad.optim.grid import Grid

Scalar = float | Tensor
Scalars = Sequence[Scalar] | Tensor

Move = Callable[[Tensor, Tensor, Sequence[Tensor], Tensor | None, Scalars, Grid | None], Tensor]
"""`(w, g, buffers, metric, scalars, grid)` to the intended weights, of `w`'s shape (rows, width).

It updates the buffers in place and writes to neither `w` nor `g`. `metric` is G, overwritten at will, or None for 1;
`grid` is that of the rows, None for plain weights.
"""


class Feedback(NamedTuple):
    """How a direction keeps a rounding error in its momentum, so that later steps make up for it (storage `eco`).

    Attributes:
        decay: From a group's settings to its momentum's decay rate; 0 where it has none.
        scalars: From a group's settings and the number of this step to the numbers that `keep` uses.
        keep: `(error, buffers, metric, scalars)`, after the step's `move`: takes the error (rows, width) into the
            buffers. `metric` is the step's G, or None for 1.
    """

    decay: Callable[[Mapping[str, Any]], float]
    scalars: Callable[[Mapping[str, Any], int], tuple[Scalar, ...]]
    keep: Callable[[Tensor, Sequence[Tensor], Tensor | None, Scalars], None]


class Direction(NamedTuple):
    """A way to make steps.

    Attributes:
        name: As a group's `direction` says it.
        buffers: Names of the tensors, shaped like the weights and zero at first, that it remembers.
        scalars: From a group's settings and the number of this step, from 1, to the numbers that `move` uses. They are
            all that changes from step to step, so that a compiled `move` serves every step.
        move: See `Move`.
        positions: Whether `move` asks its grid for positions on the number line.
        feedback: How it keeps a rounding error; None where it does not.
    """

    name: str
    buffers: tuple[str, ...]
    scalars: Callable[[Mapping[str, Any], int], tuple[Scalar, ...]]
    move: Move
    positions: bool = False
    feedback: Feedback | None = None


def _adamw_scalars(group: Mapping[str, Any], step: int) -> tuple[Scalar, ...]:
    beta1, beta2 = group["betas"]
    lr = group["lr"]
    return (
        1 - lr * group["weight_decay"],
        1 - beta1,
        beta2,
        1 - beta2,
        lr / (1 - beta1**step),
        (1 - beta2**step) ** 0.5,
        group["eps"],
    )


def _adamw_move(
    w: Tensor, g: Tensor, buffers: Sequence[Tensor], metric: Tensor | None, scalars: Scalars, grid: Grid | None
) -> Tensor:
    """Make one step of AdamW with a metric.

    In eager mode the operations and their order are those of torch 2.13's single-tensor AdamW (`_single_tensor_adam` in
    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/adam.py), so that without a metric the bits agree.
    """
    exp_avg, exp_avg_sq = buffers
    keep, open1, beta2, open2, step_size, correction2, eps = scalars
    if torch.compiler.is_compiling():
        first = exp_avg + (g - exp_avg) * open1
        second = exp_avg_sq * beta2 + g * g * open2
        exp_avg.copy_(first)
        exp_avg_sq.copy_(second)
        ahead = first if metric is None else metric * first
        return w * keep - (ahead * step_size) / (second.sqrt() / correction2 + eps)
    u = w * keep
    exp_avg.lerp_(g, open1)
    exp_avg_sq.mul_(beta2).addcmul_(g, g, value=cast(float, open2))
    denominator = (exp_avg_sq.sqrt() / correction2).add_(eps)
    numerator = exp_avg if metric is None else metric.mul_(exp_avg)
    if isinstance(step_size, Tensor):
        # `value` would have to be read back from the device.
        return u.addcdiv_(numerator * -step_size, denominator)
    return u.addcdiv_(numerator, denominator, value=-step_size)


def _adamw_feedback_scalars(group: Mapping[str, Any], step: int) -> tuple[Scalar, ...]:
    (beta1, beta2), lr = group["betas"], group["lr"]
    share = (1 - 1 / beta1) * (1 - beta1**step)
    if isinstance(lr, Tensor):
        return (1 - beta2**step) ** 0.5, group["eps"], torch.where(lr == 0, 0.0, share / lr)
    return (1 - beta2**step) ** 0.5, group["eps"], share / lr if lr else 0.0


def _adamw_keep(error: Tensor, buffers: Sequence[Tensor], metric: Tensor | None, scalars: Scalars) -> None:
    """Add `(1 - 1 / beta1) (1 - beta1^t) (sqrt(v_hat) + eps) / (lr G) e` to the first moment, and nothing if lr is 0.

    Nikdan et al. (arXiv:2601.22101), algorithm 3, with the metric G beside lr. A momentum of c moves the weight by
    `-lr G c beta1^k / ((1 - beta1^t) (sqrt(v_hat) + eps))` in the k-th step after this one, so that what is added here
    moves it by `(1 / beta1 - 1) beta1^k e`, and by e in all: exactly so while lr, G, v_hat and the bias correction
    stay what they are in this step.
    """
    exp_avg, exp_avg_sq = buffers
    correction2, eps, share = scalars
    kept = error * share * (exp_avg_sq.sqrt() / correction2 + eps)
    exp_avg.add_(kept if metric is None else kept / metric)


_adamw_feedback = Feedback(lambda group: group["betas"][0], _adamw_feedback_scalars, _adamw_keep)

adamw = Direction("adamw", ("exp_avg", "exp_avg_sq"), _adamw_scalars, _adamw_move, feedback=_adamw_feedback)
"""AdamW's normalized momentum, measured by the metric: `u = w - lr wd w - lr G m_hat / (sqrt(v_hat) + eps)`.

Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (arXiv:1711.05101), algorithm 2. Weight decay is not
scaled by G. Settings: lr, betas, eps, weight_decay.
"""


def _rung_scalars(group: Mapping[str, Any], step: int) -> tuple[Scalar, ...]:
    return group["lr"], group["momentum"], group["max_rungs"]


def _rung_move(
    w: Tensor, g: Tensor, buffers: Sequence[Tensor], metric: Tensor | None, scalars: Scalars, grid: Grid | None
) -> Tensor:
    """Make one step in rungs."""
    assert grid is not None, "groups are checked when they are added"
    (buffer,) = buffers
    lr, momentum, max_rungs = scalars
    buffer.mul_(momentum).add_(grid.ulp(w) * g)
    move = (buffer * lr).clamp(max=max_rungs).clamp(min=-max_rungs)
    # In float32 a position would keep fewer digits than the weight, and a move of 0 would not be one.
    place = position(grid.to_units(w.to(torch.float64)), grid.wide)
    return grid.from_units(from_position(place.sub_(move), grid.wide), w.dtype)


rung = Direction("rung", ("momentum_buffer",), _rung_scalars, _rung_move, positions=True)
"""Momentum on the number line: a step is a real-valued move in rungs, held within `max_rungs`.

`g_r = g ulp(w)`, the gradient with respect to the rung position; `m <- momentum m + g_r`; the position moves by
`-clip(lr m, -max_rungs, max_rungs)`. There is no weight decay. Settings: lr, momentum, max_rungs.
"""
