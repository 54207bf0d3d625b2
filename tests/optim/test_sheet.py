"""Sheets are a layout and nothing more: what lies in them can be moved, copied, cast and half stepped."""

import copy

import pytest
import torch

from altgrad.numerics.scaling import Scaler
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.sheet import WIDTH, Sheet

SHAPES = ((6, 5), (3, 700), (4,))


def weights(shapes=SHAPES) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def optimizer_of(params, **settings) -> ManifoldAdamW:
    scalers = [Scaler("E4M3", history=3) for _ in params]
    for scaler, p in zip(scalers, params, strict=True):
        scaler.initialize(p)
    group = {"params": params, "fmt": "E4M3", "scalers": scalers}
    return ManifoldAdamW([group], lr=0.05, metric_power=0.5, storage="nearest", **settings)


def set_gradients(params, seed: int) -> None:
    for i, p in enumerate(params):
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(100 * seed + i))


def train(params, optimizer, first: int, last: int) -> None:
    for t in range(first, last):
        set_gradients(params, t)
        optimizer.step()


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_layout_by_hand():
    params = weights()
    values = [p.detach().clone() for p in params]
    sheet = Sheet(params, None, {}, ("m",), (0, 1, 2))
    assert sheet.starts == [0, 1, 4, 5] and sheet.weights.shape == (5, WIDTH)
    assert sheet.entry_of_row.tolist() == [0, 1, 1, 1, 2]
    assert sheet.columns.flatten().tolist() == [30, 1024, 1024, 52, 4]
    assert sheet.padding.tolist() == [994, 972, 1020]
    assert same(params, values) and all(p.is_contiguous() for p in params)
    flat = sheet.weights.flatten()
    assert torch.equal(flat[:30].view(6, 5), params[0])
    assert torch.equal(flat[1024 : 1024 + 2100].view(3, 700), params[1])
    assert flat.count_nonzero() == 30 + 2100 + 4, "padding is zero"
    params[0].data[0, 0] = 7.0
    assert sheet.weights[0, 0] == 7.0


def test_blocks_are_runs_of_parameters_with_one_step():
    sheet = Sheet(weights(), None, {}, (), (0, 1, 2))
    assert [(b.rows, b.entries, b.step) for b in sheet.blocks([2, 2, 2], False)] == [(slice(0, 5), slice(0, 3), 2)]
    assert [(b.rows, b.entries, b.step) for b in sheet.blocks([2, 0, 1], True)] == [
        (slice(0, 1), slice(0, 1), 2),
        (slice(4, 5), slice(2, 3), 1),
    ]


def test_a_sheet_of_many_parameters_steps_as_each_alone():
    together, alone = weights(), weights()
    optimizers = [optimizer_of([p], count=True) for p in alone]
    joint = optimizer_of(together, count=True)
    train(together, joint, 0, 5)
    for t in range(5):
        set_gradients(alone, t)
        for optimizer in optimizers:
            optimizer.step()
    assert same(together, alone)
    counts = [optimizer.take_counts()[0] for optimizer in optimizers]
    assert same(joint.take_counts().values(), counts)
    assert torch.stack(counts).sum(0)[0] > 0


def test_padding_is_never_counted():
    """An idle weight is one zero update a step; its sheet has a thousand zeros beside it."""
    (p,) = weights([(2, 2)])
    optimizer = optimizer_of([p], count=True)
    p.grad = torch.zeros(2, 2)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    optimizer.step()
    assert optimizer.take_counts()[0].tolist() == [0, 0, 0, 0, 4, 0, 0, 0, 0]


def test_parameters_without_a_gradient_keep_their_step_scale_and_moments():
    params, control = weights(), weights()
    optimizer, reference = optimizer_of(params), optimizer_of(control)
    for t in range(6):
        set_gradients(params, t)
        set_gradients(control, t)
        if t % 2:
            params[1].grad = None
        before = params[1].detach().clone(), optimizer.param_groups[0]["scalers"][1].scale.clone()
        optimizer.step()
        reference.step()
        if t % 2:
            assert torch.equal(params[1], before[0])
            assert optimizer.param_groups[0]["scalers"][1].scale == before[1]
    assert optimizer.state[params[1]]["step"] == 3 and optimizer.state[params[0]]["step"] == 6
    assert same(params[::2], control[::2]), "the others step as if nothing were missing"
    assert not torch.equal(params[1], control[1])


def test_scales_in_eval_mode_stay_beside_those_that_move():
    params = weights()
    optimizer = optimizer_of(params)
    scalers = optimizer.param_groups[0]["scalers"]
    scalers[0].eval()
    before = [scaler.state_dict() for scaler in copy.deepcopy(scalers)]
    for p in params:
        p.data.mul_(64.0)
    train(params, optimizer, 0, 3)
    assert all(torch.equal(before[0][k], v) for k, v in scalers[0].state_dict().items())
    assert scalers[1].scale > before[1]["scale"]


@pytest.mark.parametrize("moved", ["data", "scale", "other optimizer", "deepcopy"])
def test_what_is_moved_elsewhere_is_noticed(moved):
    params, control = weights(), weights()
    optimizer, reference = optimizer_of(params, count=True), optimizer_of(control, count=True)
    train(params, optimizer, 0, 3)
    train(control, reference, 0, 3)
    if moved == "data":
        params[1].data = params[1].data.clone()
    elif moved == "scale":
        scaler = optimizer.param_groups[0]["scalers"][1]
        scaler._apply(lambda buffer: buffer.clone())
    elif moved == "other optimizer":
        ManifoldAdamW(params, lr=0.0, weight_decay=0.0).hold_gradients()
    else:
        params, optimizer = copy.deepcopy((params, optimizer))
    train(params, optimizer, 3, 6)
    train(control, reference, 3, 6)
    assert same(params, control)
    assert same(optimizer.take_counts().values(), reference.take_counts().values())


def test_a_cast_model_goes_on_in_its_new_dtype():
    params = weights()
    optimizer = ManifoldAdamW(params, lr=0.1)
    train(params, optimizer, 0, 2)
    for p in params:
        p.data = p.data.double()
        p.grad = None
    train_double = [torch.ones_like(p) for p in params]
    for p, g in zip(params, train_double, strict=True):
        p.grad = g
    optimizer.step()
    assert all(p.dtype == torch.float64 and p.isfinite().all() for p in params)


def test_held_gradients_are_added_up_in_place():
    params = weights()
    optimizer = optimizer_of(params)
    optimizer.hold_gradients()
    places = [p.grad.data_ptr() for p in params]
    for _ in range(2):
        sum((p * (i + 1)).sum() for i, p in enumerate(params)).backward()
    assert [p.grad.unique().tolist() for p in params] == [[2.0], [4.0], [6.0]]
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    assert [p.grad.data_ptr() for p in params] == places
    assert not any(p.grad.any() for p in params)


def test_a_backward_pass_through_weights_that_a_step_changed_is_refused():
    params = weights()
    optimizer = optimizer_of(params)
    loss = params[0].square().sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("storage", ["nearest", "eco"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_and_row_scales_lie_in_sheets_of_their_own(dtype, storage):
    a, b, c = (
        torch.nn.Parameter(torch.randn(s, generator=torch.Generator().manual_seed(3))) for s in [(3, 8), (5, 8), (4, 6)]
    )
    c.data = c.data.to(dtype)
    scalers = [Scaler("E4M3", per_row=True, rows=p.shape[0]) for p in (a, b, c)]
    for scaler, p in zip(scalers, (a, b, c), strict=True):
        scaler.initialize(p)
    group = {"params": [a, b, c], "fmt": "E4M3", "scalers": scalers}
    optimizer = ManifoldAdamW([group], lr=0.05, metric_power=0.5, storage=storage, count=True)
    train([a, b], optimizer, 0, 2)
    c.grad = torch.ones_like(c)
    optimizer.step()
    sheets = next(iter(optimizer._sheets()))[1]
    assert [(sheet.width, len(sheet.params)) for sheet in sheets] == [(8, 2), (6, 1)]
    assert sheets[0].columns is None, "row scales leave no padding"
    assert [scaler.scale.shape for scaler in scalers] == [(3, 1), (5, 1), (4, 1)]
