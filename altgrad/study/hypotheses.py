"""What a study predicts, in a file of its own that is committed before the runs that judge it.

Each hypothesis is a statement about paired differences: of which estimand, in which cells, and what their intervals
must do. `altgrad.analysis.hypotheses` judges it.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from altgrad.study.loading import parse
from altgrad.study.reading import read_mapping
from altgrad.study.sections import Closed, Float, FormatName, Name


class Cells(Closed):
    """Which estimates a hypothesis is about: one a format."""

    estimand: Literal["benefit", "did", "gap"]
    formats: tuple[FormatName, ...] = Field(min_length=1)
    update: Name
    storage: str
    layers: Name = "all"


class Hypothesis(Closed):
    """One statement.

    The tests, on the interval of each format's mean difference:

    - `within`: it lies within plus and minus `bound`.
    - `above`, `below`: it lies above, or below, `bound`.
    - `identical`: every seed's difference is 0.
    - `rising`: the means rise in the order of `formats`: no step falls, and the last is above the first.
    - `smaller`: the difference, less `bound` times that of `than` paired by seed, lies below 0.
    """

    id: Name
    claim: str
    test: Literal["within", "above", "below", "identical", "rising", "smaller"]
    of: Cells
    than: Cells | None = None
    bound: Float = Field(0.0, description="in nats; for smaller, a share")


class HypothesesFile(Closed):
    """A file of hypotheses."""

    hypotheses: Annotated[tuple[Hypothesis, ...], Field(min_length=1)]


def read_hypotheses(path: Path) -> tuple[tuple[Hypothesis, ...], str]:
    """Return the hypotheses in a YAML file, and the file's SHA-256 (hex).

    Raises:
        ConfigError: The file cannot be read, or an entry is not as it must be.
    """
    found = parse(HypothesesFile, read_mapping(path), lambda _: str(path))
    return found.hypotheses, hashlib.sha256(path.read_bytes()).hexdigest()
