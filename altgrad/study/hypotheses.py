"""What a study predicts, in a file of its own that is committed before the runs that judge it.

Each hypothesis is a statement about paired differences: of which estimand, in which cells, and what their intervals
must do. `altgrad.analysis.hypotheses` judges it.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from altgrad.errors import ConfigError
from altgrad.numerics.catalog import formats
from altgrad.study.config import Storage, StudyConfig
from altgrad.study.loading import parse
from altgrad.study.reading import read_mapping
from altgrad.study.sections import Closed, Float, FormatName, Name

DID_STORAGE = "nearest - master"
"""What the storage of a difference in differences is called."""


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
    - `rising`: the means rise in the order of `formats`: no step's mean falls, and the last is above the first.
    - `smaller`: the difference, less `bound` times that of `than` paired by seed, lies below 0. Where the interval of
      `than` does not lie above 0 there is nothing to have a share of, and it stays undecided.
    """

    id: Name
    claim: str
    test: Literal["within", "above", "below", "identical", "rising", "smaller"]
    of: Cells
    than: Cells | None = None
    bound: Float = Field(0.0, description="in nats; for smaller, a share")

    @model_validator(mode="after")
    def _than_goes_with_smaller(self) -> "Hypothesis":
        if (self.test == "smaller") != (self.than is not None):
            raise ValueError(f"{self.id}: than is given exactly with the test smaller")
        return self


class HypothesesFile(Closed):
    """A file of hypotheses."""

    hypotheses: Annotated[tuple[Hypothesis, ...], Field(min_length=1)]


def read_hypotheses(path: Path, study: StudyConfig) -> tuple[tuple[Hypothesis, ...], str]:
    """Return the hypotheses in a YAML file, and the file's SHA-256 (hex).

    Args:
        path: The file.
        study: The study that they are about: names of updates, storages and layers must be ones of its config's.

    Raises:
        ConfigError: The file cannot be read, or an entry is not as it must be.
    """
    found = parse(HypothesesFile, read_mapping(path), lambda _: str(path))
    for hypothesis in found.hypotheses:
        for cells in filter(None, (hypothesis.of, hypothesis.than)):
            _require_known(f"{path}: {hypothesis.id}", cells, study)
    return found.hypotheses, hashlib.sha256(path.read_bytes()).hexdigest()


def _require_known(where: str, cells: Cells, study: StudyConfig) -> None:
    """Refuse a name that no run of any such study could have: its hypothesis would never be judged."""
    storages = (DID_STORAGE,) if cells.estimand == "did" else get_args(Storage)
    known = {"update": tuple(study.updates), "storage": storages, "layers": tuple(study.layer_types)}
    for key, allowed in known.items():
        if getattr(cells, key) not in allowed:
            raise ConfigError(
                where, f"{key} {getattr(cells, key)!r} is none of it", f"Choose from {', '.join(allowed)}"
            )
    for name in cells.formats:
        if name not in study.formats:
            formats[name]  # raises UnknownFormatError, which offers the nearest names
