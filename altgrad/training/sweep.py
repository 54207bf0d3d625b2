"""Many runs in one process, one after another: imports and compilation are paid for once.

Each run has its own folder, restart state and telemetry, and ends with the same bytes as in a process of its own.
"""

from collections.abc import Callable
from pathlib import Path

from altgrad.study.runs import ArmConfig
from altgrad.training.run import train_run


def train_arm(arm: ArmConfig, lr: float, corpus_folder: Path, runs: Path, say: Callable[[str], None]) -> int:
    """Train every seed of an arm, from wherever an earlier process left it.

    Args:
        arm: The arm.
        lr: Its learning rate.
        corpus_folder: A corpus as `altgrad prepare` writes it.
        runs: The folder of the runs' folders.
        say: Takes messages for the user.

    Returns:
        0, or the exit status of the run that was interrupted.

    Raises:
        AltGradError: As `train_run`.
    """
    for number, run in enumerate(arm.runs(lr), 1):
        say(f"{arm.arm}: run {number} of {len(arm.seeds)}")
        status = train_run(run, corpus_folder, runs / run.run_id, True, say)
        if status:
            return status
    return 0
