"""A run's summary: what it was, how it ended, and on what."""

import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from altgrad.data.store import Corpus
from altgrad.study.grid import config_hash
from altgrad.training.environment import Environment, git_revision, peak_memory_bytes, versions
from altgrad.training.evaluation import perplexity
from altgrad.training.loop import Trainer


def summarize(trainer: Trainer, corpus: Corpus, environment: Environment) -> dict[str, Any]:
    """Return the content of `summary.json`; numbers that are not finite are None.

    Args:
        trainer: The trainer at its run's end.
        corpus: What it trained on.
        environment: Where it computed.
    """
    run = trainer.run
    val_loss = math.nan if trainer.diverged else trainer.val_loss
    numbers = {
        "val_loss": val_loss,
        "val_perplexity": perplexity(val_loss),
        "train_loss": trainer.train_loss,
        "tokens_per_s": trainer.tokens / trainer.wall_s if trainer.wall_s else math.nan,
        "wall_s": trainer.wall_s,
        "probe_s": trainer.probe_s,
    }
    return {
        "run_id": run.run_id,
        "status": "diverged" if trainer.diverged else "shifted" if trainer.shifts else "finished",
        "study": run.study,
        "role": run.role,
        "format": run.format,
        "update": run.update,
        "storage": run.storage,
        "layers": run.layers,
        "lr": run.lr,
        "seed": run.seed,
        "steps": trainer.step,
        "steps_planned": run.training.steps,
        "tokens": trainer.tokens,
        **{key: value if math.isfinite(value) else None for key, value in numbers.items()},
        "vocab_size": int(corpus.meta["tokenizer"]["vocab_size"]),
        "parameters": sum(p.numel() for p in trainer.parts.model.parameters()),
        "peak_memory_bytes": peak_memory_bytes(environment.device),
        "device": environment.device,
        "device_name": environment.device_name,
        "threads": environment.threads,
        "compiled": environment.compiled,
        "versions": versions(),
        "git_revision": git_revision(),
        "config_hash": config_hash(run),
        "corpus_fingerprint": corpus.fingerprint,
        "revision": run.revision,
        "events": trainer.events,
        "shifts": trainer.shifts,
        "clipped": trainer.clipped,
    }


def update_ulps(telemetry: Path) -> float | None:
    """Return the median intended update in ulps, as a mean over tensors and probes (DIAG-04).

    Args:
        telemetry: A run's telemetry.parquet.

    Returns:
        The mean; None where the update was not probed.
    """
    rows = pq.read_table(telemetry, columns=["value"], filters=[("metric", "==", "ulp_median")]).column("value")
    finite = [value for value in rows.to_pylist() if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None
