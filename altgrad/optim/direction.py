"""How a step is made: from a weight and its gradient to the intended weight, before anything is stored.

The functions that end in `_on_tensors` do the arithmetic on plain tensors, in place; the directions below them find
those tensors in an optimizer's state and settings.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from altgrad.numerics.geometry import from_rung_position, rung_position, ulp
from altgrad.optim.grid import Grid
from altgrad.optim.metric import normalized_ulp_power, ulp_power

Direction = Callable[[Tensor, Tensor, dict[str, Any], dict[str, Any], Grid | None], None]
"""A direction: `(u, g, state, group, grid)`.

It turns `u`, which comes in as the weight, into the intended weight, in place. `g` is the gradient and stays as it is;
`state` is the weight's own, empty at first; `group` holds the settings; `grid` is the weight's format and its scale so
far, None for a plain weight.
"""


def adamw(u: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any], grid: Grid | None) -> None:
    """AdamW's normalized momentum, measured by the metric S^p: `u <- u - lr wd u - lr G m_hat / (sqrt(v_hat) + eps)`.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (arXiv:1711.05101), algorithm 2. G is 1 for plain
    weights and for `metric_power` 0; weight decay is not scaled by it. With `precondition="gradient"` the gradient is
    multiplied with S^p before the moments instead, which Adam's normalization then mostly divides out again.

    Settings: lr, betas, eps, weight_decay, metric_power, precondition. State: step, exp_avg, exp_avg_sq.

    Args:
        u: The weight, then the intended weight.
        g: Its gradient.
        state: The weight's own state.
        group: The settings.
        grid: The weight's grid, or None.
    """
    if not state:
        state.update(step=0, exp_avg=torch.zeros_like(u), exp_avg_sq=torch.zeros_like(u))
    state["step"] += 1
    power, metric = group["metric_power"], None
    if grid is not None and power != 0.0:
        if group["precondition"] == "gradient":
            g = g * ulp_power(u, grid, power)
        else:
            metric = normalized_ulp_power(u, grid, power)
    adamw_on_tensors(
        u,
        g,
        state["exp_avg"],
        state["exp_avg_sq"],
        metric,
        step=state["step"],
        lr=group["lr"],
        betas=group["betas"],
        eps=group["eps"],
        weight_decay=group["weight_decay"],
    )


def adamw_on_tensors(
    u: Tensor,
    g: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    metric: Tensor | None,
    *,
    step: int,
    lr: float | Tensor,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    """Make one step of AdamW with a metric, in place on `u` and both moments.

    The operations and their order are those of torch 2.13's single-tensor AdamW (`_single_tensor_adam` in
    https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/adam.py), so that without a metric the bits agree.

    Args:
        u: The weights, any shape and float dtype.
        g: Their gradients, same shape.
        exp_avg: First moment, same shape.
        exp_avg_sq: Second moment, same shape.
        metric: Factor of each element's step, same shape; None for 1.
        step: Number of this step, from 1.
        lr: Learning rate, a number or a 0-dim tensor.
        betas: Decay rates of the moments.
        eps: Added to the denominator.
        weight_decay: Decoupled weight decay.
    """
    beta1, beta2 = betas
    if weight_decay != 0.0:
        u.mul_(1 - lr * weight_decay)
    exp_avg.lerp_(g, 1 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    step_size = lr / (1 - beta1**step)
    denominator = (exp_avg_sq.sqrt() / (1 - beta2**step) ** 0.5).add_(eps)
    numerator = exp_avg if metric is None else metric.mul_(exp_avg)
    if isinstance(step_size, Tensor):
        # `value` would have to be read back from the device.
        u.addcdiv_(numerator * -step_size, denominator)
    else:
        u.addcdiv_(numerator, denominator, value=-step_size)


def rung(u: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any], grid: Grid | None) -> None:
    """Momentum on the number line: a step is a real-valued move in rungs, held within `max_rungs`.

    `g_r = g ulp(w)`, the gradient with respect to the rung position; `m <- momentum m + g_r`; the position moves by
    `-clip(lr m, -max_rungs, max_rungs)`. There is no weight decay.

    Settings: lr, momentum, max_rungs. State: momentum_buffer, in units of the loss a rung.

    Args:
        u: The weight, then the intended weight.
        g: Its gradient.
        state: The weight's own state.
        group: The settings.
        grid: The weight's grid.
    """
    assert grid is not None, "groups are checked when they are added"
    if not state:
        state.update(momentum_buffer=torch.zeros_like(u))
    rung_on_tensors(
        u,
        g,
        state["momentum_buffer"],
        grid,
        lr=group["lr"],
        momentum=group["momentum"],
        max_rungs=group["max_rungs"],
    )


def rung_on_tensors(
    u: Tensor, g: Tensor, buffer: Tensor, grid: Grid, *, lr: float | Tensor, momentum: float, max_rungs: float
) -> None:
    """Make one step in rungs, in place on `u` and the momentum.

    Args:
        u: The weights, any shape and float dtype.
        g: Their gradients, same shape.
        buffer: Momentum, same shape.
        grid: The weights' grid.
        lr: Rungs for each unit of momentum, a number or a 0-dim tensor.
        momentum: Decay rate of the momentum.
        max_rungs: The longest move of a step.
    """
    buffer.mul_(momentum).add_(ulp(u, grid.fmt, grid.scale).mul_(g))
    move = (buffer * lr).clamp_(-max_rungs, max_rungs)
    # In float32 a position would keep fewer digits than the weight, and a move of 0 would not be one.
    position = rung_position(u.to(torch.float64), grid.fmt, grid.scale)
    u.copy_(from_rung_position(position.sub_(move), grid.fmt, grid.scale))
