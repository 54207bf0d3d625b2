"""RungSGD: moves on the number line, held to their length, unbiased, and AdamW for the rest."""

import pytest
import torch

from altgrad.numerics.codec import from_rung, to_rung
from altgrad.numerics.geometry import rung_position, ulp
from altgrad.numerics.scaling import Scaler
from altgrad.optim.rung_sgd import RungSGD


def one_group(fmt: str, rungs: torch.Tensor) -> tuple[torch.nn.Parameter, list[dict]]:
    """A weight that stands on the given rungs, at scale 1."""
    parameter = torch.nn.Parameter(from_rung(rungs, fmt))
    return parameter, [{"params": [parameter], "fmt": fmt}]


@pytest.mark.parametrize("fmt", ["E7M0", "E4M3", "E0M7", "E5M2"])
@pytest.mark.parametrize("clip", [0.5, 1.0, 3.0])
def test_no_move_is_longer_than_max_rungs(fmt, clip):
    rungs = torch.arange(-100, 101, dtype=torch.int32).view(3, 67)
    for sign in (1.0, -1.0):
        parameter, groups = one_group(fmt, rungs)
        optimizer = RungSGD(groups, lr=1e30, max_rungs=clip, storage="master")
        parameter.grad = torch.full((3, 67), sign)
        optimizer.step()
        moves = rung_position(parameter.detach(), fmt) - rungs
        torch.testing.assert_close(moves, torch.full((3, 67), -sign * clip), rtol=0, atol=1e-4)


@pytest.mark.parametrize("fmt", ["E7M0", "E4M3", "E0M7"])
def test_a_whole_clip_moves_whole_rungs_on_the_grid(fmt):
    rungs = torch.arange(-100, 101, dtype=torch.int32).view(3, 67)
    parameter, groups = one_group(fmt, rungs)
    optimizer = RungSGD(groups, lr=1e30, max_rungs=2.0, generator=torch.Generator().manual_seed(0))
    parameter.grad = torch.ones(3, 67)
    optimizer.step()
    assert torch.equal(to_rung(parameter.detach(), fmt), rungs - 2)


def test_moves_stop_at_the_formats_ends():
    parameter, groups = one_group("E4M3", torch.tensor([[125, 126, -126]], dtype=torch.int32))
    optimizer = RungSGD(groups, lr=1e30, max_rungs=1.0, generator=torch.Generator().manual_seed(0))
    parameter.grad = torch.tensor([[-1.0, -1.0, 1.0]])
    optimizer.step()
    assert to_rung(parameter.detach(), "E4M3").tolist() == [[126, 126, -126]]


@pytest.mark.parametrize("share", [0.03, 0.25, 0.5, 0.9])
def test_stochastic_moves_are_unbiased_in_rungs(share):
    count = 20000
    start = torch.tensor([0, 1, 5, 60, 100, -60], dtype=torch.int32)
    parameter, groups = one_group("E4M3", start.repeat(count, 1))
    weight = parameter.detach().clone()
    optimizer = RungSGD(groups, lr=1.0, generator=torch.Generator().manual_seed(0))
    parameter.grad = share / ulp(weight, "E4M3")
    optimizer.step()
    moved = (start - to_rung(parameter.detach(), "E4M3")).double()
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    sigma = (share * (1 - share) / count) ** 0.5
    assert ((moved.mean(0) - share).abs() < 4.5 * sigma + 2.0**-17).all()


def test_the_gradient_is_taken_in_rungs_and_remembered():
    parameter, groups = one_group("E4M3", torch.tensor([[8, 56, 100]], dtype=torch.int32))
    spacing = ulp(parameter.detach(), "E4M3")
    optimizer = RungSGD(groups, lr=1.0, momentum=0.5, storage="master")
    parameter.grad = torch.full((1, 3), 0.01)
    optimizer.step()
    torch.testing.assert_close(optimizer.state[parameter]["momentum_buffer"], 0.01 * spacing)
    parameter.grad = torch.zeros(1, 3)
    optimizer.step()
    torch.testing.assert_close(optimizer.state[parameter]["momentum_buffer"], 0.005 * spacing)


def test_masters_that_do_not_move_keep_their_bits():
    w = torch.randn(50, 50, generator=torch.Generator().manual_seed(0))
    parameter, scaler = torch.nn.Parameter(w.clone()), Scaler("E4M3")
    scaler.initialize(w)
    optimizer = RungSGD([{"params": [parameter], "fmt": "E4M3", "scalers": [scaler]}], lr=1.0, storage="master")
    parameter.grad = torch.zeros(50, 50)
    optimizer.step()
    assert torch.equal(parameter, w)


def test_plain_groups_are_adamw_with_their_own_rate():
    w, g = (torch.randn(5, generator=torch.Generator().manual_seed(seed)) for seed in range(2))
    default, own, theirs = (torch.nn.Parameter(w.clone()) for _ in range(3))
    groups = [{"params": [default]}, {"params": [own], "lr": 0.5}]
    optimizer = RungSGD(groups, lr=1e4, plain_lr=0.25, weight_decay=0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.5]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.1]
    reference = torch.optim.AdamW([theirs], lr=0.5, weight_decay=0.1, foreach=False)
    for p in (default, own, theirs):
        p.grad = g.clone()
    optimizer.step()
    reference.step()
    assert torch.equal(own, theirs)
    assert not torch.equal(default, theirs)


def test_rung_groups_have_no_weight_decay_and_say_so():
    _, groups = one_group("E4M3", torch.ones(1, 1, dtype=torch.int32))
    groups[0]["weight_decay"] = 0.1
    assert RungSGD(groups, lr=1.0, storage="master").param_groups[0]["weight_decay"] == 0.0


def test_a_quantized_group_may_take_adamw_instead():
    w = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    ours, theirs = torch.nn.Parameter(w.clone()), torch.nn.Parameter(w.clone())
    groups = [{"params": [ours], "fmt": "BF16", "direction": "adamw", "storage": "master", "lr": 0.1}]
    optimizer = RungSGD(groups, lr=1e4)
    reference = torch.optim.AdamW([theirs], lr=0.1, foreach=False)
    for p in (ours, theirs):
        p.grad = w.clone()
    optimizer.step()
    reference.step()
    assert torch.equal(ours, theirs)
