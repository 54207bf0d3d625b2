"""From a study's config to its runs: the whole matrix is known before anything is launched."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from altgrad.errors import ConfigError
from altgrad.numerics.catalog import formats
from altgrad.study.config import BaselineConfig, GridConfig, StudyConfig, is_valid_id
from altgrad.study.runs import ArmConfig, RunConfig
from altgrad.study.tuning import TuningConfig

TRAIN_REVISION = 4
"""Raised in the commit that changes what training computes; part of every run's stamp."""

BASELINE_UPDATE = "adamw"


def study_arms(study: StudyConfig) -> list[ArmConfig]:
    """Return every arm of a study, baselines first, in a stable order, each once.

    Args:
        study: The study.

    Returns:
        One `ArmConfig` for each cell and learning rate, or cell to be tuned. An arm that several grids name has the
        seeds of all.

    Raises:
        ConfigError: Two different arms came out with the same name, or a run's id is too long for a folder name.
    """
    arms: dict[str, ArmConfig] = {}
    for arm in itertools.chain(_baseline_arms(study, study.baseline), *(_grid_arms(study, g) for g in study.grids)):
        known = arms.setdefault(arm.arm, arm)
        if known.model_copy(update={"seeds": (), "role": ""}) != arm.model_copy(update={"seeds": (), "role": ""}):
            raise ConfigError(
                "grids",
                f"two different runs have the id {arm.arm}-s{arm.seeds[0]}",
                "Make their factors differ by name",
            )
        arms[arm.arm] = known.model_copy(update={"seeds": tuple(dict.fromkeys(known.seeds + arm.seeds))})
    return list(arms.values())


def study_runs(study: StudyConfig, lrs: Mapping[str, float] | None = None) -> list[RunConfig]:
    """Return every run of a study whose learning rate is known, in the order of its arms.

    Args:
        study: The study.
        lrs: Tuned learning rates by arm; runs of an arm that is not among them are left out.
    """
    tuned = lrs or {}
    known = [(arm, tuned.get(arm.arm) if arm.lr is None else arm.lr) for arm in study_arms(study)]
    return [run for arm, lr in known if lr is not None for run in arm.runs(lr)]


def planned_runs(study: StudyConfig) -> int:
    """Return how many runs a study evaluates, trials of tuning left out."""
    return sum(len(arm.seeds) for arm in study_arms(study))


def arm_name(format_name: str, update: str, storage: str, layers: str, lr: float | None) -> str:
    """Return an arm's name: `E4M3-manifold-nearest-all-lr0.003`, or without its end where the rate is tuned."""
    cell = f"{format_name}-{update}-{storage}-{layers}"
    return cell if lr is None else f"{cell}-lr{lr:g}".replace("+", "")  # a run id has no plus sign


def trial_id(arm: ArmConfig, lr: float, seed: int) -> str:
    """Return the id of a trial of a cell that is tuned."""
    return f"{arm_name(arm.format, arm.update, arm.storage, arm.layers, lr)}-s{seed}"


def canonical_json(config: BaseModel) -> str:
    """Return a config as JSON with sorted keys and no spaces: equal configs, equal bytes."""
    return json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def result_fields(run: RunConfig) -> dict[str, object]:
    """Return the fields of a run's config that decide its results, flattened to dotted names.

    Where telemetry is mirrored, how often restart state is saved, which study asked, what its reports call the layers
    and the update, and where tuning looked for the learning rate change no result.
    """
    data = run.model_dump(mode="json")
    del data["telemetry"]["wandb"], data["training"]["checkpoint_every"]
    del data["study"], data["role"], data["layer_types"]
    del data["update_spec"]["lr_scale"], data["update_spec"]["geometry_aware"]
    return dict(_flatten("", data))


def config_hash(run: RunConfig) -> str:
    """Return the SHA-256 (hex) of the fields that decide a run's results."""
    return _hash(result_fields(run))


def stated_hash(run: RunConfig, config: Mapping[str, Any]) -> str:
    """Return the hash of the fields that decide a run's results and that its config on disk states.

    A config from before a field was added is the same run with the field's default: if that trained differently, the
    revision would have been raised. Its summary has the hash of the fields that it knew.

    Args:
        run: What is read from the config.
        config: The config as it stands on disk.
    """
    return _hash({key: value for key, value in result_fields(run).items() if _states(config, key)})


def cell_hash(arm: ArmConfig) -> str:
    """Return the SHA-256 (hex) of what decides an arm's results beside its learning rate and seeds."""
    return config_hash(arm.run(arm_name(arm.format, arm.update, arm.storage, arm.layers, None), 1.0, 0))


def _hash(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _states(config: Any, key: str) -> bool:
    """Return whether a config as JSON has a dotted key."""
    for part in key.split("."):
        if not isinstance(config, Mapping) or part not in config:
            return False
        config = config[part]
    return True


def _flatten(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), item)
    else:
        yield prefix, value


def _baseline_arms(study: StudyConfig, baseline: BaselineConfig) -> Iterator[ArmConfig]:
    update = study.updates.get(BASELINE_UPDATE)
    if update is None or not update.is_plain:
        raise ConfigError(
            "updates",
            f"{BASELINE_UPDATE} is missing or has a metric",
            "The baseline and every comparison need plain AdamW of that name",
        )
    for lr in baseline.lrs or (None,):
        yield _arm(study, "baseline", baseline.format, BASELINE_UPDATE, "master", "all", lr, baseline.seeds)


def _grid_arms(study: StudyConfig, grid: GridConfig) -> Iterator[ArmConfig]:
    factors = (grid.formats, grid.updates, grid.storages, grid.layers, grid.lrs or (None,))
    for name, update, storage, layers, lr in itertools.product(*factors):
        yield _arm(study, "grid", name, update, storage, layers, lr, grid.seeds)


def _arm(
    study: StudyConfig,
    role: str,
    name: str,
    update: str,
    storage: str,
    layers: str,
    lr: float | None,
    seeds: tuple[int, ...],
) -> ArmConfig:
    name = name if name in study.formats else formats[name].name
    arm = arm_name(name, update, storage, layers, lr)
    _require_valid_ids(arm, seeds, study.tuning if lr is None else None)
    return ArmConfig.model_validate(
        {
            "arm": arm,
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
            "seeds": seeds,
            "corpus": study.corpus.name,
            "model": study.model,
            "training": study.training,
            "quantization": study.quantization,
            "telemetry": study.telemetry,
            "revision": TRAIN_REVISION,
        }
    )


def _require_valid_ids(arm: str, seeds: tuple[int, ...], tuning: TuningConfig | None) -> None:
    """Refuse an arm whose runs, or trials, could not be folders."""
    longest = f"{arm}-s{max(seeds)}"
    if tuning is not None:  # a learning rate has four digits, and may need an exponent
        longest = max(longest, f"{arm}-lr1.234e-05-s{max(tuning.seeds)}", key=len)
    if not is_valid_id(longest):
        raise ConfigError(
            "grids",
            f"the run id {longest} has {len(longest)} characters, and at most 64 are allowed",
            "Shorten the names of its format, update or layers",
        )
