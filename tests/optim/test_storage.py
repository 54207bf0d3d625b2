"""Landing: what each storage keeps of an intended weight, and when."""

import pytest
import torch

from altgrad.numerics.rounding import quantize
from altgrad.numerics.scaling import Scaler
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.storage import land


def weights(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def grid_of(w: torch.Tensor, fmt: str = "E4M3", **options) -> Scaler:
    scaler = Scaler(fmt, **options)
    scaler.initialize(w)
    return scaler


@pytest.mark.parametrize(("storage", "moves"), [("master", False), ("nearest", True), ("stochastic", True)])
def test_weights_land_on_the_grid_when_their_group_is_added(storage, moves):
    w = weights(16, 16)
    parameter, scaler = torch.nn.Parameter(w.clone()), grid_of(w)
    generator = torch.Generator().manual_seed(0)
    ManifoldAdamW([{"params": [parameter], "fmt": "E4M3", "scalers": [scaler]}], storage=storage, generator=generator)
    on_grid = quantize(w, "E4M3", scaler.scale)
    assert torch.equal(parameter, w) is not moves
    if moves:
        assert torch.equal(quantize(parameter.detach(), "E4M3", scaler.scale), parameter)
    if storage == "nearest":
        assert torch.equal(parameter, on_grid)


def test_a_changed_scale_lands_every_weight_on_the_new_grid():
    # E0M7 at scale 1 holds multiples of 1/128; at scale 2, only every second one.
    parameter = torch.nn.Parameter(torch.tensor([[0.5, 1 / 128, 2 / 128, 3 / 128]]))
    scaler = Scaler("E0M7", mode="current")
    group = {"params": [parameter], "fmt": "E0M7", "scalers": [scaler]}
    optimizer = ManifoldAdamW([group], lr=1.0, weight_decay=0.0, storage="nearest", count=True)
    parameter.grad = torch.tensor([[-1.0, 0.0, 0.0, 0.0]])
    optimizer.step()
    assert scaler.scale == 2.0
    # 1.5 is stored at the new scale; 1/128 and 3/128 are ties there, which go to the even code.
    assert parameter.tolist() == [[1.5, 0.0, 2 / 128, 4 / 128]]
    flips, among_updated, updates, stall, zero_update, rescale_moves, lost, overflow, underflow = (
        optimizer.take_counts()[0].tolist()
    )
    assert (flips, among_updated, updates, stall) == (1, 1, 1, 0)
    assert (zero_update, rescale_moves, lost, overflow, underflow) == (1, 2, 0, 0, 1)


def test_delayed_scaling_clips_before_it_follows():
    parameter = torch.nn.Parameter(torch.tensor([[0.5, 0.25]]))
    scaler = grid_of(parameter, "E0M7")
    assert scaler.scale == 1.0
    group = {"params": [parameter], "fmt": "E0M7", "scalers": [scaler]}
    optimizer = ManifoldAdamW([group], lr=1.0, weight_decay=0.0, storage="nearest", count=True)
    parameter.grad = torch.tensor([[-1.0, 0.0]])
    optimizer.step()
    assert scaler.scale == 1.0
    assert parameter[0, 0] == 127 / 128, "1.5 saturates at the scale that earlier steps set"
    assert optimizer.take_counts()[0].tolist()[-2] == 1
    parameter.grad = torch.zeros(1, 2)
    optimizer.step()
    assert scaler.scale == 2.0


@pytest.mark.parametrize("fmt", ["E4M3", "E7M0", "E0M7", "E5M2"])
def test_stochastic_landing_is_unbiased(fmt):
    scaler = grid_of(weights(1000), fmt)
    u = weights(50).repeat(4000, 1)
    generator = torch.Generator().manual_seed(1)
    landed = land(u, scaler.fmt, scaler.scale, "stochastic", generator)
    mean, spread = landed.double().mean(0), landed.double().std(0)
    # 50 means of 4000: beyond 4.5 sigma one run in 3000 would fail, and the seed is fixed. The lattice adds 2^-17 of
    # a gap, and the gap is at most 2 |u|.
    allowed = 4.5 * spread / 4000**0.5 + 2.0**-16 * u[0].abs()
    inside = u[0].abs() <= scaler.scale * scaler.fmt.max
    assert ((mean - u[0]).abs() <= allowed)[inside].all()


def test_nearest_landing_is_biased_where_stochastic_is_not():
    """The control of the test above: it can tell the two apart."""
    u = torch.full((4000,), 1.03)
    grid = (Scaler("E4M3").fmt, torch.tensor(1.0))
    assert (land(u, *grid, "nearest", None) == 1.0).all()
    mean = land(u, *grid, "stochastic", torch.Generator().manual_seed(0)).mean()
    assert abs(mean - 1.03) < 0.01


def test_per_row_scales_land_each_row_on_its_own_grid():
    w = weights(4, 64) * torch.tensor([[1.0], [8.0], [64.0], [0.125]])
    parameter, scaler = torch.nn.Parameter(w.clone()), grid_of(w, "E0M7", per_row=True, rows=4)
    group = {"params": [parameter], "fmt": "E0M7", "scalers": [scaler]}
    optimizer = ManifoldAdamW([group], lr=0.1, metric_power=0.5, storage="nearest", count=True)
    for row in range(4):
        assert torch.equal(parameter[row], quantize(w[row], "E0M7", scaler.scale[row, 0]))
    parameter.grad = weights(4, 64)
    optimizer.step()
    units = parameter.detach() / scaler.scale * 128
    assert torch.equal(units, units.round())
    assert optimizer.take_counts()[0][0] > 0
