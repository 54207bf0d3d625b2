"""What tuning left frozen, read back: one JSON file a cell."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from altgrad.errors import MismatchError, TableError
from altgrad.study.config import StudyConfig
from altgrad.study.grid import cell_hash, study_arms
from altgrad.study.runs import ArmConfig


def read_choice(path: Path, arm: ArmConfig) -> dict[str, Any]:
    """Read the result of a cell's tuning.

    Args:
        path: The file that `altgrad tune` wrote.
        arm: The cell that it must be of.

    Returns:
        The frozen learning rate as `lr`, what else was found, and every trial as `trials`.

    Raises:
        TableError: The file is missing or damaged.
        MismatchError: It is of another cell, or of this one with another config.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        lr, of = float(found["lr"]), found["cell_hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(str(path), f"it is no result of tuning ({error})", "Make it with altgrad tune") from None
    if of != cell_hash(arm) or not lr > 0:
        raise MismatchError(
            str(path), f"it was tuned for {found.get('arm')} with another config than {arm.arm} has", "Tune it again"
        )
    return found


def tuned_arms(study: StudyConfig) -> list[ArmConfig]:
    """Return the arms of a study whose learning rate is tuned."""
    return [arm for arm in study_arms(study) if arm.lr is None]


def read_choices(study: StudyConfig, folder: Path | None) -> dict[str, dict[str, Any]]:
    """Read the results of a study's tuning, as far as they are there.

    Args:
        study: The study.
        folder: Holds `<arm>.json`; None where nothing is tuned.

    Returns:
        Results by arm.

    Raises:
        TableError: A file is damaged.
        MismatchError: A file is of another config.
    """
    if folder is None:
        return {}
    there = {arm.arm: arm for arm in tuned_arms(study) if (folder / f"{arm.arm}.json").exists()}
    found = {name: read_choice(folder / f"{name}.json", arm) for name, arm in there.items()}
    for name, choice in found.items():
        if study.tuning is None or choice["tuning"] != study.tuning.model_dump(mode="json"):
            raise MismatchError(
                str(folder / f"{name}.json"), "it was tuned by another rule than the study's", "Tune it again"
            )
    return found


def learning_rates(choices: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the frozen learning rates by arm."""
    return {name: float(choice["lr"]) for name, choice in choices.items()}
