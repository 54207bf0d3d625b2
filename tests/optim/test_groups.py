"""param_groups: every trainable parameter once, in the group that fits it."""

import torch
from torch import nn

from altgrad.nn.plan import PrecisionPlan
from altgrad.nn.surgery import named_quantized_weights, quantize_model
from altgrad.numerics.format import FloatFormat
from altgrad.optim.groups import param_groups
from altgrad.optim.manifold_adamw import ManifoldAdamW


def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 3))


def names(groups: list[dict]) -> list[tuple]:
    return [(group["fmt"], group["weight_decay"], group["param_names"]) for group in groups]


def test_a_plain_model_has_matrices_that_decay_and_vectors_that_do_not():
    groups = param_groups(model(), weight_decay=0.2)
    assert names(groups) == [
        (None, 0.2, ["0.weight", "1.weight", "3.weight", "4.weight"]),
        (None, 0.0, ["1.bias", "2.weight", "2.bias", "3.bias", "4.bias"]),
    ]
    assert all(group["scalers"] is None for group in groups)


def test_there_is_one_group_for_each_format():
    quantized = quantize_model(model(), PrecisionPlan({"0": "E4M3", "1": "E5M2", "3": "E4M3", "*": None}))
    groups = param_groups(quantized)
    assert names(groups) == [
        ("E4M3", 0.1, ["0.weight", "3.weight"]),
        ("E5M2", 0.1, ["1.weight"]),
        (None, 0.1, ["4.weight"]),
        (None, 0.0, ["1.bias", "2.weight", "2.bias", "3.bias", "4.bias"]),
    ]
    found = {name: (parameter, scaler) for name, parameter, scaler in named_quantized_weights(quantized)}
    for group in groups[:2]:
        for name, parameter, scaler in zip(group["param_names"], group["params"], group["scalers"], strict=True):
            assert found[name] == (parameter, scaler)


def test_every_parameter_stands_there_once():
    quantized = quantize_model(model(), PrecisionPlan({"1": "E4M3", "*": None}))
    listed = [p for group in param_groups(quantized) for p in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(quantized.parameters())


def test_frozen_parameters_are_left_out():
    quantized = quantize_model(model(), PrecisionPlan({"1": "E4M3", "*": None}))
    for p in (*quantized[1].parameters(), *quantized[2].parameters()):
        p.requires_grad_(False)
    listed = [name for group in param_groups(quantized) for name in group["param_names"]]
    assert listed == ["0.weight", "3.weight", "4.weight", "3.bias", "4.bias"]


def test_a_tied_weight_stands_there_once():
    tied = nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 11, bias=False))
    tied[1].weight = tied[0].weight
    groups = param_groups(quantize_model(tied, PrecisionPlan({"*": "E4M3"})))
    assert names(groups) == [("E4M3", 0.1, ["0.weight"])]


def test_a_format_of_ones_own_needs_no_entry_in_the_catalogue():
    fmt = FloatFormat("Mine", 3, 2)
    quantized = quantize_model(model(), PrecisionPlan({"1": fmt, "*": None}))
    optimizer = ManifoldAdamW(param_groups(quantized), lr=0.1, storage="nearest", count=True)
    assert optimizer.param_groups[0]["fmt"] == "Mine"
    quantized(torch.tensor([1, 2])).square().sum().backward()
    optimizer.step()
    assert optimizer.take_counts()["1.weight"][2] > 0


def test_a_quantized_model_trains_on_its_own_grid():
    """End to end: forward reads the grid, the optimizer stores on it, and the two see the same scale."""
    quantized = quantize_model(model(), PrecisionPlan({"*": "E4M3"}))
    optimizer = ManifoldAdamW(param_groups(quantized), lr=0.05, metric_power=0.5, storage="nearest")
    tokens, wanted = torch.arange(11), torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (quantized(tokens) - wanted).square().mean()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        assert torch.equal(quantized[1].weight, quantized[1].raw_weight), "what is stored is what is read"
    assert losses[-1] < 0.3 * losses[0]
