"""A tuned study with everything that reports can say something about, written without training anything."""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from altgrad.analysis.analyse import analyse_study
from altgrad.analysis.tables import Tables
from altgrad.analysis.tabulate import tabulate_study
from altgrad.study.config import StudyConfig
from altgrad.study.grid import study_runs
from altgrad.study.runs import ArmConfig, RunConfig
from altgrad.study.tuned import learning_rates, read_choices
from tests.analysis.fabricate import CORPUS_META, UPDATES, Rates, make_study, write_run
from tests.analysis.tuned import fabricate_tuning, tuned_study

SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]
SPECS: dict[str, dict[str, Any]] = {
    **{name: UPDATES[name] for name in ("adamw", "manifold")},
    "steep": {"optimizer": "manifold_adamw", "metric_power": 1.0, "geometry_aware": True},
    "permuted": {"optimizer": "manifold_adamw", "metric_power": 0.5, "metric": "permuted", "geometry_aware": True},
}
COST = {"BF16": 0.0, "E4M3": 0.2, "E7M0": 0.6}
BENEFIT = {"E4M3": 0.05, "E7M0": 0.3}
PART = {"manifold": 1.0, "steep": -0.5, "permuted": 0.0, "adamw": 0.0}
BIGRAM = 2.9
"""A little above what adamw comes to in the coarsest format."""

LEFT = {"nearest": 1.0, "stochastic": 0.2, "master": 0.0}
"""Which part of a format's benefit an update has, and what of it a storage leaves."""


def plan() -> list[dict[str, Any]]:
    of = {"estimand": "benefit", "update": "manifold", "storage": "nearest"}
    did = {"estimand": "did", "update": "manifold", "storage": "nearest - master", "formats": ["E7M0"]}
    return [
        {"id": "grows", "claim": "It grows.", "test": "rising", "of": {**of, "formats": ["E4M3", "E7M0"]}},
        {"id": "beyond", "claim": "It is beyond masters.", "test": "above", "of": did},
        {"id": "little", "claim": "It is little.", "test": "below", "bound": 0.01, "of": {**of, "formats": ["E7M0"]}},
        {"id": "unseen", "claim": "Unseen.", "test": "within", "of": {**of, "storage": "eco", "formats": ["E7M0"]}},
    ]


def config(folder: Path) -> StudyConfig:
    block = {"formats": ["E4M3", "E7M0"], "layers": ["all"], "seeds": SEEDS, "lrs": [0.01]}
    both = {**block, "updates": ["adamw", "manifold"]}
    study = tuned_study(
        make_study,
        update_specs=SPECS,
        seeds=SEEDS,
        grids=[
            {**both, "storages": ["nearest", "master", "stochastic"]},
            {**block, "updates": ["steep", "permuted"], "storages": ["nearest"]},
            {**both, "storages": ["nearest"], "layers": ["mlp"]},
        ],
        analysis={"min_seeds": 6, "min_steps": 40, "smallest_effect": 0.02},
    )
    (folder / "plan.yaml").write_text(yaml.safe_dump({"hypotheses": plan()}))
    return study.model_copy(update={"hypotheses": str(folder / "plan.yaml")})


def loss(cell: ArmConfig | RunConfig, seed: int) -> float:
    """Return a loss whose benefits are those above, give or take a hundredth of a nat."""
    share = {"all": 1.0, "mlp": 0.5}[cell.layers]
    gain = share * BENEFIT.get(cell.format, 0.0) * PART[cell.update] * LEFT[cell.storage]
    key = f"{cell.format}{cell.update}{cell.storage}{cell.layers}"
    noise = np.random.default_rng([seed, zlib.crc32(key.encode())]).normal(0, 0.01)
    return 2.0 + share * COST[cell.format] - gain + 0.05 * seed + float(noise)


def best(arm: ArmConfig) -> int:
    return 5 if arm.storage == "nearest" else 3


def tuned_tables(folder: Path) -> Tables:
    """Return every table of the study."""
    study = config(folder)
    assert study.tuning is not None

    def trial_loss(arm: ArmConfig, lr: float, seed: int) -> float:
        assert study.tuning is not None
        return loss(arm, seed) + 0.2 * math.log2(lr / study.tuning.lr(best(arm))) ** 2

    fabricate_tuning(study, folder / "tuning", best, trial_loss)
    runs = study_runs(study, learning_rates(read_choices(study, folder / "tuning")))
    folders = [write_run(run, folder / "runs", loss(run, run.seed), rates) for run in runs]
    counted = {"unigram": 3.5, "bigram": BIGRAM}
    frames = tabulate_study(study, folders, tuning=folder / "tuning", corpus_meta=CORPUS_META, counted=counted)
    return Tables.of({**frames, **analyse_study(Tables.of(frames))})


def rates(run: RunConfig, _tensor: str) -> Rates:
    """Return rates by which more stalls on coarse grids, and less of it with an update that helps."""
    still = {"BF16": 0, "E4M3": 300, "E7M0": 800}[run.format] - round(100 * PART[run.update])
    return Rates(flips=1000 - max(still, 0), updates=1000)
