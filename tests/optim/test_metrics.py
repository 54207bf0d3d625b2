"""The controls of the metric: `smooth` knows no grid, and `permuted` keeps all of G but its link to the weight."""

import pytest
import torch

from altgrad.numerics.scaling import Scaler
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.metric import FLOOR
from altgrad.optim.permutation import permutation

CPU = torch.device("cpu")
CONTROLS = ("smooth", "permuted")
SHAPES = ((6, 5), (3, 700), (600, 500), (6, 5))  # one row of a sheet, three, more than an eager tile


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quantized(weights: list[torch.Tensor], fmt: str = "E4M3", per_row: bool = False) -> dict:
    """A group of weights, with their scalers."""
    params = [torch.nn.Parameter(w.clone()) for w in weights]
    scalers = [Scaler(fmt, "current", per_row=per_row, rows=p.shape[0] if per_row else None) for p in params]
    for scaler, p in zip(scalers, params, strict=True):
        scaler.initialize(p)
    return {"params": params, "fmt": fmt, "scalers": scalers}


def factors(groups: list[dict], **settings) -> list[torch.Tensor]:
    """Return the G of a first step: where every gradient is 1, AdamW's direction is 1, and G is the step over lr."""
    optimizer = ManifoldAdamW(groups, lr=1e-3, weight_decay=0.0, eps=1e-12, **settings)
    params = [p for group in groups for p in group["params"]]
    before = [p.detach().clone() for p in params]
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()
    return [(old - p.detach()) / 1e-3 for old, p in zip(before, params, strict=True)]


@pytest.mark.parametrize("metric", CONTROLS)
def test_with_a_power_of_0_a_control_is_torchs_adamw_bit_for_bit(metric):
    group = quantized([randn(9, 8)])
    (ours,), theirs = group["params"], torch.nn.Parameter(randn(9, 8))
    optimizer = ManifoldAdamW([group], lr=1e-2, weight_decay=0.1, metric=metric)
    reference = torch.optim.AdamW([theirs], lr=1e-2, weight_decay=0.1, foreach=False)
    for t in range(10):
        ours.grad, theirs.grad = randn(9, 8, seed=t), randn(9, 8, seed=t)
        optimizer.step()
        reference.step()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("power", [0.25, 1.0])
@pytest.mark.parametrize("fmt", ["E0M7", "E4M3"])
def test_smooth_is_the_magnitudes_power_over_its_rms_and_knows_no_grid(fmt, power):
    w = randn(50, 60, seed=1)
    (found,) = factors([quantized([w], fmt)], metric="smooth", metric_power=power)
    expected = w.abs() ** power
    expected = (expected / expected.square().mean().sqrt()).clamp(min=FLOOR)
    assert bool((expected == FLOOR).any()) is (power == 1.0)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("power", [0.25, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smooth_measures_weights_of_0_and_tensors_of_zeros(dtype, power):
    zeros, some = torch.zeros(4, 5, dtype=dtype), torch.tensor([[0.0, 2.0, 0.0, 0.0]], dtype=dtype)
    blank, one = factors([quantized([zeros]), quantized([some])], metric="smooth", metric_power=power)
    torch.testing.assert_close(blank, torch.ones_like(zeros), rtol=1e-6, atol=0)
    # The one weight takes the whole root mean square of 4 elements; a step at 2.0 has fewer digits.
    torch.testing.assert_close(one, torch.tensor([[FLOOR, 2.0, FLOOR, FLOOR]], dtype=dtype), rtol=1e-4, atol=0)


@pytest.mark.parametrize("per_row", [False, True])
def test_permuted_gives_each_weight_the_factor_of_one_weight_of_its_own_tensor(per_row):
    shapes = ((6, 50), (30, 50)) if per_row else SHAPES
    # Rows of very different sizes: with scales of their own, their factors differ by the rows.
    weights = [randn(*s, seed=i) * torch.exp2(torch.arange(float(s[0])) % 3)[:, None] for i, s in enumerate(shapes)]
    plain = factors([quantized(weights, per_row=per_row)], metric_power=1.0)
    shuffled = factors([quantized(weights, per_row=per_row)], metric="permuted", metric_power=1.0)
    for index, (own, other) in enumerate(zip(plain, shuffled, strict=True)):
        assert own.std() > 0.1
        order = permutation(own.numel(), 0, index, CPU).long()
        torch.testing.assert_close(other.flatten(), own.flatten()[order], rtol=1e-9, atol=1e-12)


def test_permuted_keeps_a_weights_partner_for_the_whole_run():
    """Whenever one weight is far larger than all others, the same other one makes the longest step."""
    order = permutation(40, 0, 0, CPU).tolist()
    weight = torch.nn.Parameter(torch.ones(1, 40, dtype=torch.float64))
    group = {"params": [weight], "fmt": "E4M3"}
    optimizer = ManifoldAdamW([group], lr=1e-3, weight_decay=0.0, metric="permuted", metric_power=1.0)
    for partner in (3, 17, 3):
        weight.data.fill_(1.0)[0, partner] = 16.0
        before = weight.detach().clone()
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        assert (before - weight.detach()).argmax() == order.index(partner)


def test_a_parameters_permutation_depends_on_its_index_and_the_seed_alone():
    w = randn(6, 5)

    def run(places: int, seed: int, groups: int) -> torch.Tensor:
        """The last of some parameters in one group or in two."""
        ahead = [quantized([w] * (places - 1))] if groups == 2 else []
        last = quantized([w] if groups == 2 else [w] * places)
        return factors([*ahead, last], metric="permuted", metric_power=1.0, permutation_seed=seed)[-1]

    assert torch.equal(run(3, 0, 1), run(3, 0, 2))
    assert not torch.equal(run(3, 0, 1), run(2, 0, 1))
    assert not torch.equal(run(3, 0, 1), run(3, 1, 1))


def test_no_generator_is_drawn_from():
    before = torch.random.get_rng_state()
    factors([quantized([randn(6, 5)])], metric="permuted", metric_power=1.0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 100_003])
def test_a_permutation_has_every_place_once(count):
    found = permutation(count, 5, 2, CPU)
    assert found.dtype == torch.int32
    assert torch.equal(found.sort().values, torch.arange(count, dtype=torch.int32))


def test_permutations_look_drawn():
    """Against what a uniform draw would give, at 5 standard deviations; neighbouring indices share nothing."""
    n = 100_003
    found = [permutation(n, seed, index, CPU).double() for seed, index in ((0, 0), (0, 1), (1, 0))]
    places = torch.arange(float(n), dtype=torch.float64)
    pairs = [(x, places) for x in found] + [(x[1:], x[:-1]) for x in found] + [(found[0], x) for x in found[1:]]
    for a, b in pairs:
        correlation = torch.corrcoef(torch.stack((a, b)))[0, 1]
        assert abs(correlation) < 5 / n**0.5
        assert (a == b).sum() < 8, "one is expected"
