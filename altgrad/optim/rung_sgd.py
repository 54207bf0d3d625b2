"""Momentum whose steps are moves on the number line, counted in rungs."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from altgrad.errors import OptimizerError
from altgrad.optim.base import GridOptimizer
from altgrad.optim.direction import adamw, rung
from altgrad.optim.storage import MASTER


class RungSGD(GridOptimizer):
    """Momentum on rung positions: quantized weights move along their number line by at most `max_rungs` a step.

    `g_r = g ulp(w)` is the gradient with respect to the rung position and `m <- momentum m + g_r` its momentum; the
    position moves by `-clip(lr m, -max_rungs, max_rungs)`. With stochastic storage the new position is rounded to
    a neighbouring rung, up or down with a probability given by its fraction, and held within the format; that is
    `k' = k - SR(delta)` whenever the scale stays. With master storage the weight keeps its real-valued position.

    The rule is this project's own. Its nearest kin moves the exponents of a logarithmic number system in whole steps
    (LNS-Madam, Zhao et al. 2021, arXiv:2106.13914); stochastic rounding to a rung is that of Gupta et al. (2015,
    arXiv:1502.02551, section 3).

    Groups without a format take AdamW's direction (`direction="adamw"`), with `plain_lr` unless they give their own
    lr. The rung direction has no weight decay: where it is used, the group's `weight_decay` is set to 0.

    Args:
        params: Parameters, or groups as `param_groups` makes them. Every keyword below but `generator`,
            `plain_lr` and `compiled` is a group's setting too, and stands for groups that do not give their own.
        lr: Rungs for each unit of momentum, at least 0; a number or a tensor of one.
        momentum: Decay rate of the momentum, in [0, 1).
        max_rungs: The longest move of a step, above 0.
        plain_lr: AdamW's learning rate for groups without a format.
        betas: AdamW's decay rates, for groups with `direction="adamw"`; the next two likewise.
        eps: Added to AdamW's denominator, above 0.
        weight_decay: AdamW's decoupled weight decay, at least 0.
        storage: `"stochastic"` or `"master"`. A move of under half a rung would never survive rounding to nearest.
        generator: Draws for stochastic storage, which needs one. Its state is saved and restored with the optimizer.
        count: Whether to count flips, stalls and the like; see `take_counts`.
        compiled: Make steps with kernels of torch.compile; the first step then takes seconds.

    Raises:
        OptimizerError: If a setting is outside its range, or a group with the rung direction has no rungs to move on.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([[1.0, -448.0]]))
        >>> optimizer = RungSGD([{"params": [weight], "fmt": "E4M3"}], lr=100.0, storage="master")
        >>> weight.grad = torch.tensor([[1.0, -1.0]])
        >>> optimizer.step()
        >>> weight.data
        tensor([[   0.9375, -416.0000]])
    """

    directions: ClassVar = {"adamw": adamw, "rung": rung}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        momentum: float = 0.9,
        *,
        max_rungs: float = 1.0,
        plain_lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        storage: str = "stochastic",
        generator: torch.Generator | None = None,
        count: bool = False,
        compiled: bool = False,
    ) -> None:
        self._plain_lr = plain_lr
        defaults: dict[str, Any] = {
            "direction": "rung",
            "lr": lr,
            "momentum": momentum,
            "max_rungs": max_rungs,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "metric_power": 0.0,
            "metric": "ulp",
            "permutation_seed": 0,
            "precondition": "update",
            "storage": storage,
            "count": count,
        }
        super().__init__(params, defaults, generator, compiled)

    def _complete(self, group: dict[str, Any]) -> dict[str, Any]:
        """Give plain groups AdamW's direction and rate, and rung groups no weight decay."""
        plain = group.get("fmt") is None
        group = {**({"direction": "adamw"} if plain else {}), **group}
        if plain:
            group.setdefault("lr", self._plain_lr)
        group = super()._complete(group)
        if group["direction"] == "rung":
            group["weight_decay"] = 0.0
        return group

    def _check(self, group: dict[str, Any]) -> None:
        """Refuse rung groups that have no rungs, or whose moves would be lost."""
        super()._check(group)
        if group["direction"] != "rung":
            return
        fmt = group["fmt"]
        if fmt is None or fmt.is_reference:
            given = "a group without a format" if fmt is None else f"the reference format {fmt.name}"
            raise OptimizerError("RungSGD", f"{given} has no rungs to move on", 'Set direction="adamw" for this group')
        if group["storage"] not in (MASTER, "stochastic"):
            raise OptimizerError(
                "RungSGD",
                f"storage={group['storage']!r} would lose moves of under half a rung",
                "Use stochastic or master",
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return what copying and pickling keep."""
        return {**super().__getstate__(), "_plain_lr": self._plain_lr}
