"""Seeded losses after 50 steps. A refactor leaves them; a change of numerics updates them with its reason."""

import json
from pathlib import Path

import pytest

from altgrad.training.run import train_run
from tests.training.conftest import MakeRun

GOLDEN = Path(__file__).parent.parent / "golden" / "losses.json"
CELLS = [
    ("BF16", "adamw", "master", 0.01),
    ("E4M3", "adamw", "nearest", 0.01),
    ("E5M2", "manifold", "master", 0.01),
    ("E7M0", "manifold", "stochastic", 0.01),
    ("E3M4", "rung", "stochastic", 1e5),
]
TOLERANCE = 1e-3
"""In nats. Other processors add in another order, which moves a few roundings to the grid."""


@pytest.mark.parametrize(("name", "update", "storage", "lr"), CELLS)
def test_losses_are_the_recorded_ones(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, name: str, update: str, storage: str, lr: float
) -> None:
    training = {"steps": 50, "batch_size": 8, "eval_every": 25}
    run = make_run(format=name, update=update, storage=storage, lr=lr, training=training)
    train_run(run, corpus_folder, tmp_path, False, lambda message: None)
    summary = json.loads((tmp_path / "summary.json").read_text())
    expected = json.loads(GOLDEN.read_text())[f"{name}-{update}-{storage}"]
    found = {key: summary[key] for key in ("train_loss", "val_loss")}
    assert found == pytest.approx(expected, abs=TOLERANCE)
