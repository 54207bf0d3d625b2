"""Runs as the bench takes them: what a cell of the study is, and what tells its runs apart."""

from typing import Literal

from pydantic import Field

from altgrad.numerics.catalog import formats
from altgrad.numerics.format import FloatFormat
from altgrad.study.config import FormatSpec, Storage, UpdateSpec
from altgrad.study.sections import (
    SAME_FORMAT,
    Closed,
    LearningRate,
    ModelConfig,
    Name,
    PositiveInt,
    QuantizationConfig,
    Seed,
    TelemetryConfig,
    TrainingConfig,
)
from altgrad.study.tuning import TuningConfig


class CellConfig(Closed):
    """All that decides a run but its learning rate and seed."""

    study: Name
    role: Literal["baseline", "grid"]
    format: str
    custom_format: FormatSpec | None = None
    update: Name
    update_spec: UpdateSpec
    storage: Storage
    layers: Name
    layer_patterns: tuple[str, ...]
    layer_types: dict[str, tuple[str, ...]]
    corpus: Name
    model: ModelConfig
    training: TrainingConfig
    quantization: QuantizationConfig
    telemetry: TelemetryConfig
    revision: PositiveInt = Field(description="of the training stage; raised when its results change")

    def float_format(self) -> FloatFormat:
        """Return the weights' format, from the catalogue or from `custom_format`."""
        if self.custom_format is None:
            return formats[self.format]
        return FloatFormat(name=self.format, **self.custom_format.model_dump())

    def cast_format(self, role: Literal["input", "grad_output"]) -> FloatFormat | None:
        """Return the format that inputs or output gradients of the cell's layers are cast to; None for no cast."""
        name = getattr(self.quantization, role)
        if name is None:
            return None
        return self.float_format() if name == SAME_FORMAT else formats[name]


class RunConfig(CellConfig):
    """Everything that decides one run. Its canonical JSON is hashed into the run's stamp."""

    run_id: Name
    lr: LearningRate
    seed: Seed


class ArmConfig(CellConfig):
    """Runs that differ by their seed alone, and are trained by one job.

    Attributes:
        arm: Its name; a run's id is that and the seed.
        lr: Their learning rate; None where tuning finds it.
        seeds: Their seeds.
    """

    arm: Name
    lr: LearningRate | None = None
    seeds: tuple[Seed, ...] = Field(min_length=1)

    def runs(self, lr: float) -> list[RunConfig]:
        """Return the runs, at a learning rate."""
        return [self.run(f"{self.arm}-s{seed}", lr, seed) for seed in self.seeds]

    def run(self, run_id: str, lr: float, seed: int) -> RunConfig:
        """Return a run of the arm's cell."""
        cell = {name: getattr(self, name) for name in CellConfig.model_fields}
        return RunConfig.model_validate({**cell, "run_id": run_id, "lr": lr, "seed": seed})


class TuneConfig(Closed):
    """A cell whose learning rate is to be found, and how.

    Attributes:
        arm: The cell; its own seeds take no part.
        tuning: The rule.
    """

    arm: ArmConfig
    tuning: TuningConfig
