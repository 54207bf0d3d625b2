"""ManifoldAdamW against torch's AdamW, and the metric's own promises."""

import pytest
import torch

from altgrad.numerics.catalog import formats
from altgrad.numerics.geometry import ulp
from altgrad.numerics.scaling import Scaler
from altgrad.optim.grid import make_grid
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.metric import FLOOR, METRICS, measure, normalized
from altgrad.optim.storage import STORAGES


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def run(optimizer, params, steps: int, schedule=None) -> None:
    """Make steps with seeded gradients that depend on the weights."""
    for t in range(steps):
        for i, p in enumerate(params):
            p.grad = p.detach() * 0.1 + randn(*p.shape, seed=1000 * t + i, dtype=p.dtype)
        optimizer.step()
        if schedule is not None:
            schedule.step()


def quantized(fmt: str, w: torch.Tensor, *, mode: str = "current") -> tuple[torch.nn.Parameter, Scaler, list[dict]]:
    """A weight with its scaler, as a list of one group."""
    parameter, scaler = torch.nn.Parameter(w.clone()), Scaler(fmt, mode=mode)
    scaler.initialize(w)
    return parameter, scaler, [{"params": [parameter], "fmt": fmt, "scalers": [scaler]}]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_plain_groups_are_torchs_adamw_bit_for_bit(dtype, decay):
    ours = [torch.nn.Parameter(randn(*shape, seed=i, dtype=dtype)) for i, shape in enumerate([(7, 5), (11,)])]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    a = ManifoldAdamW(ours, lr=1e-2, weight_decay=decay, metric_power=0.5, storage="nearest")
    b = torch.optim.AdamW(theirs, lr=1e-2, weight_decay=decay, foreach=False)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=100) for o in (a, b)]
    run(a, ours, 100, schedules[0])
    run(b, theirs, 100, schedules[1])
    for x, y in zip(ours, theirs, strict=True):
        assert torch.equal(x, y)


def test_master_storage_without_metric_is_torchs_adamw_bit_for_bit():
    w = randn(9, 8)
    ours, _, groups = quantized("E4M3", w)
    theirs = torch.nn.Parameter(w.clone())
    run(ManifoldAdamW(groups, lr=1e-2, weight_decay=0.1, count=True), [ours], 100)
    run(torch.optim.AdamW([theirs], lr=1e-2, weight_decay=0.1, foreach=False), [theirs], 100)
    assert torch.equal(ours, theirs)


def test_a_tensor_learning_rate_gives_the_same_steps():
    ours, theirs = (torch.nn.Parameter(randn(6, 5)) for _ in range(2))
    run(ManifoldAdamW([ours], lr=torch.tensor(0.25, dtype=torch.float64)), [ours], 10)
    run(ManifoldAdamW([theirs], lr=0.25), [theirs], 10)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("metric", ["ulp", "permuted"])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("fmt", ["E0M7", "E1M6"])
def test_on_uniform_grids_every_power_gives_the_same_run(fmt, storage, metric):
    ends = []
    for power in (0.0, -1.0, -0.5, 0.25, 0.5, 0.7, 1.0):
        weight, _, groups = quantized(fmt, randn(37, 53))
        generator = torch.Generator().manual_seed(0)
        settings = {"lr": 3e-2, "metric_power": power, "metric": metric, "storage": storage}
        optimizer = ManifoldAdamW(groups, **settings, generator=generator)
        run(optimizer, [weight], 10)
        ends.append(weight.detach().clone())
    assert all(torch.equal(end, ends[0]) for end in ends[1:])


def test_on_other_grids_the_power_matters():
    ends = []
    for power in (0.0, 0.5):
        weight, _, groups = quantized("E4M3", randn(37, 53))
        run(ManifoldAdamW(groups, lr=3e-2, metric_power=power), [weight], 10)
        ends.append(weight.detach().clone())
    assert not torch.equal(*ends)


def metric_of(w: torch.Tensor, fmt: str, scale: float, power: float) -> torch.Tensor:
    """Return G of one tensor, as a step makes it from one row."""
    row = w.reshape(1, -1)
    grid = make_grid(formats[fmt], torch.full((1, 1), scale), True, w, kernel=False)
    out, metric = torch.empty_like(row), METRICS["ulp"]
    total = measure(out, row, grid, None, None, power, values=metric.values, wide=metric.wide(formats[fmt], power))
    inverse_rms = (w.numel() / total.double()).sqrt().to(w.dtype)
    return normalized(out, inverse_rms.unsqueeze(1), w.dtype).view(w.shape)


@pytest.mark.parametrize("numel", [1, 2, 3, 7, 1000, 12345, 1 << 20])
@pytest.mark.parametrize("power", [-1.0, 0.3, 1.0])
def test_a_constant_spacing_gives_exactly_one(numel, power):
    metric = metric_of(randn(numel).clamp(-0.9, 0.9), "E0M7", 2.0**-5, power)
    assert torch.equal(metric, torch.ones(numel))


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.25, 1.0])
@pytest.mark.parametrize("fmt", ["E4M3", "E7M0", "E5M2"])
def test_the_metric_has_rms_one_before_its_floor(fmt, power):
    w = randn(1000, dtype=torch.float64) * torch.exp2(torch.arange(1000.0) % 5)
    metric = metric_of(w, fmt, 0.25, power)
    expected = ulp(w, fmt, 0.25) ** power
    expected = expected / expected.square().mean().sqrt()
    torch.testing.assert_close(metric, expected.clamp(min=FLOOR), rtol=1e-6, atol=0)
    assert metric.min() >= FLOOR


@pytest.mark.parametrize("power", [-1.0, 1.0])
def test_the_metric_stays_finite_over_e7m0s_whole_range(power):
    w = torch.tensor([0.0, 2.0**-62, 1.0, 2.0**63])
    metric = metric_of(w, "E7M0", 1.0, power)
    # One element outweighs all others: it takes the whole root mean square of 4 elements (2 at the lower end).
    expected = [FLOOR, FLOOR, FLOOR, 2.0] if power > 0 else [2**0.5, 2**0.5, FLOOR, FLOOR]
    torch.testing.assert_close(metric, torch.tensor(expected))


def test_weight_decay_is_not_scaled_by_the_metric():
    w = randn(8, 8)
    weight, _, groups = quantized("E4M3", w)
    weight.grad = torch.zeros_like(w)
    ManifoldAdamW(groups, lr=0.1, weight_decay=0.5, metric_power=1.0).step()
    assert torch.equal(weight, w * (1 - 0.1 * 0.5))


def test_the_literal_variant_multiplies_the_gradient_before_the_moments():
    w, g = randn(8, 8), randn(8, 8, seed=1)
    weight, scaler, groups = quantized("E4M3", w)
    weight.grad = g.clone()
    optimizer = ManifoldAdamW(groups, metric_power=0.5, precondition="gradient")
    scaled = g * ulp(w, "E4M3", scaler.scale) ** 0.5
    optimizer.step()
    torch.testing.assert_close(optimizer.state[weight]["exp_avg"], 0.1 * scaled)
    torch.testing.assert_close(optimizer.state[weight]["exp_avg_sq"], 0.001 * scaled**2)
    assert torch.equal(weight.grad, g), "the gradient itself stays as it is"


@pytest.mark.parametrize("storage", ["master", "nearest"])
def test_a_step_does_not_depend_on_where_an_element_stands(storage):
    w, g = randn(6, 7), randn(6, 7, seed=1)
    order = torch.randperm(42, generator=torch.Generator().manual_seed(2))
    ends = []
    for shuffle in (lambda x: x, lambda x: x.flatten()[order].view(6, 7)):
        weight, _, groups = quantized("E4M3", shuffle(w))
        optimizer = ManifoldAdamW(groups, lr=0.1, metric_power=0.5, storage=storage)
        for _ in range(3):
            weight.grad = shuffle(g)
            optimizer.step()
        ends.append(weight.detach())
    torch.testing.assert_close(ends[0].flatten()[order].view(6, 7), ends[1], rtol=1e-6, atol=0)


def test_a_reference_format_rounds_by_its_cast():
    w = randn(8, 8)
    weight, scaler, groups = quantized("BF16", w)
    optimizer = ManifoldAdamW(groups, lr=1e-2, weight_decay=0.0, metric_power=0.5, storage="nearest", count=True)
    assert torch.equal(weight, w.bfloat16().float())
    twin = torch.nn.Parameter(weight.detach().clone())
    reference = torch.optim.AdamW([twin], lr=1e-2, weight_decay=0.0, foreach=False)
    assert scaler.scale == 1.0
    for group in optimizer.param_groups:
        group["metric_power"] = 0.0
    weight.grad = twin.grad = randn(8, 8, seed=1)
    optimizer.step()
    reference.step()
    assert torch.equal(weight, twin.bfloat16().float())
    assert optimizer.take_counts()[0][0] > 0
