"""What happens between two rows of telemetry, and how it is written: losses, counts, norms and times."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from altgrad.telemetry.counters import gradient_norms, read_together, write_gradient_norms
from altgrad.telemetry.recorder import Recorder
from altgrad.training.environment import peak_memory_bytes, synchronize

TIMED = ("data_s", "forward_backward_s", "optimizer_s", "telemetry_s")
"""The parts of a step that are timed apart (METR-03)."""


@dataclass
class OpenWindow:
    """The steps since the last window's row.

    Attributes:
        losses: The training loss of each step, in nats.
        applied: Steps that were applied.
        nonfinite: Names of the weights whose gradient was not finite at some step.
        norms: Names and norms of the gradients of the window's last step, on the device.
    """

    losses: list[float] = field(default_factory=list)
    applied: int = 0
    nonfinite: set[str] = field(default_factory=set)
    norms: tuple[list[str], Tensor] | None = None

    @property
    def train_loss(self) -> float:
        """Mean training loss so far; nonfinite steps are left out, and counted apart."""
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        return sum(finite) / len(finite) if finite else math.nan

    def note_nonfinite(self, recorder: Recorder, step: int, gradients: Mapping[str, Tensor]) -> None:
        """Write the norms of the gradients of a step that is not applied, and remember whose are not finite."""
        norms = read_together(gradient_norms(gradients))[0]
        write_gradient_norms(recorder, step, gradients, norms)
        self.norms = None
        finite = norms.isfinite().all(dim=1).tolist()
        self.nonfinite |= {name for name, good in zip(gradients, finite, strict=True) if not good}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs of it."""
        return {"losses": list(self.losses), "applied": self.applied, "nonfinite": sorted(self.nonfinite)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "OpenWindow":
        """Return the window of a saved state."""
        return cls(list(state["losses"]), state["applied"], set(state["nonfinite"]))


class Stopwatch:
    """Times the parts of steps, and writes them a window at a time.

    Args:
        device: `cpu` or `cuda`.
        tokens_a_step: Training tokens of a step.
        recorder: Takes the rows.
    """

    def __init__(self, device: str, tokens_a_step: int, recorder: Recorder) -> None:
        self._device, self._tokens, self._recorder = device, tokens_a_step, recorder
        self._spent: dict[str, float] = defaultdict(float)
        self._steps = 0

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the time until the end to a part of `TIMED`."""
        started = time.perf_counter()
        yield
        synchronize(self._device)
        self._spent[part] += time.perf_counter() - started

    def step_done(self) -> None:
        """Count a step."""
        self._steps += 1

    def write(self, step: int, probe_seconds: Mapping[str, float]) -> float:
        """Write the means over the steps since the last call, and start again.

        Args:
            step: Optimizer steps done.
            probe_seconds: What each group of probes has taken in them.

        Returns:
            Training tokens a second.
        """
        steps = max(1, self._steps)
        parts = {name: self._spent[name] / steps for name in TIMED}
        step_s = sum(parts.values())
        probes = {f"probe_{group}_s": seconds / steps for group, seconds in probe_seconds.items()}
        rate = self._tokens / step_s
        peak = peak_memory_bytes(self._device)
        self._recorder.add_timing(
            step, {"tokens_per_s": rate, "step_s": step_s, **parts, **probes, "peak_memory_bytes": peak}
        )
        self._spent.clear()
        self._steps = 0
        return rate
