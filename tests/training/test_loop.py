"""What one step computes, against torch's own sums."""

import json
from pathlib import Path

import pytest
import torch

from altgrad.data.store import load_corpus
from altgrad.telemetry.live import Live
from altgrad.telemetry.mirror import Mirror
from altgrad.telemetry.recorder import Recorder
from altgrad.training.environment import resolve_environment
from altgrad.training.loop import Trainer
from altgrad.training.progress import Progress
from altgrad.training.run import train_run
from altgrad.training.setup import build, build_model
from tests.training.conftest import MakeRun


def make_trainer(run, corpus_folder: Path, folder: Path) -> Trainer:
    corpus = load_corpus(corpus_folder)
    model = build_model(run, 257)
    environment = resolve_environment(run, 1)
    parts = build(run, model, corpus, "cpu", compiled=False)
    progress = Progress(run.run_id, run.training.steps, 0)
    mirror = Mirror(run, folder, print)
    live = Live(folder / "live.json", run.run_id, run.training.steps)
    return Trainer(run, parts, corpus, environment, Recorder(run.run_id), mirror, live, progress)


def test_accumulated_gradients_are_those_of_one_large_batch(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path
) -> None:
    run = make_run(training={"grad_accumulation": 3}, model={"dropout": 0.0})
    trainer = make_trainer(run, corpus_folder, tmp_path)
    twin = make_trainer(run, corpus_folder, tmp_path)
    loss = trainer._gradients()
    batches = [twin.parts.batches.next() for _ in range(3)]
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    _, whole = twin.parts.model(x, y)
    whole.backward()
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
    for ours, theirs in zip(trainer.parts.model.parameters(), twin.parts.model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-7)
    assert trainer.tokens == 3 * 4 * 16


def test_autocast_computes_in_bf16(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    losses = {}
    for mode in ("bf16", "off"):
        run = make_run(update="adamw", storage="master", training={"autocast": mode})
        train_run(run, corpus_folder, tmp_path / mode, False, lambda message: None)
        losses[mode] = json.loads((tmp_path / mode / "summary.json").read_text())["val_loss"]
    assert losses["bf16"] != losses["off"]
    assert losses["bf16"] == pytest.approx(losses["off"], abs=0.05)


def test_validation_is_the_mean_over_fixed_batches_in_eval_mode(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path
) -> None:
    trainer = make_trainer(make_run(), corpus_folder, tmp_path)  # with dropout, which evaluation must leave out
    scales = {name: buffer.clone() for name, buffer in trainer.parts.model.named_buffers()}
    first, second = trainer.evaluate(), trainer.evaluate()
    model = trainer.parts.model.eval()
    with torch.no_grad():
        by_hand = [float(model(x, y)[1]) for x, y in trainer._eval_batches]
    assert first == second == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-6)
    assert len(by_hand) == 2
    assert all(torch.equal(buffer, scales[name]) for name, buffer in model.named_buffers())
