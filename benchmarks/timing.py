"""Times of contenders side by side, in one process, as ratios.

A shared machine is fast in one minute and slow in the next. So all contenders take turns, round after round; their
order is another in each round; and what is reported is the ratio of their medians. Its spread is the 25 % and the 75 %
quantile, over rounds, of the ratio of the two within a round.
"""

import gc
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.rows import Row, Target
from benchmarks.setting import Setting

SAMPLE_S = 0.002
"""What is quicker is called several times in a row for one sample, until about this much time has passed."""

WARM_UP = 3
"""Calls before the first sample: they compile, allocate, and fill caches."""

ROUNDS = (7, 61)
"""Fewest and most rounds."""


@dataclass(frozen=True)
class Times:
    """Seconds a call, by contender: one sample a round."""

    samples: dict[str, np.ndarray]

    def median_s(self, name: str) -> float:
        """Return a contender's median, in seconds."""
        return float(np.median(self.samples[name]))

    def ratio(
        self, name: str, over: str, label: str = "", target: Target | None = None, inverse: bool = False, note: str = ""
    ) -> Row:
        """Return a contender's time over another's.

        Args:
            name: The contender.
            over: The other.
            label: The row's name; the contender's own where left out.
            target: What the ratio is to reach.
            inverse: Return how many times faster the contender is, in place of how many times slower.
            note: As in `Row`.
        """
        one, other = (over, name) if inverse else (name, over)
        value = self.median_s(one) / self.median_s(other)
        low, high = np.quantile(self.samples[one] / self.samples[other], (0.25, 0.75))
        return Row(label or name, value, "x", float(low), float(high), target, note)


def interleave(contenders: Mapping[str, Callable[[], object]], setting: Setting, budget_s: float = 12.0) -> Times:
    """Time contenders in turns.

    Args:
        contenders: What to call, by name.
        setting: Where.
        budget_s: About how long it may take after warm-up; there are at least `ROUNDS[0]` rounds whatever they take.
    """
    calls = {name: _calls_for_a_sample(call, setting) for name, call in contenders.items()}
    order = list(contenders)
    shuffle = np.random.default_rng(0)
    samples: dict[str, list[float]] = {name: [] for name in order}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter()
        most = 3 if setting.quick else ROUNDS[1]
        for done in range(most):
            if done >= min(ROUNDS[0], most) and time.perf_counter() - started > budget_s:
                break
            for i in shuffle.permutation(len(order)):
                name = order[i]
                samples[name].append(_sample_s(contenders[name], calls[name], setting))
    finally:
        if collecting:
            gc.enable()
    return Times({name: np.array(values) for name, values in samples.items()})


def _calls_for_a_sample(call: Callable[[], object], setting: Setting) -> int:
    """Warm up, and return how many calls make a sample."""
    for _ in range(WARM_UP - 1):
        call()
    return max(1, math.ceil(SAMPLE_S / max(_sample_s(call, 1, setting), 1e-7)))


def _sample_s(call: Callable[[], object], calls: int, setting: Setting) -> float:
    _wait(setting)
    started = time.perf_counter()
    for _ in range(calls):
        call()
    _wait(setting)
    return (time.perf_counter() - started) / calls


def _wait(setting: Setting) -> None:
    if setting.device == "cuda":
        torch.cuda.synchronize()
