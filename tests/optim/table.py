"""The contract table: a new optimizer earns its tests with one row of `OPTIMIZERS`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from altgrad.numerics.scaling import Scaler
from altgrad.optim.base import GridOptimizer
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.rung_sgd import RungSGD

Params = dict[str, torch.nn.Parameter]


@dataclass(frozen=True)
class Row:
    """One optimizer with its settings.

    Attributes:
        name: The test's id.
        make: From groups and a generator to the optimizer.
        fmt: The format of the matrices; None leaves them plain.
        remaining: The share of the first loss that may remain at the end.
    """

    name: str
    make: Callable[[list[dict], torch.Generator], GridOptimizer]
    fmt: str | None = "E4M3"
    remaining: float = 5e-3


@dataclass(frozen=True)
class Target:
    """A function to minimize.

    Attributes:
        name: The test's id.
        start: The parameters to begin with; matrices are quantized.
        loss: Its value, with a least value of 0.
    """

    name: str
    start: Callable[[], dict[str, Tensor]]
    loss: Callable[[Params], Tensor]


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


_LOW_RANK = _randn(6, 2, seed=0) @ _randn(2, 5, seed=1)
_INPUTS = _randn(32, 6, seed=2)
_OUTPUTS = _INPUTS @ _randn(6, 4, seed=3) + _randn(4, seed=4)


def _rosenbrock(p: Params) -> Tensor:
    x, y = p["xy"][0]
    return (1 - x) ** 2 + 5 * (y - x**2) ** 2


TARGETS = (
    Target(
        "parabola",
        lambda: {"x": torch.tensor([[0.1, -4.0, 2.0]])},
        lambda p: (p["x"] - torch.tensor([1.0, -2.0, 3.0])).square().sum(),
    ),
    Target("rosenbrock", lambda: {"xy": torch.tensor([[1.7, 0.4]])}, _rosenbrock),
    Target(
        "matrix factorization",
        lambda: {"u": 0.5 * _randn(6, 2, seed=5), "v": 0.5 * _randn(2, 5, seed=6)},
        lambda p: (p["u"] @ p["v"] - _LOW_RANK).square().mean(),
    ),
    Target(
        "mixed 1D and 2D",
        lambda: {"w": 0.1 * _randn(6, 4, seed=7), "b": torch.zeros(4)},
        lambda p: (_INPUTS @ p["w"] + p["b"] - _OUTPUTS).square().mean(),
    ),
)

OPTIMIZERS = (
    Row("adamw", lambda g, r: ManifoldAdamW(g, lr=0.1, weight_decay=0.0), fmt=None),
    Row("manifold master", lambda g, r: ManifoldAdamW(g, lr=0.1, weight_decay=0.0, metric_power=0.5)),
    Row(
        "manifold gradient",
        lambda g, r: ManifoldAdamW(g, lr=0.1, weight_decay=0.0, metric_power=0.5, precondition="gradient"),
    ),
    Row(
        "manifold nearest",
        lambda g, r: ManifoldAdamW(g, lr=0.2, weight_decay=0.0, metric_power=0.5, storage="nearest"),
        remaining=0.02,
    ),
    Row(
        "manifold stochastic",
        lambda g, r: ManifoldAdamW(g, lr=0.1, weight_decay=0.0, metric_power=0.5, storage="stochastic", generator=r),
        remaining=0.02,
    ),
    Row(
        "manifold eco",
        lambda g, r: ManifoldAdamW(g, lr=0.1, weight_decay=0.0, metric_power=0.5, storage="eco"),
        remaining=0.02,
    ),
    Row("smooth", lambda g, r: ManifoldAdamW(g, lr=0.1, weight_decay=0.0, metric_power=0.5, metric="smooth")),
    Row(
        "permuted",
        lambda g, r: ManifoldAdamW(g, lr=0.1, weight_decay=0.0, metric_power=0.5, metric="permuted"),
    ),
    # In rungs the way is long: E4M3 has over a hundred of them between a small weight and one of the other sign.
    Row(
        "rung master",
        lambda g, r: RungSGD(g, lr=1000.0, momentum=0.8, max_rungs=8.0, plain_lr=0.1, storage="master"),
        fmt="E2M5",
    ),
    Row(
        "rung stochastic",
        lambda g, r: RungSGD(g, lr=1000.0, momentum=0.8, max_rungs=8.0, plain_lr=0.1, generator=r),
        fmt="E2M5",
        remaining=0.02,
    ),
)


def build(row: Row, target: Target, seed: int = 0, mode: str = "current") -> tuple[Params, list[Scaler], GridOptimizer]:
    """Return a target's parameters, their scalers and the row's optimizer over them."""
    params = {name: torch.nn.Parameter(value) for name, value in target.start().items()}
    matrices = {n: p for n, p in params.items() if p.ndim == 2 and row.fmt is not None}
    rest = {n: p for n, p in params.items() if n not in matrices}
    scalers = [Scaler(row.fmt, mode=mode) for _ in matrices]
    for scaler, p in zip(scalers, matrices.values(), strict=True):
        scaler.initialize(p)
    groups = [{"params": list(rest.values()), "param_names": list(rest)}] if rest else []
    if matrices:
        groups.append(
            {"params": list(matrices.values()), "param_names": list(matrices), "fmt": row.fmt, "scalers": scalers}
        )
    return params, scalers, row.make(groups, torch.Generator().manual_seed(seed))


def backward(target: Target, params: Params) -> float:
    """Set the gradients, and return the loss."""
    for p in params.values():
        p.grad = None
    loss = target.loss(params)
    loss.backward()
    return loss.item()
