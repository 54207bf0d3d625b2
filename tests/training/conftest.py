"""A tiny corpus and tiny runs: seconds, not minutes, with every path of a real one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from altgrad.data.prepare import prepare_corpus
from altgrad.study.config import CorpusConfig, StudyConfig
from altgrad.study.grid import study_runs
from altgrad.study.runs import RunConfig

TINY: dict[str, Any] = {
    "study": "tiny",
    "title": "Tiny",
    "corpus": {"name": "tiny", "source": "synthetic", "tokenizer": "byte", "size_bytes": 120_000},
    "model": {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16, "dropout": 0.1},
    "training": {
        "steps": 12,
        "batch_size": 4,
        "warmup_steps": 2,
        "eval_every": 6,
        "eval_batches": 2,
        "checkpoint_every": 5,
        "device": "cpu",
        "compile": "off",
    },
    "updates": {
        "adamw": {"optimizer": "manifold_adamw", "geometry_aware": False},
        "manifold": {"optimizer": "manifold_adamw", "metric_power": 0.5, "geometry_aware": True},
        "rung": {"optimizer": "rung_sgd", "geometry_aware": True},
    },
    "baseline": {"lrs": [0.003], "seeds": [1]},
    "grids": [{"formats": ["E4M3"], "updates": ["manifold"], "storages": ["stochastic"], "lrs": [0.01], "seeds": [1]}],
    "telemetry": {"window": 4, "wandb": {"mode": "disabled"}},
}

MakeRun = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "tiny"
    prepare_corpus(CorpusConfig.model_validate(TINY["corpus"]), folder)
    return folder


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """Return a maker of runs: keyword arguments are factors of the grid, or whole sections of the config."""

    def make(**changes: Any) -> RunConfig:
        grid = dict(TINY["grids"][0])
        study = {**TINY, "grids": [grid]}
        for key, value in changes.items():
            if key in {"format", "update", "storage", "layer", "lr", "seed"}:
                grid["layers" if key == "layer" else f"{key}s"] = [value]
            else:
                study[key] = {**TINY.get(key, {}), **value}
        return study_runs(StudyConfig.model_validate(study))[-1]

    return make
