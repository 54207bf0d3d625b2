"""Killed anywhere and started again, a run ends with the same bytes (EXPR-03), and each saved field is needed."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from altgrad.errors import OptimizerError
from altgrad.study.grid import canonical_json
from altgrad.study.runs import RunConfig
from altgrad.telemetry.rank_trend import RankWarning
from altgrad.telemetry.recorder import Recorder
from altgrad.training import clipping, probing
from altgrad.training.loop import Trainer
from altgrad.training.run import train_run
from tests.training.conftest import MakeRun

COMPARED = ("config.json", "telemetry.parquet", "final.safetensors")
"""The files of a run that hold no wall-clock time."""

WALL_CLOCK = ("wall_s", "probe_s", "tokens_per_s", "peak_memory_bytes", "files")
"""What differs in the summaries of equal runs; the hash of `timing.parquet` is among `files`."""


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it to tidy up."""


def silent(message: str) -> None:
    """Say nothing."""


def train(run: RunConfig, corpus: Path, out: Path) -> dict[str, bytes]:
    assert train_run(run, corpus, out, False, silent) == 0
    return produced(out)


def produced(out: Path) -> dict[str, bytes]:
    summary = json.loads((out / "summary.json").read_text())
    kept = {key: value for key, value in summary.items() if key not in WALL_CLOCK}
    return {**{name: (out / name).read_bytes() for name in COMPARED}, "summary": json.dumps(kept).encode()}


def kill_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = Trainer.advance

    def advance(self: Trainer) -> None:
        real(self)
        if self.step == step:
            raise Killed

    monkeypatch.setattr(Trainer, "advance", advance)


def interrupted(run: RunConfig, corpus: Path, out: Path, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, step)
        train_run(run, corpus, out, False, silent)


@pytest.fixture(scope="module")
def reference(
    make_run: MakeRun, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[RunConfig], dict[str, bytes]]:
    known: dict[str, dict[str, bytes]] = {}

    def whole(run: RunConfig) -> dict[str, bytes]:
        key = canonical_json(run)
        if key not in known:
            known[key] = train(run, corpus_folder, tmp_path_factory.mktemp("whole") / run.run_id)
        return known[key]

    return whole


@pytest.mark.parametrize("step", [1, 4, 5, 6, 9, 11])
def test_same_bytes_wherever_it_was_killed(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, reference: Callable[..., dict[str, bytes]], step: int
) -> None:
    run = make_run()
    interrupted(run, corpus_folder, tmp_path / "run", step)
    assert train(run, corpus_folder, tmp_path / "run") == reference(run)


@pytest.mark.parametrize(
    ("update", "storage"), [("adamw", "master"), ("manifold", "nearest"), ("rung", "stochastic"), ("rung", "master")]
)
def test_same_bytes_for_every_optimizer(
    make_run: MakeRun,
    corpus_folder: Path,
    tmp_path: Path,
    reference: Callable[..., dict[str, bytes]],
    update: str,
    storage: str,
) -> None:
    run = make_run(update=update, storage=storage)
    interrupted(run, corpus_folder, tmp_path / "run", 7)
    interrupted(run, corpus_folder, tmp_path / "run", 11)
    assert train(run, corpus_folder, tmp_path / "run") == reference(run)


def test_saved_in_the_middle_of_a_window_and_of_nonfinite_steps(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(training={"early_stop": {"loss": 3, "gradient": 3, "weight": 3}})
    real = Trainer._gradients

    def poisoned(self: Trainer) -> torch.Tensor:
        loss = real(self)
        return loss * math.nan if self.step in (4, 5) else loss

    monkeypatch.setattr(Trainer, "_gradients", poisoned)
    whole = train(run, corpus_folder, tmp_path / "whole")
    interrupted(run, corpus_folder, tmp_path / "run", 5)
    assert train(run, corpus_folder, tmp_path / "run") == whole


FIELDS = (
    "step", "tokens", "shifts", "clipped", "model", "optimizer", "batches", "guard", "counters", "window", "prober",
    "events", "clip", "shift_guard", "rng",
)  # fmt: skip
EVERYTHING_ON = {
    "training": {
        "early_stop": {"loss": 3, "gradient": 3, "weight": 3},
        "checkpoint_every": 7,
        "partition_clip": True,
        "mantissa_shift": {"windows": 2, "stall_ratio": 0.0},  # every window counts
    },
    "telemetry": {"window": 2, "probes": {"rank": 1}},
}


def test_a_run_with_every_intervention_ends_with_the_same_bytes(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path
) -> None:
    run = make_run(**EVERYTHING_ON)
    whole = train(run, corpus_folder, tmp_path / "whole")
    interrupted(run, corpus_folder, tmp_path / "run", 8)
    assert train(run, corpus_folder, tmp_path / "run") == whole
    summary = json.loads(whole["summary"])
    assert summary["status"] == "shifted" and set(summary["shifts"].values()) == {"E1M6"}
    changes = [(event["step"], event["from"], event["to"]) for event in summary["events"] if "to" in event]
    assert set(changes) == {(4, "E4M3", "E3M4"), (8, "E3M4", "E2M5"), (12, "E2M5", "E1M6")}


def test_the_fields_below_are_all_that_is_saved(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    saved: list[set[str]] = []
    with pytest.MonkeyPatch.context() as patch:
        real = Trainer.state_dict

        def spy(self: Trainer) -> dict[str, Any]:
            state = real(self)
            saved.append(set(state))
            return state

        patch.setattr(Trainer, "state_dict", spy)
        train(make_run(**EVERYTHING_ON), corpus_folder, tmp_path / "run")
    assert saved[0] == {*FIELDS, "wall_s", "probe_s"}


@pytest.mark.parametrize("field", FIELDS)
def test_each_saved_field_is_needed(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    run = make_run(**EVERYTHING_ON)
    gradients, restore = Trainer._gradients, Trainer.load_state_dict

    def poisoned(self: Trainer) -> torch.Tensor:
        loss = gradients(self)
        return loss * math.nan if self.step in poison else loss

    def forgetful(self: Trainer, state: dict[str, Any]) -> None:
        restore(self, {**state, field: fresh[field]})

    # Saved is step 7, in the middle of a streak of steps that are not finite, or else of windows that stall.
    poison = () if field in ("shift_guard", "counters", "clip") else (6, 7, 8)
    warning = RankWarning(1.0, 2.0, 0.5, -1.0, -0.5)
    monkeypatch.setattr(probing, "rank_warning", lambda steps, *rest: warning if len(steps) >= 9 else None)
    monkeypatch.setattr(clipping, "partition_limit", lambda g, fmt: g.abs().mean())
    monkeypatch.setattr(Trainer, "_gradients", poisoned)
    whole = train(run, corpus_folder, tmp_path / "whole")
    fresh = first_state(run, corpus_folder, tmp_path / "fresh")
    interrupted(run, corpus_folder, tmp_path / "run", 8)
    monkeypatch.setattr(Trainer, "load_state_dict", forgetful)
    if field in ("shifts", "optimizer"):
        with pytest.raises(OptimizerError, match="was saved with the format"):
            train(run, corpus_folder, tmp_path / "run")
    else:
        assert train(run, corpus_folder, tmp_path / "run") != whole


def test_the_telemetry_so_far_is_needed(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, reference: Callable[..., dict[str, bytes]]
) -> None:
    run = make_run()
    interrupted(run, corpus_folder, tmp_path / "run", 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "restore", lambda self, shards: None)
        assert train(run, corpus_folder, tmp_path / "run") != reference(run)


def first_state(run: RunConfig, corpus: Path, out: Path) -> dict[str, Any]:
    """Return the state of a run that has made no step."""
    states: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        real = Trainer.state_dict

        def spy(self: Trainer) -> dict[str, Any]:
            states.append(real(self))
            raise Killed

        patch.setattr(Trainer, "state_dict", spy)
        train_run(run, corpus, out, False, silent)
    return states[0]


SCRIPT = """
import os, signal, sys
from altgrad.training.loop import Trainer
from altgrad.cli.main import main
step, number = int(os.environ["AT_STEP"]), int(os.environ["SIGNAL"])
real = Trainer.advance
def advance(self):
    real(self)
    if self.step == step:
        os.kill(os.getpid(), number)
Trainer.advance = advance
main()
"""


def command_line(run: RunConfig, corpus: Path, out: Path, step: int, number: int) -> subprocess.CompletedProcess[str]:
    arguments = ["train", "--config", "-", "--corpus", str(corpus), "--out", str(out)]
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        input=canonical_json(run),
        text=True,
        capture_output=True,
        env={**os.environ, "AT_STEP": str(step), "SIGNAL": str(int(number))},
        timeout=120,
    )


def test_real_signals_in_real_processes(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, reference: Callable[..., dict[str, bytes]]
) -> None:
    run, out = make_run(), tmp_path / "run"
    assert command_line(run, corpus_folder, out, 3, signal.SIGTERM).returncode == 128 + signal.SIGTERM
    killed = command_line(run, corpus_folder, out, 8, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    assert "going on from step 3" in killed.stderr
    assert not (out / "summary.json").exists()
    last = command_line(run, corpus_folder, out, -1, signal.SIGKILL)
    assert last.returncode == 0, last.stderr
    assert "going on from step 5" in last.stderr
    assert produced(out) == reference(run)
    assert json.loads((out / "summary.json").read_text())["status"] == "finished"
