"""Tiny runs of `altgrad train`, on a corpus that needs no network: for what grows with steps, and for start-up."""

import sys
import time
from pathlib import Path
from typing import Any

from altgrad.data.prepare import prepare_corpus
from altgrad.study.config import CorpusConfig, StudyConfig
from altgrad.study.grid import study_runs
from altgrad.study.runs import RunConfig
from benchmarks.probe import call
from benchmarks.setting import Setting

_CORPUS = {"name": "tiny", "source": "synthetic", "tokenizer": "byte", "size_bytes": 200_000}
_STUDY: dict[str, Any] = {
    "study": "tiny",
    "title": "Tiny",
    "corpus": _CORPUS,
    "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16},
    "updates": {
        "adamw": {"optimizer": "manifold_adamw", "geometry_aware": False},
        "manifold": {"optimizer": "manifold_adamw", "metric_power": 0.5, "geometry_aware": True},
    },
    "baseline": {"lrs": [0.003], "seeds": [1]},
    "grids": [{"formats": ["E4M3"], "updates": ["manifold"], "storages": ["nearest"], "lrs": [0.003], "seeds": [1]}],
}
WINDOW = 10
"""Steps of a window of telemetry."""


def make_corpus(folder: Path) -> Path:
    """Prepare the corpus and return its folder."""
    corpus = folder / "corpus"
    prepare_corpus(CorpusConfig.model_validate(_CORPUS), corpus)
    return corpus


def make_run(steps: int, setting: Setting) -> RunConfig:
    """Return a quantized, eager run of that many steps, on one thread; it is evaluated and saved only at its end."""
    training = {
        "steps": steps,
        "batch_size": 4,
        "warmup_steps": 0,
        "eval_every": steps,
        "eval_batches": 2,
        "checkpoint_every": steps,
        "device": setting.device,
        "compile": "off",
    }
    telemetry = {"window": WINDOW, "wandb": {"mode": "disabled"}}
    return study_runs(StudyConfig.model_validate({**_STUDY, "training": training, "telemetry": telemetry}))[-1]


def train(steps: int, setting: Setting, corpus: Path, out: Path) -> float:
    """Train a run by the command, in a process of its own; return the seconds from its start to its end."""
    config = out.with_suffix(".json")
    config.write_text(make_run(steps, setting).model_dump_json())
    words = ["train", "--config", config, "--corpus", corpus, "--out", out]
    command = [sys.executable, "-m", "altgrad.cli.main", *map(str, words)]
    started = time.perf_counter()
    call(command)
    return time.perf_counter() - started
