"""Tuning: a cell's trials, trained in one process, and the learning rate that they leave frozen (AUTO-01)."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from altgrad.study.grid import cell_hash, trial_id
from altgrad.study.runs import RunConfig, TuneConfig
from altgrad.study.scores import has_diverged, score
from altgrad.study.tuning import Trial, TuningConfig, choose, next_rungs
from altgrad.training.checkpoint import write_json
from altgrad.training.run import OUTPUTS
from altgrad.training.sweep import noticing_signals, train_next

Record = dict[str, Any]


def tune_cell(config: TuneConfig, corpus_folder: Path, trials: Path, out: Path, say: Callable[[str], None]) -> int:
    """Train a cell's trials until its best learning rate is not at an edge, and write what they found.

    Args:
        config: The cell and the rule.
        corpus_folder: A corpus as `altgrad prepare` writes it.
        trials: The folder of the trials' folders; finished ones are not trained again.
        out: The JSON file to write: the frozen choice and every trial.
        say: Takes messages for the user.

    Returns:
        0, or the exit status of the trial that was interrupted.

    Raises:
        AltGradError: As `train_run`.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    with noticing_signals() as interrupts:
        while rungs := next_rungs(config.tuning, _by_rung(records)):
            for rung in rungs:
                say(f"{config.arm.arm}: learning rate number {len({r['rung'] for r in records}) + 1}")
                for run in _trials(config, rung):
                    status = train_next(run, corpus_folder, trials, say, interrupts)
                    if status:
                        return status
                    records.append({"rung": rung, **_record(trials / run.run_id)})
    result = _result(config, records)
    say(f"{config.arm.arm}: learning rate {result['lr']:g}, the best of {result['lrs']}")
    write_json(out, result)
    return 0


def _trials(config: TuneConfig, rung: int) -> Iterator[RunConfig]:
    """Iterate over the trials of one rung."""
    arm, lr = config.arm, config.tuning.lr(rung, config.arm.update_spec.lr_scale)
    for seed in config.tuning.seeds:
        yield arm.run(trial_id(arm, lr, seed), lr, seed)


def _record(folder: Path) -> Record:
    """Return what the table of trials says of a finished one."""
    summary = json.loads((folder / OUTPUTS[-1]).read_text())
    copied = ("run_id", "lr", "seed", "status", "val_loss", "steps", "tokens", "wall_s", "vocab_size", "update_ulps")
    return {
        **{name: summary[name] for name in (*copied, "config_hash", "corpus_fingerprint")},
        "score": score(summary, str(folder)),
        "diverged": has_diverged(summary),
    }


def _by_rung(records: Sequence[Record]) -> dict[int, Trial]:
    by_rung: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        by_rung[record["rung"]].append(record)
    return {
        rung: Trial(
            score=math.fsum(r["score"] for r in of_rung) / len(of_rung),
            diverged=sum(r["diverged"] for r in of_rung),
            worst=max(r["score"] for r in of_rung),
        )
        for rung, of_rung in by_rung.items()
    }


def _result(config: TuneConfig, records: Sequence[Record]) -> Mapping[str, Any]:
    arm, tuning = config.arm, config.tuning
    trials = _by_rung(records)
    choice = choose(trials, math.log(records[0]["vocab_size"]))

    def lr(rung: int | None) -> float | None:
        return None if rung is None else tuning.lr(rung, arm.update_spec.lr_scale)

    return {
        "arm": arm.arm,
        **{name: getattr(arm, name) for name in ("format", "update", "storage", "layers", "revision")},
        "cell_hash": cell_hash(arm),
        "corpus_fingerprint": records[0]["corpus_fingerprint"],
        "tuning": TuningConfig.model_dump(tuning, mode="json"),
        "lr": lr(choice.rung),
        "lrs": len(trials),
        "lr_at_edge": choice.at_edge,
        "largest_stable_lr": lr(choice.largest_stable),
        "stable_at_edge": choice.stable_at_edge,
        "basin_low_lr": lr(choice.basin[0]),
        "basin_high_lr": lr(choice.basin[1]),
        "basin_octaves": choice.basin_octaves,
        "trials": list(records),
    }
