"""The sections of a config that decide how a run trains and what it records; and the kinds of values in them.

They are closed: unknown keys, truth values for numbers, and numbers out of range are refused when a config is read.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

SAME_FORMAT = "same"
"""In place of a format's name: the run's own."""

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What a run id, a study's name and a corpus's name may look like: they become folder names."""


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{value} is a truth value (YAML reads yes, no, on and off as such); give a number")
    return value


def _not_bool_name(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{value} is a truth value (YAML reads yes, no, on and off as such); put the name in quotes")
    return value


Int = Annotated[int, BeforeValidator(_not_bool)]
Float = Annotated[float, BeforeValidator(_not_bool)]
PositiveInt = Annotated[Int, Field(ge=1, le=10**9)]
Count = Annotated[Int, Field(ge=0, le=10**9)]
Seed = Annotated[Int, Field(ge=0, lt=2**32)]
LearningRate = Annotated[Float, Field(gt=0, le=1e9)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
Beta = Annotated[Float, Field(ge=0, lt=1)]
FormatName = Annotated[str, BeforeValidator(_not_bool_name)]
Name = Annotated[str, BeforeValidator(_not_bool_name), StringConstraints(pattern=ID_PATTERN)]


class Closed(BaseModel):
    """A frozen section of the config that refuses unknown keys and non-finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(Closed):
    """The GPT's shape."""

    n_layer: PositiveInt
    n_head: PositiveInt
    n_embd: PositiveInt
    block_size: PositiveInt = Field(description="context length in tokens")
    dropout: Annotated[Float, Field(ge=0, lt=1)] = 0.0
    bias: bool = True
    tie_weights: bool = Field(False, description="share the embedding's weight with lm_head; the study does not")

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelConfig":
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}")
        return self


class EarlyStopConfig(Closed):
    """How many steps in a row of each kind of nonfinite value end a run as diverged (STAB-02)."""

    loss: PositiveInt = 1
    gradient: PositiveInt = 1
    weight: PositiveInt = 1


class MantissaShiftConfig(Closed):
    """When a tensor's format gives one exponent bit to the mantissa (STAB-06): E5M2, E4M3, E3M4 and so on."""

    windows: PositiveInt = Field(3, description="telemetry windows in a row that are enough")
    stall_ratio: Fraction = Field(0.99, description="a window counts whose stall ratio is above it; 1 switches it off")
    nonfinite: bool = Field(
        True, description="a window counts in which the tensor's gradient was not finite; early_stop must leave it time"
    )


class TrainingConfig(Closed):
    """The training loop, the same for every run of a study."""

    steps: PositiveInt
    batch_size: PositiveInt
    grad_accumulation: PositiveInt = 1
    warmup_steps: Count = 0
    final_lr_fraction: Fraction = Field(0.1, description="the cosine's end, as a share of the peak learning rate")
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: Annotated[Float, Field(gt=0, le=1)] = 1e-8
    weight_decay: Annotated[Float, Field(ge=0, le=10)] = 0.1
    plain_lr: LearningRate = Field(1e-3, description="AdamW's rate for parameters that a rung optimizer leaves plain")
    grad_clip: Annotated[Float, Field(ge=0)] = Field(1.0, description="global gradient norm; 0 switches it off")
    eval_every: PositiveInt = 100
    eval_batches: PositiveInt = 8
    checkpoint_every: PositiveInt = Field(200, description="steps between saves of the restart state")
    early_stop: EarlyStopConfig = EarlyStopConfig()
    partition_clip: bool = Field(
        False, description="hold gradient elements within the format's range around their root mean square (STAB-05)"
    )
    mantissa_shift: MantissaShiftConfig | None = Field(
        None, description="shift formats in an emergency (STAB-06); left out, never"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="cuda is an error where there is none")
    threads: PositiveInt = Field(1, description="CPU threads; part of what makes a run repeatable")
    compile: Literal["auto", "on", "graphs", "off"] = Field(
        "auto", description="auto: compiled where the work repays it; graphs: compiled, on CUDA replayed as CUDA graphs"
    )
    autocast: Literal["auto", "bf16", "off"] = Field("auto", description="auto: BF16 on CUDA, off on CPU")

    @model_validator(mode="after")
    def _warmup_fits(self) -> "TrainingConfig":
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} is not below steps {self.steps}")
        return self


class QuantizationConfig(Closed):
    """How scales follow weights, and what else of a layer is cast."""

    scaling: Literal["delayed", "current"] = "delayed"
    history: Annotated[Int, Field(ge=1, le=4096)] = Field(16, description="delayed scaling: steps remembered")
    per_row: bool = Field(False, description="one scale an output channel instead of one a tensor")
    power_of_two: bool = True
    input: FormatName | None = Field(
        None, description="cast the inputs of the layers in the run's format to a format; same is the run's own"
    )
    grad_output: FormatName | None = Field(
        None, description="cast the gradients of these layers' outputs, in the backward pass, likewise"
    )


class WandbConfig(Closed):
    """The mirror to Weights & Biases; the Parquet files are the record."""

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "altgrad"
    entity: str | None = None
    tags: tuple[str, ...] = ()


class ProbesConfig(Closed):
    """How many steps lie between two probes of a group; 0 switches the group off."""

    gradients: Count = Field(400, description="against FP32, on a fixed batch: cosine, SNR, correlations, dead units")
    weights: Count = Field(400, description="grid alignment, codes in use, rungs and grid spacings")
    updates: Count = Field(200, description="intended updates in ulps and in rungs")
    rank: Count = Field(100, description="stable, effective and entropy rank, and their early warning")
    hessian: Count = Field(8000, description="eigenvalues and spectral density of the loss's Hessian")


class TelemetryConfig(Closed):
    """What is counted, and how often it is written."""

    window: PositiveInt = Field(10, description="steps that one row of counters sums over")
    probes: ProbesConfig = ProbesConfig()
    wandb: WandbConfig = WandbConfig()


class BudgetConfig(Closed):
    """What a study may cost. The graph refuses one whose estimate is above it."""

    usd: Annotated[Float, Field(gt=0)] | None = Field(None, description="US dollars; left out, no limit")
    usd_per_hour: Annotated[Float, Field(ge=0)] = Field(0.0, description="of the machine that the study is for")
    jobs: PositiveInt = Field(1, description="runs that train at a time on it")
    tokens_per_s: Annotated[Float, Field(gt=0)] | None = Field(
        None,
        description="training tokens a second of one run there, telemetry and probes included; left out, altgrad "
        "budget measures it on the device that it runs on",
    )
    run_overhead_s: Annotated[Float, Field(ge=0)] = Field(
        5.0, description="seconds that a run takes beside its steps and validations: setup, state, files, diagnostics"
    )
    job_overhead_s: Annotated[Float, Field(ge=0)] = Field(
        30.0,
        description="seconds that a job (an arm's runs, a cell's trials) takes to start: imports, compilation",
    )

    @model_validator(mode="after")
    def _limit_can_be_checked(self) -> "BudgetConfig":
        if self.usd is not None and (self.tokens_per_s is None or not self.usd_per_hour):
            missing = "tokens_per_s" if self.tokens_per_s is None else "usd_per_hour"
            raise ValueError(f"usd {self.usd:g} is a limit that cannot be checked without {missing}; state it too")
        return self
