"""A tuned study: what `altgrad tune` would leave behind, written without training anything."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from altgrad.analysis.analyse import analyse_study
from altgrad.analysis.tables import Tables
from altgrad.analysis.tabulate import tabulate_study
from altgrad.schema import DIAGNOSTICS
from altgrad.study.config import StudyConfig
from altgrad.study.grid import cell_hash, study_runs, trial_id
from altgrad.study.runs import ArmConfig
from altgrad.study.tuned import learning_rates, read_choices, tuned_arms
from tests.analysis.fabricate import CORPUS_META, VOCAB, Loss, Rates, _diagnostics, _write, write_run

TrialLoss = Callable[[ArmConfig, float, int], float | None]
RULE: dict[str, Any] = {"lowest_lr": 1e-2, "start": 5, "max_lrs": 9, "seeds": [101, 102, 103]}


def tuned_study(make: Callable[..., StudyConfig], **changes: Any) -> StudyConfig:
    """Return a study of `make` whose cells are all tuned."""
    study = make(**changes).model_dump(mode="json", exclude_unset=True)
    for block in (study["baseline"], *study["grids"]):
        del block["lrs"]
    return StudyConfig.model_validate({**study, "tuning": RULE})


def fabricate_tuning(study: StudyConfig, folder: Path, best: Callable[[ArmConfig], int], loss: TrialLoss) -> None:
    """Write the tuning of every cell: seven rungs around its best.

    Args:
        study: The study.
        folder: Where to write `<arm>.json`.
        best: A cell's best rung.
        loss: A trial's validation loss in nats; None is a diverged one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for arm in tuned_arms(study):
        (folder / f"{arm.arm}.json").write_text(json.dumps(_result(study, arm, best(arm), loss)))


def _result(study: StudyConfig, arm: ArmConfig, best: int, loss: TrialLoss) -> dict[str, Any]:
    assert study.tuning is not None
    rates = {rung: study.tuning.lr(rung, arm.update_spec.lr_scale) for rung in range(best - 3, best + 4)}
    pairs = itertools.product(rates.items(), study.tuning.seeds)
    trials = [_trial(arm, rung, lr, seed, loss(arm, lr, seed)) for (rung, lr), seed in pairs]
    return {
        "arm": arm.arm,
        **{name: getattr(arm, name) for name in ("format", "update", "storage", "layers", "revision")},
        "cell_hash": cell_hash(arm),
        "corpus_fingerprint": CORPUS_META["fingerprint"],
        "tuning": study.tuning.model_dump(mode="json"),
        "lr": rates[best],
        "lrs": len(rates),
        "lr_at_edge": False,
        "largest_stable_lr": rates[best + 2],
        "stable_at_edge": False,
        "basin_low_lr": rates[best - 1],
        "basin_high_lr": rates[best + 1],
        "basin_octaves": 1.0,
        "trials": trials,
    }


def _trial(arm: ArmConfig, rung: int, lr: float, seed: int, loss: float | None) -> dict[str, Any]:
    return {
        "run_id": trial_id(arm, lr, seed),
        "rung": rung,
        "lr": lr,
        "seed": seed,
        "status": "diverged" if loss is None else "finished",
        "val_loss": loss,
        "score": math.log(VOCAB) if loss is None else loss,
        "diverged": loss is None,
        "steps": 40,
        "tokens": 1280,
        "wall_s": 1.5,
        "update_ulps": 100 * lr,
        "vocab_size": VOCAB,
        "config_hash": "0" * 64,
        "corpus_fingerprint": CORPUS_META["fingerprint"],
    }


def tuned_tables(
    study: StudyConfig, folder: Path, best: Callable[[ArmConfig], int], trial_loss: TrialLoss, loss: Loss
) -> Tables:
    """Return every table of a tuned study whose runs have given losses."""
    fabricate_tuning(study, folder / "tuning", best, trial_loss)
    folders = []
    for run in study_runs(study, learning_rates(read_choices(study, folder / "tuning"))):
        folders.append(write_run(run, folder / "runs", loss(run), lambda _run, _tensor: Rates()))
        _write(folder / "diagnostics" / f"{run.run_id}.parquet", DIAGNOSTICS, list(_diagnostics(run)))
    frames = tabulate_study(
        study, folders, tuning=folder / "tuning", diagnostics=folder / "diagnostics", corpus_meta=CORPUS_META
    )
    return Tables.of({**frames, **analyse_study(Tables.of(frames))})
