"""From a study's config to its runs: the whole matrix is known before anything is launched."""

import hashlib
import itertools
import json
from collections.abc import Iterator

from altgrad.errors import ConfigError
from altgrad.numerics.catalog import formats
from altgrad.study.config import BaselineConfig, GridConfig, RunConfig, StudyConfig, is_valid_id

TRAIN_REVISION = 4
"""Raised in the commit that changes what training computes; part of every run's stamp."""

BASELINE_UPDATE = "adamw"


def study_runs(study: StudyConfig) -> list[RunConfig]:
    """Return every run of a study, baselines first, in a stable order, each once.

    Args:
        study: The study.

    Returns:
        One `RunConfig` a run. A combination that several grids name is one run.

    Raises:
        ConfigError: Two different runs came out with the same id, or an id is too long for a folder name.
    """
    runs: dict[str, RunConfig] = {}
    for run in itertools.chain(_baseline_runs(study, study.baseline), *(_grid_runs(study, g) for g in study.grids)):
        known = runs.setdefault(run.run_id, run)
        if config_hash(known) != config_hash(run):
            raise ConfigError(
                "grids", f"two different runs have the id {run.run_id}", "Make their factors differ by name"
            )
    return list(runs.values())


def run_id(format_name: str, update: str, storage: str, layers: str, lr: float, seed: int) -> str:
    """Return a run's id, for example `E4M3-manifold-nearest-all-lr0.003-s1`."""
    rate = f"{lr:g}".replace("+", "")  # a run id has no plus sign
    return f"{format_name}-{update}-{storage}-{layers}-lr{rate}-s{seed}"


def canonical_json(run: RunConfig) -> str:
    """Return a run's config as JSON with sorted keys and no spaces: equal configs, equal bytes."""
    return json.dumps(run.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def result_fields(run: RunConfig) -> dict[str, object]:
    """Return the fields of a run's config that decide its results, flattened to dotted names.

    Where telemetry is mirrored, how often restart state is saved, which study asked and what its reports call the
    layers change no result.
    """
    data = run.model_dump(mode="json")
    del data["telemetry"]["wandb"], data["training"]["checkpoint_every"]
    del data["study"], data["role"], data["layer_types"]
    return dict(_flatten("", data))


def config_hash(run: RunConfig) -> str:
    """Return the SHA-256 (hex) of the fields that decide a run's results."""
    text = json.dumps(result_fields(run), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _flatten(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), item)
    else:
        yield prefix, value


def _baseline_runs(study: StudyConfig, baseline: BaselineConfig) -> Iterator[RunConfig]:
    update = study.updates.get(BASELINE_UPDATE)
    if update is None or not update.is_plain:
        raise ConfigError(
            "updates",
            f"{BASELINE_UPDATE} is missing or has a metric",
            "The baseline and every comparison need plain AdamW of that name",
        )
    for lr, seed in itertools.product(baseline.lrs, baseline.seeds):
        yield _run(study, "baseline", baseline.format, BASELINE_UPDATE, "master", "all", lr, seed)


def _grid_runs(study: StudyConfig, grid: GridConfig) -> Iterator[RunConfig]:
    factors = (grid.formats, grid.updates, grid.storages, grid.layers, grid.lrs, grid.seeds)
    for name, update, storage, layers, lr, seed in itertools.product(*factors):
        yield _run(study, "grid", name, update, storage, layers, lr, seed)


def _run(
    study: StudyConfig, role: str, name: str, update: str, storage: str, layers: str, lr: float, seed: int
) -> RunConfig:
    name = name if name in study.formats else formats[name].name
    identity = run_id(name, update, storage, layers, lr, seed)
    if not is_valid_id(identity):
        raise ConfigError(
            "grids",
            f"the run id {identity} has {len(identity)} characters, and at most 64 are allowed",
            "Shorten the names of its format, update or layers",
        )
    return RunConfig.model_validate(
        {
            "run_id": identity,
            "study": study.study,
            "role": role,
            "format": name,
            "custom_format": study.formats.get(name),
            "update": update,
            "update_spec": study.updates[update],
            "storage": storage,
            "layers": layers,
            "layer_patterns": study.layer_types[layers],
            "layer_types": study.layer_types,
            "lr": lr,
            "seed": seed,
            "corpus": study.corpus.name,
            "model": study.model,
            "training": study.training,
            "quantization": study.quantization,
            "telemetry": study.telemetry,
            "revision": TRAIN_REVISION,
        }
    )
