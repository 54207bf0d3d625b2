"""How long a user waits for the first step of `altgrad train`."""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.rows import Result, Row, Target
from benchmarks.setting import Setting
from benchmarks.tiny import make_corpus, train

_TIMES = 5


def run(setting: Setting) -> Result:
    """Time the whole command for a run of one step, eager: start, step, evaluation, files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = make_corpus(folder)
        times = [train(1, setting, corpus, folder / f"run{i}") for i in range(2 if setting.quick else _TIMES)]
    low, middle, high = np.quantile(times[1:], (0.25, 0.5, 0.75))  # the first fills the file cache
    row = Row("altgrad train, eager: start to end of a run of 1 step", middle, "s", low, high, Target(6.0))
    return Result([row])
