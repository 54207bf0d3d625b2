"""The training process among others: its lock, its signals, and the end of its parent."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from altgrad.errors import CheckpointError, LockedError

LOCK_TIMEOUT_S = 20.0
"""Long enough for a run whose Snakemake was killed to notice, save and end."""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the run's lock (flock: it ends with the process, however that ends).

    Raises:
        LockedError: Another process works on the run.
        CheckpointError: The folder cannot be written to.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=LOCK_TIMEOUT_S)
    except Timeout:
        raise LockedError(
            str(path.parent), "another process is working on this run", "Wait for it, or end it, and try again"
        ) from None
    except OSError as error:
        # Found out now, not after hours of computing.
        raise CheckpointError(
            str(path.parent),
            f"it cannot be written to (errno {error.errno}: {error.strerror})",
            "Name a folder that can be",
        ) from error
    try:
        yield
    finally:
        lock.release()


class Interrupts:
    """Notices SIGTERM, SIGINT and the death of the workflow that started this process.

    The loop asks `pending` after each step, saves and ends; a second signal ends the process at once.
    """

    def __init__(self) -> None:
        self._signal = 0
        self._workflow = _workflow_ancestor(os.getpid())
        self._old = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        self.restore()

    def pending(self) -> int:
        """Return the number of the signal to end with, or 0."""
        if not self._signal and self._workflow is not None and _start_time(self._workflow[0]) != self._workflow[1]:
            self._signal = signal.SIGTERM
        return self._signal

    def restore(self) -> None:
        """Put the former signal handlers back."""
        for number, handler in self._old.items():
            signal.signal(number, handler)


def _workflow_ancestor(pid: int) -> tuple[int, str] | None:
    """Return (pid, start time) of the nearest Snakemake above a process; None where there is none, or no /proc.

    A shell stands between Snakemake and its jobs, so the kernel's parent-death signal would watch the wrong process.
    """
    while pid > 1:
        stat = _stat(pid)
        if not stat:
            return None
        pid = int(stat[1])
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return None
        words = [Path(os.fsdecode(word)).name for word in command.split(b"\0")[:3]]
        if "snakemake" in words:
            return pid, _start_time(pid)
    return None


def _start_time(pid: int) -> str:
    """Return a process's start time in clock ticks, or an empty string when it has ended."""
    stat = _stat(pid)
    return stat[19] if stat and stat[0] != "Z" else ""


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from `state` on (proc(5)), or nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
