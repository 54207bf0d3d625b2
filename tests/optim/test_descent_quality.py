"""What a step was meant to do and what it did: previews and the sums behind the effective descent quality."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from altgrad.numerics.rounding import quantize
from altgrad.numerics.scaling import Scaler
from altgrad.optim.counting import SUMS
from altgrad.optim.manifold_adamw import ManifoldAdamW

SHAPES = ((40, 30), (7,), (64, 64))
SETTINGS: dict[str, Any] = {"lr": 0.02, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}


class Pair:
    """Quantized weights under `ManifoldAdamW`, and torch's AdamW, which is shown the same weights before each step."""

    def __init__(self, storage: str, fmt: str = "E3M4", compiled: bool = False) -> None:
        draws = torch.Generator().manual_seed(3)
        self.weights = [torch.randn(shape, generator=draws).requires_grad_() for shape in SHAPES]
        self.scalers = [Scaler(fmt) for _ in SHAPES]
        for w, scaler in zip(self.weights, self.scalers, strict=True):
            scaler.initialize(w)
        group = {"params": self.weights, "fmt": fmt, "scalers": self.scalers}
        generator = torch.Generator().manual_seed(5)
        self.optimizer = ManifoldAdamW(
            [group], **SETTINGS, metric_power=0.0, storage=storage, generator=generator, count=True, compiled=compiled
        )
        self.twins = [w.detach().clone().requires_grad_() for w in self.weights]
        self.reference = torch.optim.AdamW(self.twins, **SETTINGS, foreach=False)
        self._draws = draws

    def step(self) -> tuple[list[Tensor], list[tuple[float, float]]]:
        """Make one step; return the intended updates and (intended_sq, realised_dot) of each weight, by the twin."""
        for w, twin in zip(self.weights, self.twins, strict=True):
            w.grad = torch.randn(w.shape, generator=self._draws)
            twin.grad = w.grad.clone()
            twin.data.copy_(w.data)
        before = [w.detach().clone() for w in self.weights]
        self.reference.step()
        self.optimizer.step()
        intended = [twin.detach() - old for twin, old in zip(self.twins, before, strict=True)]
        sums = []
        for update, old, new, s in zip(intended, before, self.weights, self.scalers, strict=True):
            moved = quantize(new.detach(), s.fmt, s.scale).numpy() - quantize(old, s.fmt, s.scale).numpy()
            wide = update.numpy().astype(np.float64)
            sums.append((float((wide * wide).sum()), float((wide * moved.astype(np.float64)).sum())))
        return intended, sums


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("storage", ["master", "nearest", "stochastic"])
def test_sums_are_those_of_a_twin(storage: str, compiled: bool) -> None:
    pair = Pair(storage, compiled=compiled)
    expected = np.zeros((len(SHAPES), len(SUMS)))
    for _ in range(4):
        expected += np.array(pair.step()[1])
    taken = pair.optimizer.take_sums()
    found = torch.stack([taken[i] for i in range(len(SHAPES))])
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=1e-4)
    assert not any(bool(sums.any()) for sums in pair.optimizer.take_sums().values())


@pytest.mark.parametrize("storage", ["master", "nearest", "stochastic"])
def test_a_preview_is_the_update_that_follows_and_changes_nothing(storage: str) -> None:
    seen, blind = Pair(storage), Pair(storage)
    for _ in range(3):
        for pair in (seen, blind):
            for w in pair.weights:
                w.grad = torch.ones_like(w) * 0.3
        for w, twin in zip(seen.weights, seen.twins, strict=True):
            twin.grad = torch.ones_like(w) * 0.3
            twin.data.copy_(w.data)
        previews = seen.optimizer.preview_updates()
        before = [w.detach().clone() for w in seen.weights]
        seen.reference.step()
        for i, (twin, old) in enumerate(zip(seen.twins, before, strict=True)):
            torch.testing.assert_close(previews[i], twin.detach() - old, rtol=0, atol=0)
        for pair in (seen, blind):
            pair.optimizer.step()
    for one, other in zip(seen.weights, blind.weights, strict=True):
        assert torch.equal(one, other)
    states = [pair.optimizer.state_dict() for pair in (seen, blind)]
    assert torch.equal(states[0]["generator"], states[1]["generator"])
    for index in range(len(SHAPES)):
        for name in ("exp_avg", "exp_avg_sq", "step"):
            one, other = (torch.as_tensor(state["state"][index][name]) for state in states)
            assert torch.equal(one, other), name
    assert all(torch.equal(states[0]["sums"][i], states[1]["sums"][i]) for i in range(len(SHAPES)))


def test_sums_are_saved_and_loaded() -> None:
    pair = Pair("nearest")
    pair.step()
    state = pair.optimizer.state_dict()
    other = Pair("nearest")
    other.optimizer.load_state_dict(state)
    taken = [p.optimizer.take_sums() for p in (pair, other)]
    assert all(torch.equal(taken[0][i], taken[1][i]) and bool(taken[0][i].all()) for i in range(len(SHAPES)))
