"""AdamW whose steps are measured by the grid's own spacing, or by a control in its place."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from altgrad.optim.base import GridOptimizer
from altgrad.optim.direction import adamw


class ManifoldAdamW(GridOptimizer):
    """AdamW with the metric S^p, for weights that are seen or stored in a low-precision format.

    With d AdamW's normalized direction, S the ulp of each weight and s the weight's scale, a step is
    `u = w - lr wd w - lr G d`, where G is S^p divided by its root mean square over the tensor and held to at least
    0.05; then the scale advances from the largest magnitude of u, and u is stored.

    Groups without a format are plain AdamW, bit for bit torch's single-tensor one; so is a group with
    `metric_power=0` and `storage="master"`. On a uniform grid with one scale G is exactly 1 for every p.

    AdamW is algorithm 2 of Loshchilov and Hutter (2019, arXiv:1711.05101), on the moments of Kingma and Ba (2015,
    arXiv:1412.6980). The metric is this project's own. Its nearest kin is Madam (Bernstein et al. 2020,
    arXiv:2006.14560), whose steps are proportional to the weights, as are those with p = 1 on a grid without mantissa
    bits. Storages have their sources in `altgrad.optim.storage`.

    Args:
        params: Parameters, or groups as `param_groups` makes them. Every keyword below but `generator` and
            `compiled` is a group's setting too, and stands for groups that do not give their own.
        lr: Learning rate, at least 0; a number or a tensor of one.
        betas: Decay rates of the moments, in [0, 1).
        eps: Added to the denominator, above 0.
        weight_decay: Decoupled weight decay, at least 0.
        metric_power: p, in [-1, 1]. 0 is AdamW.
        metric: What G is made of: `"ulp"`, S^p as above; `"smooth"`, |w|^p in its place, for p of at least 0;
            `"permuted"`, the G of `"ulp"`, shuffled within the tensor so that each weight has another one's.
        permutation_seed: Of the shuffle, at least 0. It and the parameter's index in the optimizer give each parameter
            one permutation for the whole run: no generator is drawn from, and the state holds no permutation.
        precondition: `"update"` scales the normalized direction with G; `"gradient"` multiplies the gradient with S^p
            (not normalized) before the moments; `metric` is then `"ulp"`.
        storage: `"master"`, `"nearest"`, `"stochastic"` or `"eco"`: as nearest, with the rounding error given to the
            first moment, which carries it to the next steps (needs betas[0] above 0).
        generator: Draws for stochastic storage, which needs one. Its state is saved and restored with the optimizer.
        count: Whether to count flips, stalls and the like; see `take_counts`.
        compiled: Make steps with kernels of torch.compile; the first step then takes seconds.

    Raises:
        OptimizerError: If a setting is outside its range.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([[0.3, 17.0]]))
        >>> optimizer = ManifoldAdamW([{"params": [weight], "fmt": "E4M3"}], lr=1.0, storage="nearest")
        >>> weight.data
        tensor([[ 0.3125, 16.0000]])
    """

    directions: ClassVar = {"adamw": adamw}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        metric_power: float = 0.0,
        metric: str = "ulp",
        permutation_seed: int = 0,
        precondition: str = "update",
        storage: str = "master",
        generator: torch.Generator | None = None,
        count: bool = False,
        compiled: bool = False,
    ) -> None:
        defaults: dict[str, Any] = {
            "direction": "adamw",
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "metric_power": metric_power,
            "metric": metric,
            "permutation_seed": permutation_seed,
            "precondition": precondition,
            "storage": storage,
            "count": count,
        }
        super().__init__(params, defaults, generator, compiled)
