"""The fast optimizers track slow float64 twins that follow the definitions' letters, counts included."""

import itertools

import pytest
import torch

from altgrad.numerics.catalog import formats
from altgrad.numerics.noise import draw_key, thresholds
from altgrad.numerics.scaling import Scaler
from altgrad.optim.base import GridOptimizer
from altgrad.optim.counting import COUNTERS
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.rung_sgd import RungSGD
from tests.optim.twin import Twin

SHAPE, STEPS, HISTORY = (4, 6), 20, 3
FORMATS = ("E7M0", "E0M7", "E4M3", "E5M2")
STORAGES = ("master", "nearest", "stochastic")
ADAMW = {"betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}


def random_weights(seed: int) -> torch.Tensor:
    """Weights over several binades, with zeros; float32 values in float64."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(SHAPE, generator=generator) * torch.exp2(torch.randint(-6, 1, SHAPE, generator=generator))
    return (w * (torch.rand(SHAPE, generator=generator) > 0.1)).double()


def random_gradients(seed: int) -> list[torch.Tensor]:
    """Gradients over several binades; a quarter of the elements have none for the first half of the steps."""
    generator = torch.Generator().manual_seed(seed)
    idle = torch.rand(SHAPE, generator=generator) < 0.25
    drift = torch.randn(SHAPE, generator=generator)
    gradients = [(drift + torch.randn(SHAPE, generator=generator)).double() for _ in range(STEPS)]
    return [torch.where(idle & torch.tensor(t < STEPS // 2), 0.0, g) for t, g in enumerate(gradients)]


def track(make, fmt_name: str, mode: str, settings: dict, seed: int = 0) -> tuple[Twin, GridOptimizer]:
    """Run both, and compare weights, scale and counts after every step."""
    fmt, storage = formats[fmt_name], settings["storage"]
    start = random_weights(seed)
    scaler = Scaler(fmt, mode=mode, history=HISTORY)
    scaler.initialize(start)
    twin = Twin(start.flatten().tolist(), fmt, settings, mode, HISTORY)

    generator, draws = (torch.Generator().manual_seed(seed) for _ in range(2))

    def next_thresholds() -> list[float]:
        if storage != "stochastic":
            return []
        return thresholds(torch.Size(SHAPE), draw_key(draws, start.device), torch.float64).flatten().tolist()

    weight = torch.nn.Parameter(start.clone())
    optimizer = make([{"params": [weight], "fmt": fmt, "scalers": [scaler]}], generator)
    twin.w = twin.land(twin.w, next_thresholds())
    assert weight.flatten().tolist() == twin.w
    for g in random_gradients(seed + 1):
        weight.grad = g
        optimizer.step()
        twin.step(g.flatten().tolist(), next_thresholds())
        assert scaler.scale.item() == twin.scale.value
        if storage == "master":
            torch.testing.assert_close(weight.flatten().tolist(), twin.w, rtol=1e-12, atol=1e-15)
        else:
            assert weight.flatten().tolist() == twin.w
    counts = dict(zip(COUNTERS, optimizer.take_counts()[0].tolist(), strict=True))
    assert counts == twin.counts
    return twin, optimizer


@pytest.mark.parametrize(("mode", "power"), [("current", 0.0), ("delayed", 0.5), ("current", -1.0)])
@pytest.mark.parametrize(("fmt", "storage"), list(itertools.product(FORMATS, STORAGES)))
def test_manifold_adamw(fmt, storage, mode, power):
    settings = {**ADAMW, "lr": 0.05, "metric_power": power, "storage": storage}
    twin, _ = track(
        lambda groups, generator: ManifoldAdamW(groups, **settings, generator=generator, count=True),
        fmt,
        mode,
        settings,
    )
    assert twin.counts["flips"] > 0
    assert twin.counts["updates"] < STEPS * 24, "some elements had no gradient"


@pytest.mark.parametrize(("fmt", "storage"), list(itertools.product(FORMATS, STORAGES)))
def test_manifold_adamw_with_the_literal_gradient_metric(fmt, storage):
    settings = {**ADAMW, "lr": 0.05, "metric_power": 0.5, "precondition": "gradient", "storage": storage}
    track(
        lambda groups, generator: ManifoldAdamW(groups, **settings, generator=generator, count=True),
        fmt,
        "delayed",
        settings,
    )


@pytest.mark.parametrize("mode", ["current", "delayed", "none"])
@pytest.mark.parametrize(("fmt", "storage"), list(itertools.product(FORMATS, ("master", "stochastic"))))
def test_rung_sgd(fmt, storage, mode):
    settings = {"lr": 3.0, "momentum": 0.7, "max_rungs": 0.75, "storage": storage}
    twin, _ = track(
        lambda groups, generator: RungSGD(groups, **settings, generator=generator, count=True), fmt, mode, settings
    )
    assert twin.counts["flips"] > 0


def test_the_runs_reach_every_counter():
    """Between them the runs above see scale changes, lost updates, overflow and underflow."""
    totals = dict.fromkeys(COUNTERS, 0)
    for fmt, storage in itertools.product(("E0M7", "E7M0"), STORAGES):
        settings = {**ADAMW, "lr": 0.2, "metric_power": 0.5, "storage": storage}
        twin, _ = track(
            lambda groups, generator, kw=settings: ManifoldAdamW(groups, **kw, generator=generator, count=True),
            fmt,
            "delayed",
            settings,
        )
        totals = {name: totals[name] + twin.counts[name] for name in COUNTERS}
    missing = [name for name, value in totals.items() if not value]
    assert not missing
