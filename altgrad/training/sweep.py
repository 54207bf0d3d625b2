"""Many runs in one process, one after another: imports and compilation are paid for once.

Each run has its own folder, restart state and telemetry, and ends with the same bytes as in a process of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from altgrad.study.runs import ArmConfig, RunConfig
from altgrad.training.process import Interrupts
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
    numbered = (
        (f"{arm.arm}: run {number} of {len(arm.seeds)}", run) for number, run in enumerate(arm.runs(lr), start=1)
    )
    with noticing_signals() as interrupts:
        for words, run in numbered:
            say(words)
            status = train_next(run, corpus_folder, runs, say, interrupts)
            if status:
                return status
    return 0


@contextmanager
def noticing_signals() -> Iterator[Interrupts]:
    """Notice signals, and the end of the workflow, from now on and between runs too."""
    interrupts = Interrupts()
    try:
        yield interrupts
    finally:
        interrupts.restore()


def train_next(
    run: RunConfig, corpus_folder: Path, folder: Path, say: Callable[[str], None], interrupts: Interrupts
) -> int:
    """Train one run of several, into a folder of its own; return 0, or the exit status to end with.

    A signal that came while the run ended, ends the process after it.
    """
    status = train_run(run, corpus_folder, folder / run.run_id, True, say, interrupts)
    signal = interrupts.pending()
    return status or (128 + signal if signal else 0)
