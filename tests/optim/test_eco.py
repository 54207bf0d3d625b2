"""Storage `eco`: the rounding error goes to the momentum, all of it comes back, and nothing else does."""

import pytest
import torch

from altgrad.numerics.rounding import quantize
from altgrad.numerics.scaling import Scaler
from altgrad.optim.direction import adamw
from altgrad.optim.manifold_adamw import ManifoldAdamW

BETAS, EPS = (0.8, 0.9), 1e-6
SETTINGS = {"lr": 0.02, "betas": BETAS, "eps": EPS, "weight_decay": 0.1}


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def one(w: torch.Tensor, fmt: str = "E4M3", mode: str = "current", **settings):
    """A weight with its scaler and optimizer."""
    weight, scaler = torch.nn.Parameter(w.clone()), Scaler(fmt, mode=mode)
    scaler.initialize(w)
    group = {"params": [weight], "fmt": fmt, "scalers": [scaler]}
    return weight, scaler, ManifoldAdamW([group], **{"storage": "eco", **SETTINGS, **settings})


def step(optimizer, weight: torch.Tensor, g: torch.Tensor) -> None:
    weight.grad = g.clone()
    optimizer.step()


@pytest.mark.parametrize("metric", [None, torch.tensor([[0.05, 0.7, 3.0]], dtype=torch.float64)])
@pytest.mark.parametrize("first", [1, 7])
def test_later_steps_give_the_whole_error_back(first, metric):
    """Summed over the steps that follow at the same rate, the momentum's share of them is the error."""
    error = torch.tensor([[0.03, -0.002, 1e-5]], dtype=torch.float64)
    v = torch.tensor([[0.25, 1e-4, 4.0]], dtype=torch.float64)
    momentum, lr = torch.zeros_like(error), SETTINGS["lr"]
    assert adamw.feedback is not None
    adamw.feedback.keep(error, (momentum, v), metric, adamw.feedback.scalars(SETTINGS, first))
    moved = torch.zeros_like(error)
    for _ in range(400):
        momentum *= BETAS[0]
        m_hat, v_hat = momentum / (1 - BETAS[0] ** first), v / (1 - BETAS[1] ** first)
        moved -= lr * (1.0 if metric is None else metric) * m_hat / (v_hat.sqrt() + EPS)
    torch.testing.assert_close(moved, error, rtol=1e-12, atol=0)


def loss_after(storage: str, power: float, metric: str) -> tuple[float, float]:
    """Return the first and the last loss of a noisy parabola, on the weights that the grid shows."""
    draws, target = torch.Generator().manual_seed(0), randn(30, 40, seed=1)
    settings = {"lr": 2e-3, "betas": (0.9, 0.999), "weight_decay": 0.0, "metric_power": power, "metric": metric}
    weight, scaler, optimizer = one(randn(30, 40), storage=storage, **settings)
    losses = []
    for _ in range(1000):
        off = quantize(weight.detach(), "E4M3", scaler.scale) - target
        losses.append(off.square().mean().item())
        step(optimizer, weight, off + 0.1 * torch.randn(30, 40, generator=draws))
    return losses[0], losses[-1]


@pytest.mark.parametrize(("power", "metric"), [(0.0, "ulp"), (0.5, "ulp"), (0.5, "smooth"), (0.5, "permuted")])
def test_it_keeps_up_with_masters_where_rounding_to_nearest_stalls(power, metric):
    start, master = loss_after("master", power, metric)
    assert master < 0.25 * start
    assert loss_after("nearest", power, metric)[1] > 0.95 * start
    assert loss_after("eco", power, metric)[1] < master + 0.1 * start


@pytest.mark.parametrize("as_tensor", [False, True])
def test_at_a_rate_of_0_nothing_is_fed_back(as_tensor):
    """The scale doubles in the second step, so that there is an error without a rate."""
    weight, scaler, optimizer = one(
        torch.tensor([[0.5, 1 / 128, 2 / 128, 3 / 128]]), "E0M7", "delayed", lr=1.0, weight_decay=0.0
    )
    step(optimizer, weight, torch.tensor([[-1.0, 0.0, 0.0, 0.0]]))
    before = optimizer.state[weight]["exp_avg"].clone()
    optimizer.param_groups[0]["lr"] = torch.tensor(0.0) if as_tensor else 0.0
    g = randn(1, 4)
    step(optimizer, weight, g)
    assert scaler.scale == 2.0 and weight[0, 1] == 0.0, "1/128 is not on the grid any more"
    torch.testing.assert_close(optimizer.state[weight]["exp_avg"], BETAS[0] * before + (1 - BETAS[0]) * g)


@pytest.mark.parametrize("mode", ["none", "delayed"])
def test_what_the_format_cannot_hold_is_not_fed_back(mode):
    """E0M7 at scale 1 ends at 127/128. The second element is rounded inside the range, as a control."""
    weight, scaler, optimizer = one(torch.tensor([[127 / 128, 0.5]]), "E0M7", mode, weight_decay=0.0)
    scaler.eval()
    momentum = torch.zeros(2)
    for t in range(40):
        step(optimizer, weight, torch.full((1, 2), -1.0))
        momentum = BETAS[0] * momentum - (1 - BETAS[0])
        found = optimizer.state[weight]["exp_avg"][0]
        torch.testing.assert_close(found[0], momentum[0])
        assert weight[0, 0] == 127 / 128
        assert t > 0 or found[1] != momentum[1]


def test_scales_in_eval_mode_are_the_grid_that_errors_are_taken_from():
    w = randn(8, 9).clamp(-0.9, 0.9)
    ends = []
    for mode in ("none", "current", "delayed"):
        weight, scaler, optimizer = one(w, "E0M7", mode, lr=0.2)
        assert scaler.scale == 1.0
        scaler.eval()
        for t in range(10):
            step(optimizer, weight, randn(8, 9, seed=t))
        assert weight.abs().max() == 127 / 128, "a scale that followed would be larger"
        ends.append((weight.detach(), optimizer.state[weight]["exp_avg"]))
    for end in ends[1:]:
        assert all(torch.equal(a, b) for a, b in zip(end, ends[0], strict=True))


@pytest.mark.parametrize("mode", ["current", "delayed"])
@pytest.mark.parametrize("metric", ["ulp", "smooth", "permuted"])
def test_parameters_at_other_steps_do_not_see_one_another(mode, metric):
    """The second has no gradient at first; then the two are stepped apart, with memory that they share."""
    shapes, ends = [(6, 5), (3, 700)], []
    for together in (True, False):
        params = [torch.nn.Parameter(randn(*shape, seed=i)) for i, shape in enumerate(shapes)]
        scalers = [Scaler("E4M3", mode) for _ in params]
        for p, scaler in zip(params, scalers, strict=True):
            scaler.initialize(p)
        groups = [{"params": [p], "fmt": "E4M3", "scalers": [s]} for p, s in zip(params, scalers, strict=True)]
        if together:
            groups = [{"params": params, "fmt": "E4M3", "scalers": scalers}]
        optimizer = ManifoldAdamW(groups, storage="eco", metric_power=0.5, metric=metric, **SETTINGS)
        for t in range(6):
            for i, p in enumerate(params[: 1 if t < 2 else 2]):
                p.grad = randn(*p.shape, seed=10 * t + i)
            optimizer.step()
            assert params[1] in optimizer.state or t < 2
        ends.append([*(p.detach() for p in params), *(optimizer.state[p]["exp_avg"] for p in params)])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_a_reference_format_is_fed_back_what_its_cast_loses():
    """A loop in float64 beside it: AdamW, torch's cast to BF16, and the error to the momentum."""
    w = randn(8, 9, dtype=torch.float64)
    weight, _, optimizer = one(w, "BF16")
    w = w.float().bfloat16().double()
    m, v, (beta1, beta2), lr = torch.zeros_like(w), torch.zeros_like(w), BETAS, SETTINGS["lr"]
    for t in range(1, 21):
        g = randn(8, 9, seed=t, dtype=torch.float64)
        step(optimizer, weight, g)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        denominator = (v / (1 - beta2**t)).sqrt() + EPS
        u = w * (1 - lr * SETTINGS["weight_decay"]) - lr * m / (1 - beta1**t) / denominator
        w = u.float().bfloat16().double()
        m += (1 - beta1**t) / lr * (1 - 1 / beta1) * denominator * (u - w)
        assert torch.equal(weight, w)
    torch.testing.assert_close(optimizer.state[weight]["exp_avg"], m, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["current", "delayed"])
def test_a_preview_is_the_update_that_follows_and_changes_nothing(mode):
    seen, blind = (one(randn(8, 9), mode=mode, metric_power=0.5, count=True) for _ in range(2))
    for t in range(4):
        for weight, _, _ in (seen, blind):
            weight.grad = randn(8, 9, seed=t)
        preview = seen[2].preview_updates()[0]
        for _, _, optimizer in (seen, blind):
            optimizer.step()
        intended = seen[2].take_sums()[0][0]
        torch.testing.assert_close(preview.double().square().sum(), intended, rtol=1e-5, atol=0)
    assert torch.equal(seen[0], blind[0])
    assert torch.equal(*(optimizer.state[weight]["exp_avg"] for weight, _, optimizer in (seen, blind)))
