"""Throughput measured on the spot: on a clock that the test turns, and once on the real one."""

import math
import subprocess
from typing import Any

import pytest
import torch

from altgrad.errors import DeviceError
from altgrad.study.budget import estimate, kinds_of_cells
from altgrad.study.config import StudyConfig
from altgrad.study.runs import ArmConfig
from altgrad.training.calibration import MAX_SECONDS, MAX_WINDOWS, WINDOW, job_start_s, measure_pace
from altgrad.training.loop import Trainer
from altgrad.training.probing import GROUPS, Prober
from tests.training.conftest import TINY

OFF = {"probes": dict.fromkeys(GROUPS, 0)}


def study(**changes: dict[str, Any]) -> StudyConfig:
    """Return the tiny study with keys of some sections changed: a baseline, and one cell on a grid."""
    return StudyConfig.model_validate({**TINY, **{key: {**TINY.get(key, {}), **changes[key]} for key in changes}})


class Turned:
    """A clock that stands still but for the times that steps and validations are said to take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.steps = 0
        advance, evaluate = Trainer.advance, Trainer.evaluate

        def slow_step(trainer: Trainer) -> None:
            advance(trainer)
            self.steps += 1
            self.now += self.step_s(trainer.step)

        def slow_validation(trainer: Trainer) -> float:
            self.now += 0.5
            return evaluate(trainer)

        monkeypatch.setattr(Trainer, "advance", slow_step)
        monkeypatch.setattr(Trainer, "evaluate", slow_validation)

    def __call__(self) -> float:
        return self.now

    def step_s(self, step: int) -> float:
        """The first compiles, now and then one is slow, and the last of a window writes it."""
        if step == 1:
            return 100.0
        if step % WINDOW == 0:
            return 0.03
        return 0.4 if step % 8 == 0 else 0.01


def measured(config: StudyConfig, clock: Turned, start_s: float = 7.0) -> Any:
    return measure_pace(config, lambda message: None, clock, lambda arm, tokenizer: start_s)


def test_the_median_step_and_its_share_of_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned(monkeypatch)
    config = study(telemetry={**OFF, "window": 10}, training={"eval_batches": 6})
    pace = measured(config, clock)
    assert set(pace.kinds) == set(kinds_of_cells(config)) and len(pace.kinds) == 2
    for kind in pace.kinds.values():
        assert kind.step_s == pytest.approx(0.01 + (0.03 - 0.01) / 10)
        assert kind.validation_s == pytest.approx(0.5 * 6 / 2)  # 2 of 6 batches are timed
    assert pace.job_s == pytest.approx(7.0 - WINDOW * 0.012)
    assert clock.steps == 2 * WINDOW * (1 + MAX_WINDOWS)
    assert "measured on" in pace.source


def test_slow_steps_end_with_the_window_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned(monkeypatch)
    clock.step_s = lambda step: 2 * MAX_SECONDS  # type: ignore[method-assign]
    pace = measured(study(telemetry=OFF), clock)
    assert clock.steps == 2 * 2 * WINDOW
    assert {kind.step_s for kind in pace.kinds.values()} == {2 * MAX_SECONDS}
    assert pace.job_s == 0.0, "a start that is shorter than the steps in it is none"


def test_probes_are_spread_over_a_runs_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned(monkeypatch)
    seconds = {"gradients": 0.0, "weights": 2.0, "updates": 0.0, "rank": 3.0, "hessian": 50.0}
    monkeypatch.setattr(Prober, "take_seconds", lambda prober: seconds)
    every = {**dict.fromkeys(GROUPS, 0), "weights": 5, "rank": 4, "hessian": 4000}  # of 12 steps: 2, 3 and none
    pace = measured(study(telemetry={"probes": every, "window": 10}), clock)
    for kind in pace.kinds.values():
        assert kind.step_s == pytest.approx(0.012 + (2 * 2.0 + 3 * 3.0) / 12)


def test_a_tiny_study_on_the_real_clock() -> None:
    config = study(telemetry={"probes": {**OFF["probes"], "weights": 4}}, budget={"usd_per_hour": 3.0})
    said: list[str] = []
    pace = measure_pace(config, said.append)
    times = [pace.job_s, *(t for kind in pace.kinds.values() for t in (kind.step_s, kind.validation_s))]
    assert all(0 < t < math.inf for t in times)
    assert pace.job_s > max(kind.step_s for kind in pace.kinds.values()), "importing torch takes longer than a step"
    found = estimate(config, pace)
    assert 0 < found.usd(found.total("most")) < math.inf
    assert said[0] == "measuring 1 of 2: reference format" and said[-1] == "measuring the start of a job"


def test_a_start_that_fails_is_not_taken_for_a_time() -> None:
    (arm, *_) = kinds_of_cells(study()).values()
    broken = ArmConfig.model_construct(**{**dict(arm), "model": None})
    with pytest.raises(subprocess.CalledProcessError):
        job_start_s(broken, "byte")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_the_studys_device_must_be_here() -> None:
    with pytest.raises(DeviceError, match=r"training\.device: cuda was asked for"):
        measure_pace(study(training={"device": "cuda"}), lambda message: None)
