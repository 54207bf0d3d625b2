"""Run folders with known numbers: what `altgrad train` would leave behind, written without training anything."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from altgrad.parquet import arrow_schema, write_table
from altgrad.schema import DIAGNOSTICS, TELEMETRY, TIMING
from altgrad.study.config import StudyConfig
from altgrad.study.grid import config_hash, study_runs
from altgrad.study.runs import RunConfig

VOCAB = 257
ELEMENTS = {
    "wte.weight": 400,
    "blocks.0.attn.c_attn.weight": 300,
    "blocks.0.mlp.c_fc.weight": 200,
    "lm_head.weight": 100,
}
PROBE_GROUPS = ("gradients", "weights", "updates", "rank", "hessian")
UPDATES: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "manifold_adamw", "geometry_aware": False},
    "manifold": {"optimizer": "manifold_adamw", "metric_power": 0.5, "geometry_aware": True},
    "rung": {"optimizer": "rung_sgd", "geometry_aware": True},
}
CORPUS_META = {
    "name": "laws",
    "licence": "CC-BY-4.0",
    "description": "Made-up laws.",
    "revision": 1,
    "made_from": {"revision": "0123abcd"},
    "fingerprint": "f" * 16,
    "train": {"tokens": 12_000},
    "val": {"tokens": 3_000},
    "tokenizer": {"name": "byte", "vocab_size": VOCAB},
}


@dataclass(frozen=True)
class Rates:
    """Whole-run rates of a fabricated run, in per mille of the elements, by layer type or for all."""

    flips: int = 100
    updates: int = 500
    overflow: int = 0
    underflow: int = 10
    update_underflow: int = 200
    clipped: int = 5
    input_overflow: int = 0
    input_underflow: int = 20
    grad_output_overflow: int = 0
    grad_output_underflow: int = 300


Loss = Callable[[RunConfig], float | None]
RatesOf = Callable[[RunConfig, str], Rates]


def make_study(**changes: Any) -> StudyConfig:
    """Return a small study; keyword arguments replace whole keys, and those of its one grid.

    `update_specs` replaces the definitions of the updates.
    """
    grid = {
        "formats": ["E4M3", "E7M0"],
        "updates": ["adamw", "manifold"],
        "storages": ["nearest", "master"],
        "layers": ["all"],
        "lrs": [0.01],
        "seeds": [1, 2, 3],
    }
    specs = changes.pop("update_specs", UPDATES)
    grid |= {key: changes.pop(key) for key in list(changes) if key in grid}
    config: dict[str, Any] = {
        "study": "fake",
        "title": "A fabricated study",
        "corpus": {"name": "laws", "source": "synthetic", "tokenizer": "byte", "licence": "CC-BY-4.0"},
        "model": {"n_layer": 1, "n_head": 1, "n_embd": 8, "block_size": 16},
        "training": {"steps": 40, "batch_size": 2, "eval_every": 20, "device": "cpu"},
        "updates": specs,
        "baseline": {"lrs": [0.01], "seeds": grid["seeds"]},
        "grids": [grid],
        "telemetry": {"window": 10, "probes": dict.fromkeys(PROBE_GROUPS, 20)},
        "analysis": {"min_seeds": 3, "min_steps": 40},
    }
    return StudyConfig.model_validate({**config, **changes})


def fabricate(
    study: StudyConfig, results: Path, loss: Loss, rates: RatesOf | None = None, diagnostics: bool = False
) -> list[Path]:
    """Write a folder for each run of the study whose loss is given, and return them.

    Args:
        study: The study.
        results: The folder to write below.
        loss: A run's validation loss in nats; None is a diverged run, NaN leaves the run out.
        rates: A run's rates by layer type; left out, `Rates()`.
        diagnostics: Whether to write diagnostics too.
    """
    folders = []
    for run in study_runs(study):
        value = loss(run)
        if value is None or not math.isnan(value):
            folders.append(write_run(run, results / "runs", value, rates or (lambda _run, _tensor: Rates())))
            if diagnostics:
                _write(results / "diagnostics" / f"{run.run_id}.parquet", DIAGNOSTICS, list(_diagnostics(run)))
    return folders


def write_run(run: RunConfig, runs: Path, loss: float | None, rates: RatesOf, **summary: Any) -> Path:
    """Write one run's folder; `summary` replaces fields of its summary."""
    folder = runs / run.run_id
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(run.model_dump_json())
    steps = run.training.steps if loss is not None else run.training.steps // 2
    _write(folder / "telemetry.parquet", TELEMETRY, list(_telemetry(run, loss, rates, steps)))
    windows = range(10, steps + 1, 10)
    _write(
        folder / "timing.parquet",
        TIMING,
        [(run.run_id, s, 100.0 * s, 4.0, 1.0, 1, 1, 1, *[0.25] * len(PROBE_GROUPS), 1000 + s) for s in windows],
    )
    fields = {
        "run_id": run.run_id,
        "status": "diverged" if loss is None else "finished",
        **{name: getattr(run, name) for name in ("format", "update", "storage", "layers", "lr", "seed", "revision")},
        "steps": steps,
        "steps_planned": run.training.steps,
        "tokens": steps * 32,
        "val_loss": loss,
        "val_perplexity": None if loss is None else math.exp(loss),
        "train_loss": loss,
        "tokens_per_s": 1000.0,
        "wall_s": 1.5,
        "peak_memory_bytes": 10**8,
        "device": "cpu",
        "device_name": "Test CPU",
        "vocab_size": VOCAB,
        "parameters": 1000,
        "versions": {"python": "3.11.0", "torch": "2.13.0", "altgrad": "0.1.0"},
        "git_revision": "abc123",
        "config_hash": config_hash(run),
        "corpus_fingerprint": CORPUS_META["fingerprint"],
        "events": [] if loss is not None else [{"step": steps, "event": "diverged"}],
    }
    (folder / "summary.json").write_text(json.dumps({**fields, **summary}))
    return folder


def _telemetry(run: RunConfig, loss: float | None, rates: RatesOf, steps: int) -> Iterator[tuple[Any, ...]]:
    """Yield rows: losses fall from ln(vocabulary size) towards `loss`, counts are the rates in every window."""
    end = loss if loss is not None else math.log(VOCAB)
    for step in range(10, steps + 1, 10):
        share = step / run.training.steps
        value = end + (math.log(VOCAB) - end) * (1 - share) ** 2
        yield from _rows(run, step, "run", "", train_loss=value, lr=run.lr, epoch=step * 32 / 640, nonfinite=0.0)
        if step % run.training.eval_every == 0:
            yield from _rows(run, step, "run", "", val_loss=value, val_perplexity=math.exp(value))
        for tensor, size in ELEMENTS.items():
            yield from _counts(run, step, tensor, size * 10, rates(run, tensor))
        if step % 20 == 0:
            yield from _hessian(run, step)
            for tensor in ELEMENTS:
                yield from _probes(run, step, tensor)


def _counts(run: RunConfig, step: int, tensor: str, elements: int, r: Rates) -> Iterator[tuple[Any, ...]]:
    def part(per_mille: int) -> int:
        return elements * per_mille // 1000

    moved = min(r.flips, r.updates)
    counts = {
        "elements": elements,
        "flips": part(r.flips),
        "flips_among_updated": part(moved),
        "stall": part(r.updates - moved),
        "zero_update": part(r.update_underflow),
        "rescale_moves": 0,
        "overflow": part(r.overflow),
        "underflow": part(r.underflow),
        "amax": 0.5,
        "amax_ema": 0.5,
        "range_bits": 7.0,
    }
    yield from _rows(run, step, "weight", tensor, **counts)
    yield from _rows(run, step, "gradient", tensor, updates=part(r.updates), l2_norm=3.0, linf_norm=1.0)
    intended = {"intended_sq": 4.0 * elements, "realised_dot": float(moved) * elements / 250}
    yield from _rows(run, step, "update", tensor, underflow=part(r.update_underflow), **intended)
    if run.training.partition_clip:
        yield from _rows(run, step, "gradient", tensor, clip_elements=elements, clipped=part(r.clipped))
    for role in ("input", "grad_output"):
        if getattr(run.quantization, role) is not None:
            lost = {name: part(getattr(r, f"{role}_{name}")) for name in ("overflow", "underflow")}
            yield from _rows(run, step, role, tensor, elements=elements, amax=0.5, **lost)


def _probes(run: RunConfig, step: int, tensor: str) -> Iterator[tuple[Any, ...]]:
    """Yield probes; of a reference format, whose grid is not probed, those of gradients and ranks alone."""
    share = step / run.training.steps
    compared = {"cosine": 1 - 0.1 * share, "snr_db": 20.0, "stiffness_correlation": 0.5, "magnitude_correlation": 0.25}
    yield from _rows(run, step, "gradient", tensor, **compared)
    if tensor.endswith("c_fc.weight"):
        yield from _rows(run, step, "input", tensor, dead_fraction=0.125)
    ranks = {"stable_rank": 4 - share, "effective_rank": 6.0, "entropy_rank": 5.0, "rank_warning": 0.0}
    yield from _rows(run, step, "weight", tensor, **ranks)
    if run.format in ("BF16", "FP16"):
        return
    of_weights = {
        "grid_alignment_mean": 0.25,
        "grid_alignment_p99": 0.5,
        "codes_used_fraction": 0.5 * share,
        "code_entropy_bits": 5.0,
        **{f"rung_p{p}": float(p) for p in (10, 50, 90)},
        **{f"stiffness_log2_p{p}": p / 10 - 12 for p in (10, 50, 90)},
        "stiffness_bin_-11": 0.25,
        "stiffness_bin_-10": 0.75,
    }
    yield from _rows(run, step, "weight", tensor, **of_weights)
    of_updates = {
        "ulp_median": 0.125,
        "ulp_p90": 0.5,
        "ulp_p99": 2.0,
        "ulp_lost_fraction": 0.75,
        "ulp_zero_fraction": 0.125,
        "ulp_bin_-3": 0.5,
        "ulp_bin_-1": 0.25,
        "ulp_bin_1": 0.125,
        "rung_move_entropy_bits": 1.5,
        "value_move_entropy_bits": 3.0,
    }
    yield from _rows(run, step, "update", tensor, **of_updates)


def _hessian(run: RunConfig, step: int) -> Iterator[tuple[Any, ...]]:
    top = {f"hessian_top_{i}": 4.0 / i + run.seed for i in (1, 2, 3)}
    nodes = {f"hessian_node_{v}_{j}": float(j - 2) + run.seed for v in (1, 2) for j in (1, 2, 3)}
    weights = {f"hessian_weight_{v}_{j}": (0.5, 0.25, 0.25)[j - 1] for v in (1, 2) for j in (1, 2, 3)}
    yield from _rows(run, step, "run", "", **top, **nodes, **weights)


def _rows(run: RunConfig, step: int, scope: str, tensor: str, **metrics: float) -> Iterator[tuple[Any, ...]]:
    for metric, value in metrics.items():
        yield run.run_id, step, scope, tensor, metric, float(value)


def _diagnostics(run: RunConfig) -> Iterator[tuple[Any, ...]]:
    for tensor in ELEMENTS:
        yield run.run_id, tensor, "code_entropy_bits", 5.0
        yield run.run_id, tensor, "codes_used_fraction", 0.5
        yield run.run_id, tensor, "grid_alignment_mean", 0.25
        yield run.run_id, tensor, "grid_alignment_p99", 0.5
        yield run.run_id, tensor, "stable_rank", 3.0


def _write(path: Path, columns: tuple[Any, ...], rows: list[tuple[Any, ...]]) -> None:
    schema = arrow_schema(columns)
    values = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(v, type=f.type) for v, f in zip(values, schema, strict=True)]
    write_table(path, pa.table(arrays, schema=schema))
