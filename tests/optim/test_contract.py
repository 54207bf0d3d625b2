"""What every optimizer promises, a row of the table each."""

import copy

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR
from torch.utils._python_dispatch import TorchDispatchMode

from tests.optim.table import OPTIMIZERS, TARGETS, backward, build

STEPS = 200
rows = pytest.mark.parametrize("row", OPTIMIZERS, ids=lambda row: row.name)
MIXED = TARGETS[-1]


def values(params) -> list[torch.Tensor]:
    return [p.detach().clone() for p in params.values()]


def equal(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@rows
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_it_converges(row, target):
    params, _, optimizer = build(row, target)
    schedule = CosineAnnealingLR(optimizer, T_max=STEPS)
    losses = []
    for _ in range(STEPS):
        losses.append(backward(target, params))
        optimizer.step()
        schedule.step()
    assert sum(losses[-10:]) / 10 < row.remaining * losses[0]


@rows
def test_the_same_seed_gives_the_same_bits(row):
    ends = []
    for _ in range(2):
        params, _, optimizer = build(row, MIXED)
        for _ in range(5):
            backward(MIXED, params)
            optimizer.step()
        ends.append(values(params))
    assert equal(*ends)


@rows
def test_a_zero_learning_rate_moves_nothing(row):
    params, _, optimizer = build(row, MIXED)
    before = values(params)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    backward(MIXED, params)
    optimizer.step()
    assert equal(values(params), before)


@rows
def test_parameters_without_a_gradient_are_left_alone(row):
    params, scalers, optimizer = build(row, MIXED)
    before = values(params)
    optimizer.step()
    assert equal(values(params), before)
    assert not optimizer.state
    assert all(scaler.scale == build(row, MIXED)[1][i].scale for i, scaler in enumerate(scalers))


@rows
def test_a_closure_is_evaluated_with_gradients_and_its_loss_returned(row):
    params, _, optimizer = build(row, MIXED)
    before = values(params)

    def closure() -> torch.Tensor:
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        loss = MIXED.loss(params)
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert loss.item() == pytest.approx(MIXED.loss(dict(zip(params, before, strict=True))).item())
    assert not equal(values(params), before)


@rows
def test_a_scheduled_rate_is_the_rate_that_is_used(row):
    ends = []
    for scheduled in (True, False):
        params, _, optimizer = build(row, MIXED)
        schedule = LambdaLR(optimizer, lambda t: 1.0 / (1 + t))
        rates = [group["lr"] for group in optimizer.param_groups]
        for t in range(4):
            if not scheduled:
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate / (1 + t)
            backward(MIXED, params)
            optimizer.step()
            if scheduled:
                schedule.step()
        ends.append(values(params))
    assert equal(*ends)


@rows
def test_a_deep_copy_goes_on_with_the_same_bits(row):
    params, scalers, optimizer = build(row, MIXED)
    for _ in range(3):
        backward(MIXED, params)
        optimizer.step()
    params_copy, scalers_copy, optimizer_copy = copy.deepcopy((params, scalers, optimizer))
    for one, other in ((params, optimizer), (params_copy, optimizer_copy)):
        for _ in range(3):
            backward(MIXED, one)
            other.step()
    assert equal(values(params), values(params_copy))
    assert all(a.scale == b.scale for a, b in zip(scalers, scalers_copy, strict=True))
    assert optimizer.param_groups[0]["params"][0] is not optimizer_copy.param_groups[0]["params"][0]


@rows
def test_a_non_finite_gradient_shows_in_the_weights(row):
    params, _, optimizer = build(row, MIXED)
    for p in params.values():
        p.grad = torch.zeros_like(p)
        p.grad.flatten()[0] = torch.nan
    optimizer.step()
    for p in params.values():
        assert p.flatten()[0].isnan()


@rows
def test_a_group_can_be_added_later(row):
    params, _, optimizer = build(row, MIXED)
    extra = torch.nn.Parameter(torch.randn(3, 3, generator=torch.Generator().manual_seed(9)))
    before = extra.detach().clone()
    optimizer.add_param_group({"params": [extra], "param_names": ["extra"], "fmt": row.fmt, "count": True})
    extra.grad = torch.ones(3, 3) * 10
    backward(MIXED, params)
    optimizer.step()
    assert not torch.equal(extra, before)
    assert list(optimizer.take_counts()) == (["extra"] if row.fmt else [])


class NoReadBack(TorchDispatchMode):
    """Fails where a tensor's value is read into Python, for which a device would have to be waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "a value was read back"
        return func(*args, **(kwargs or {}))


@rows
@pytest.mark.parametrize("mode", ["current", "delayed"])
def test_a_step_waits_for_no_device(row, mode):
    params, _, optimizer = build(row, MIXED, mode=mode)
    for group in optimizer.param_groups:
        group["count"] = True
        group["lr"] = torch.tensor(group["lr"])
    for _ in range(2):
        backward(MIXED, params)
        with NoReadBack():
            optimizer.step()
            optimizer.take_counts()


def test_a_value_that_is_read_back_would_be_noticed():
    with NoReadBack(), pytest.raises(AssertionError, match="read back"):
        torch.ones(1).addcdiv_(torch.ones(1), torch.ones(1), value=torch.tensor(0.5))
