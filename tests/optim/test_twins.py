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
from tests.optim.twin import RowTwins, Twin

SHAPE, STEPS, HISTORY = (4, 6), 20, 3
FORMATS = ("E7M0", "E0M7", "E4M3", "E5M2")
STORAGES = ("master", "nearest", "stochastic", "eco")
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


def track(optimizer_class: type[GridOptimizer], fmt_name: str, mode: str, seed: int = 0, **settings) -> Twin:
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
    group = {"params": [weight], "fmt": fmt, "scalers": [scaler]}
    optimizer = optimizer_class([group], **settings, generator=generator, count=True)
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
    return twin


def track_adamw(fmt: str, mode: str, **settings) -> Twin:
    return track(ManifoldAdamW, fmt, mode, **{**ADAMW, "lr": 0.05, **settings})


MODES_AND_POWERS = [
    ("current", 0.0),
    ("delayed", 0.5),
    ("current", -1.0),
    ("delayed", -0.5),
    ("none", 0.25),
    ("delayed", 1.0),
]


@pytest.mark.parametrize(("mode", "power"), MODES_AND_POWERS)
@pytest.mark.parametrize(("fmt", "storage"), list(itertools.product(FORMATS, STORAGES)))
def test_manifold_adamw(fmt, storage, mode, power):
    twin = track_adamw(fmt, mode, metric_power=power, storage=storage)
    assert twin.counts["flips"] > 0
    assert twin.counts["updates"] < STEPS * 24, "some elements had no gradient"


@pytest.mark.parametrize("power", [-0.5, 0.25, 0.5, 1.0])
@pytest.mark.parametrize(("fmt", "storage"), list(itertools.product(FORMATS, STORAGES)))
def test_manifold_adamw_with_the_literal_gradient_metric(fmt, storage, power):
    track_adamw(fmt, "delayed", metric_power=power, precondition="gradient", storage=storage)


@pytest.mark.parametrize(("mode", "power"), [("delayed", 0.25), ("current", 0.5), ("delayed", 1.0)])
@pytest.mark.parametrize(("fmt", "storage"), list(itertools.product(FORMATS, STORAGES)))
def test_manifold_adamw_with_the_smooth_metric(fmt, storage, mode, power):
    track_adamw(fmt, mode, metric_power=power, metric="smooth", storage=storage)


@pytest.mark.parametrize(("mode", "power", "seed"), [("current", -0.5, 0), ("delayed", 0.5, 1), ("delayed", 1.0, 2)])
@pytest.mark.parametrize(("fmt", "storage"), list(itertools.product(FORMATS, STORAGES)))
def test_manifold_adamw_with_the_permuted_metric(fmt, storage, mode, power, seed):
    track_adamw(fmt, mode, metric_power=power, metric="permuted", permutation_seed=seed, storage=storage)


@pytest.mark.parametrize("mode", ["current", "delayed"])
@pytest.mark.parametrize("metric", ["ulp", "smooth", "permuted"])
@pytest.mark.parametrize(("fmt", "storage"), [("E4M3", "eco"), ("E0M7", "eco"), ("E7M0", "nearest")])
def test_scales_per_row(fmt, storage, metric, mode):
    settings = {**ADAMW, "lr": 0.05, "metric_power": 0.5, "metric": metric, "permutation_seed": 3, "storage": storage}
    start = random_weights(4)
    scaler = Scaler(fmt, mode=mode, history=HISTORY, per_row=True, rows=SHAPE[0])
    scaler.initialize(start)
    twins = RowTwins(start.tolist(), formats[fmt], settings, mode, HISTORY)
    weight = torch.nn.Parameter(start.clone())
    optimizer = ManifoldAdamW([{"params": [weight], "fmt": fmt, "scalers": [scaler]}], **settings, count=True)
    for row in twins.rows:
        row.w = row.land(row.w, [])
    for g in random_gradients(5):
        weight.grad = g
        optimizer.step()
        twins.step(g.tolist())
        assert scaler.scale.flatten().tolist() == [row.scale.value for row in twins.rows]
        assert weight.tolist() == [row.w for row in twins.rows]
    counts = dict(zip(COUNTERS, optimizer.take_counts()[0].tolist(), strict=True))
    assert counts == {name: sum(row.counts[name] for row in twins.rows) for name in COUNTERS}


@pytest.mark.parametrize("mode", ["current", "delayed", "none"])
@pytest.mark.parametrize(("fmt", "storage"), list(itertools.product(FORMATS, ("master", "stochastic"))))
def test_rung_sgd(fmt, storage, mode):
    twin = track(RungSGD, fmt, mode, lr=3.0, momentum=0.7, max_rungs=0.75, storage=storage)
    assert twin.counts["flips"] > 0


def test_the_runs_reach_every_counter():
    """Between them the runs above see scale changes, lost updates, overflow and underflow."""
    totals = dict.fromkeys(COUNTERS, 0)
    for fmt, storage in itertools.product(("E0M7", "E7M0"), STORAGES):
        twin = track_adamw(fmt, "delayed", lr=0.2, metric_power=0.5, storage=storage)
        totals = {name: totals[name] + twin.counts[name] for name in COUNTERS}
    missing = [name for name, value in totals.items() if not value]
    assert not missing
