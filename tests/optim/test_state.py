"""State: a run that is saved and resumed ends with the same bits, and every saved field is needed for that."""

import copy
import io

import pytest
import torch

from altgrad.errors import OptimizerError
from altgrad.numerics.scaling import Scaler
from altgrad.optim.manifold_adamw import ManifoldAdamW
from altgrad.optim.rung_sgd import RungSGD

SHAPES = ((6, 5), (4,))


def adamw(groups, generator):
    return ManifoldAdamW(groups, lr=0.05, metric_power=0.5, storage="stochastic", generator=generator, count=True)


def eco(groups, generator):
    return ManifoldAdamW(groups, lr=0.05, metric_power=0.5, storage="eco", generator=generator, count=True)


def permuted(groups, generator):
    control = {"metric": "permuted", "permutation_seed": 5, "metric_power": 0.5}
    return ManifoldAdamW(groups, lr=0.05, **control, storage="eco", generator=generator, count=True)


def rung(groups, generator):
    return RungSGD(groups, lr=20.0, plain_lr=0.05, generator=generator, count=True)


class Run:
    """Two parameters, one of them quantized, with everything that a resumed run restores."""

    def __init__(self, make, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        start = [torch.randn(shape, generator=generator) for shape in SHAPES]
        self.params = [torch.nn.Parameter(w) for w in start]
        self.scaler = Scaler("E4M3", history=4)
        self.scaler.initialize(start[0])
        self.generator = generator
        quantized = {"params": self.params[:1], "param_names": ["w"], "fmt": "E4M3", "scalers": [self.scaler]}
        plain = {"params": self.params[1:], "param_names": ["b"]}
        self.optimizer = make([quantized, plain], generator)

    def train(self, first: int, last: int) -> None:
        for t in range(first, last):
            for i, p in enumerate(self.params):
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(100 * t + i))
            self.optimizer.step()

    def save(self) -> dict:
        file = io.BytesIO()
        model = [p.detach() for p in self.params]
        torch.save({"w": model, "scaler": self.scaler.state_dict(), "opt": self.optimizer.state_dict()}, file)
        file.seek(0)
        return torch.load(file, weights_only=True)

    def load(self, saved: dict) -> None:
        with torch.no_grad():
            for p, w in zip(self.params, saved["w"], strict=True):
                p.copy_(w)
        self.scaler.load_state_dict(saved["scaler"])
        self.optimizer.load_state_dict(saved["opt"])

    def everything(self) -> list[torch.Tensor]:
        state = [v for s in self.optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
        generator = self.generator.get_state()
        counts = list(self.optimizer.take_counts().values())
        return [*(p.detach() for p in self.params), *state, self.scaler.scale, generator, *counts]


def resumed(make, change=lambda saved: None) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return where 20 steps end without a break, and with one after 10 in which `change` is done to what is saved."""
    straight = Run(make)
    straight.train(0, 20)
    broken = Run(make)
    broken.train(0, 10)
    saved = broken.save()
    change(saved)
    fresh = Run(make, seed=1)
    fresh.load(saved)
    fresh.train(10, 20)
    return straight.everything(), fresh.everything()


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("make", [adamw, eco, permuted, rung])
def test_a_resumed_run_ends_with_the_same_bits(make):
    assert same(*resumed(make))


def _drop(*path):
    def change(saved: dict) -> None:
        at = saved
        for key in path[:-1]:
            at = at[key]
        if isinstance(at[path[-1]], torch.Tensor):
            at[path[-1]] = torch.zeros_like(at[path[-1]])
        else:
            del at[path[-1]]

    return change


def _first_step(saved: dict) -> None:
    saved["opt"]["state"][0]["step"] = 0


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (adamw, lambda saved: saved["opt"].pop("generator")),
        (adamw, _drop("opt", "state", 0, "exp_avg")),
        (adamw, _drop("opt", "state", 0, "exp_avg_sq")),
        (adamw, _drop("opt", "state", 1, "exp_avg")),
        (adamw, _drop("opt", "state", 1, "exp_avg_sq")),
        (adamw, _drop("opt", "state", 1)),
        (adamw, _first_step),
        (adamw, lambda saved: saved["opt"].pop("counts")),
        (adamw, _drop("opt", "counts", 0)),
        (adamw, _drop("w", 0)),
        (adamw, _drop("scaler", "amax_history")),
        (eco, _drop("opt", "state", 0, "exp_avg")),
        (permuted, lambda saved: saved["opt"]["param_groups"][0].update(permutation_seed=6)),
        (rung, _drop("opt", "state", 0, "momentum_buffer")),
        (rung, lambda saved: saved["opt"].pop("generator")),
    ],
)
def test_no_saved_field_is_idle(make, change):
    assert not same(*resumed(make, change))


def test_the_state_holds_no_scaler_and_loading_keeps_the_optimizers_own():
    run = Run(adamw)
    state = run.optimizer.state_dict()
    assert all("scalers" not in group for group in state["param_groups"])
    run.load(run.save())
    assert run.optimizer.param_groups[0]["scalers"] == [run.scaler]
    assert run.optimizer.param_groups[1]["scalers"] is None


def test_the_state_holds_no_permutation():
    run = Run(permuted)
    run.train(0, 2)
    state = run.optimizer.state_dict()
    assert set(state) == {"state", "param_groups", "counts", "sums", "generator"}
    assert all(set(own) == {"step", "exp_avg", "exp_avg_sq"} for own in state["state"].values())
    assert not any(isinstance(value, torch.Tensor) for group in state["param_groups"] for value in group.values())


def test_the_state_does_not_change_with_later_steps():
    run = Run(adamw)
    run.train(0, 2)
    state = run.optimizer.state_dict()
    counts, generator = copy.deepcopy((state["counts"], state["generator"]))
    run.train(2, 4)
    assert torch.equal(state["counts"][0], counts[0])
    assert torch.equal(state["generator"], generator)


def test_settings_are_restored():
    run, other = Run(adamw), Run(adamw)
    run.optimizer.param_groups[0]["lr"] = 0.125
    run.optimizer.param_groups[1]["betas"] = (0.5, 0.75)
    other.load(run.save())
    assert other.optimizer.param_groups[0]["lr"] == 0.125
    assert other.optimizer.param_groups[1]["betas"] == (0.5, 0.75)


def test_a_state_of_another_format_is_refused():
    run = Run(adamw)
    saved = run.save()
    saved["opt"]["param_groups"][0]["fmt"] = "E5M2"
    with pytest.raises(OptimizerError) as error:
        run.load(saved)
    assert str(error.value) == (
        "ManifoldAdamW.load_state_dict: group 0 was saved with the format E5M2, and here has E4M3. "
        "Build the optimizer from the model that the state belongs to."
    )


def test_counts_are_taken_once_and_keyed_by_name():
    run = Run(adamw)
    run.train(0, 3)
    first = run.optimizer.take_counts()
    assert list(first) == ["w"]
    assert first["w"].dtype == torch.int64
    assert first["w"][2] == 3 * 30, "every element had a gradient in 3 steps"
    assert run.optimizer.take_counts()["w"].tolist() == [0] * 9
    run.train(3, 4)
    assert run.optimizer.take_counts()["w"][2] == 30
    assert first["w"][2] == 90, "what was taken does not change"


def test_counts_without_names_are_keyed_by_index_over_all_groups():
    def build() -> tuple[torch.nn.Parameter, ManifoldAdamW]:
        plain, quantized = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2))
        return quantized, ManifoldAdamW([{"params": [plain]}, {"params": [quantized], "fmt": "E4M3"}], count=True)

    weight, optimizer = build()
    weight.grad = torch.ones(2, 2)
    optimizer.step()
    _, other = build()
    other.load_state_dict(optimizer.state_dict())
    for one in (optimizer, other):
        taken = one.take_counts()
        assert list(taken) == [1]
        assert taken[1][2] == 4
