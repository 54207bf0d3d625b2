"""Compiled steps: the same arithmetic to rounding, one compiled version a kernel, and the same bits on resuming."""

import itertools

import pytest
import torch

from altgrad.numerics.compiling import compiled_variants
from altgrad.numerics.scaling import Scaler
from altgrad.optim.counting import COUNTERS
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.rung_sgd import RungSGD
from altgrad.optim.storage import STORAGES

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SHAPES = ((64, 1024), (40, 1025), (7, 5))  # 64 rows, 41 rows of which the last is nearly empty, one row
STEPS = 6


def build(fmt: str, storage: str, compiled: bool, mode: str = "delayed", per_row: bool = False, **settings):
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    scalers = [Scaler(fmt, mode, 3, per_row=per_row, rows=p.shape[0] if per_row else None) for p in params]
    for scaler, p in zip(scalers, params, strict=True):
        scaler.initialize(p)
    group = {"params": params, "fmt": fmt, "scalers": scalers}
    make = RungSGD if "momentum" in settings else ManifoldAdamW
    optimizer = make([group], storage=storage, generator=generator, count=True, compiled=compiled, **settings)
    return params, scalers, optimizer


def train(params, optimizer, first: int = 0, last: int = STEPS) -> None:
    for t in range(first, last):
        for i, p in enumerate(params):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(100 * t + i)) + p.detach()
        optimizer.step()


ADAMW = {"lr": 0.02, "metric_power": 0.5}
CASES = [
    *[("E4M3", storage, {}, ADAMW) for storage in STORAGES],
    ("E7M0", "nearest", {"mode": "current"}, ADAMW),
    ("E7M0", "nearest", {}, {"lr": 0.02, "metric_power": -1.0}),
    ("E0M7", "stochastic", {"per_row": True}, ADAMW),
    ("E5M2", "master", {}, {"lr": 0.02, "metric_power": 1.0, "precondition": "gradient"}),
    ("E3M4", "nearest", {"mode": "none"}, {"lr": 0.02}),
    ("BF16", "nearest", {}, ADAMW),
    ("E5M2", "eco", {"mode": "current"}, ADAMW),
    ("E0M7", "eco", {"per_row": True}, {"lr": 0.02}),
    ("BF16", "eco", {}, ADAMW),
    ("E4M3", "nearest", {}, {**ADAMW, "metric": "smooth"}),
    ("E4M3", "eco", {"mode": "current"}, {"lr": 0.02, "metric": "permuted", "metric_power": 1.0}),
    ("E2M5", "stochastic", {}, {"lr": 3.0, "momentum": 0.8, "max_rungs": 2.0}),
]


@pytest.mark.parametrize(("fmt", "storage", "scaling", "settings"), CASES)
def test_it_steps_as_eager_does(fmt, storage, scaling, settings):
    """Rounding of sums differs in the last bit, which moves a landing now and then by one rung."""
    ends, counts = [], []
    for compiled in (False, True):
        params, scalers, optimizer = build(fmt, storage, compiled, **scaling, **settings)
        train(params, optimizer)
        ends.append([p.detach() for p in params] + [s.scale for s in scalers])
        counts.append(torch.stack(list(optimizer.take_counts().values())))
    for eager, fast in zip(*ends, strict=True):
        differ = ~torch.isclose(eager, fast, rtol=1e-5, atol=1e-7)
        assert differ.double().mean() < 1e-3
    gap = (counts[0] - counts[1]).abs()
    assert (gap <= 1e-3 * counts[0] + 20).all()
    assert counts[0].sum(0)[COUNTERS.index("updates")] == STEPS * sum(p.numel() for p in params)


def test_every_kernel_has_one_compiled_version():
    """Formats, mixed precision and sizes in one process; it counts what the tests above compiled too."""
    for fmt, storage in itertools.product(("E4M3", "E5M2", "E1M6"), ("master", "nearest")):
        params, _, optimizer = build(fmt, storage, True, **ADAMW)
        train(params, optimizer, 0, 2)
    generator = torch.Generator().manual_seed(1)
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(1024, 1024), (333, 900)]]
    groups = [{"params": [p], "fmt": fmt} for p, fmt in zip(params, ("E3M4", "E4M3"), strict=True)]
    train(params, ManifoldAdamW(groups, storage="nearest", count=True, compiled=True, **ADAMW), 0, 2)
    found = compiled_variants()
    assert len(found) > 5 and set(found.values()) == {1}


@pytest.mark.parametrize("storage", STORAGES)
def test_a_resumed_run_ends_with_the_same_bits(storage):
    straight, _, optimizer = build("E4M3", storage, True, **ADAMW)
    train(straight, optimizer)
    params, scalers, broken = build("E4M3", storage, True, **ADAMW)
    train(params, broken, 0, 3)
    saved = [p.detach().clone() for p in params], [s.state_dict() for s in scalers], broken.state_dict()
    fresh, fresh_scalers, resumed = build("E4M3", storage, True, **ADAMW)
    with torch.no_grad():
        for p, w, scaler, state in zip(fresh, saved[0], fresh_scalers, saved[1], strict=True):
            p.copy_(w)
            scaler.load_state_dict(state)
    resumed.load_state_dict(saved[2])
    train(fresh, resumed, 3)
    assert all(torch.equal(a, b) for a, b in zip(straight, fresh, strict=True))
    assert all(
        torch.equal(a, b) for a, b in zip(*(o.take_counts().values() for o in (optimizer, resumed)), strict=True)
    )


def test_counts_of_a_compiled_step_are_those_of_its_own_weights():
    """Recounted from the weights before and after: nearest storage, scale 1, no metric."""
    from altgrad.numerics.rounding import quantize

    params, _, optimizer = build("E4M3", "nearest", True, mode="none", lr=0.02)
    before = [p.detach().clone() for p in params]
    train(params, optimizer, 0, 1)
    for old, new, counts in zip(before, params, optimizer.take_counts().values(), strict=True):
        on_grid = quantize(old, "E4M3")
        flips = int((new.detach() != on_grid).sum())
        found = dict(zip(COUNTERS, counts.tolist(), strict=True))
        assert found["flips"] == found["flips_among_updated"] == flips > 0
        assert found["updates"] == old.numel() and found["stall"] == old.numel() - flips
        assert found["zero_update"] == old.numel() - flips and found["rescale_moves"] == 0
