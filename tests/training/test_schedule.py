import pytest
import torch

from altgrad.study.sections import TrainingConfig
from altgrad.training.schedule import lr_factor


def config(steps: int, warmup: int, final: float) -> TrainingConfig:
    return TrainingConfig(steps=steps, batch_size=1, warmup_steps=warmup, final_lr_fraction=final)


@pytest.mark.parametrize(("steps", "final"), [(20, 0.1), (7, 0.0), (300, 0.5)])
def test_cosine_is_torchs(steps: int, final: float) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps - 1, eta_min=final)
    for step in range(steps):
        assert lr_factor(step, config(steps, 0, final)) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_warmup_rises_in_equal_steps_to_the_peak() -> None:
    factors = [lr_factor(step, config(100, 4, 0.1)) for step in range(5)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_one_step_after_the_warmup() -> None:
    assert lr_factor(4, config(5, 4, 0.25)) == pytest.approx(1.0)
