"""The study's configuration: typed, closed, and the one place where defaults stand.

`StudyConfig` is a whole study (`config.yaml` and its overlays); its runs (`altgrad.study.runs`) are resolved from it by
`altgrad.study.grid`. Unknown keys, numbers out of range and names that do not exist are refused when a config is read.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from altgrad.numerics.catalog import formats
from altgrad.study.sections import (
    ID_PATTERN,
    SAME_FORMAT,
    Beta,
    BudgetConfig,
    Closed,
    Count,
    Float,
    FormatName,
    Int,
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

Storage = Literal["master", "nearest", "stochastic", "eco"]

RESERVED_STUDY_NAMES = frozenset(
    {"corpus", "runs", "diagnostics", "tables", "statistics", "figures", "logs", "benchmarks"}
)
"""Folders of the main study, which no other study may be named after."""

MAIN_STUDY = "main"
"""The study of `config.yaml`, which writes to `results/` and `reports/` themselves."""


class FormatSpec(Closed):
    """A user's own format of 2 to 8 bits, under its name in `formats`."""

    exponent_bits: Annotated[Int, Field(ge=0, le=7)]
    mantissa_bits: Annotated[Int, Field(ge=0, le=7)]
    bias: Int | None = Field(None, description="exponent bias; left out, 2^(E-1) - 1, and 1 for E = 0")
    has_inf: bool = False
    num_high_nans: Count = Field(1, description="NaN codes at the top of each sign")


class CorpusConfig(Closed):
    """A corpus: where its documents come from, and how they become tokens."""

    name: Name
    source: Literal["synthetic", "files", "eurlex"]
    tokenizer: Literal["byte", "gpt2"]
    tokenizer_files: str | None = Field(
        None,
        description="folder with vocab.bpe and encoder.json, for gpt2 with no network; their hashes are checked",
    )
    paths: tuple[str, ...] = Field((), description="source: files. Paths or globs of .jsonl, .parquet or .txt files")
    text_field: str = Field("text", description="the field (column) that holds a document's text")
    id_field: str | None = Field(None, description="the field that identifies a document; left out, its text does")
    licence: str = Field("unknown", description="written into the corpus's metadata and every report")
    revision: str | None = Field(None, description="source: eurlex. The hub's commit; left out, the pinned one")
    seed: Seed = Field(0, description="of the split, and of the synthetic text")
    size_bytes: PositiveInt = Field(2_000_000, description="source: synthetic. How much text to make")
    max_documents: PositiveInt | None = Field(None, description="at most this many documents, taken in order")
    val_fraction: Annotated[Float, Field(gt=0, lt=1)] = Field(0.1, description="share of documents held out")

    @model_validator(mode="after")
    def _paths_go_with_files(self) -> "CorpusConfig":
        if (self.source == "files") != bool(self.paths):
            raise ValueError("paths: given exactly when source is files")
        return self


class UpdateSpec(Closed):
    """An update rule: direction, metric and the settings that belong to them."""

    optimizer: Literal["manifold_adamw", "rung_sgd"]
    metric_power: Annotated[Float, Field(ge=-1, le=1)] = Field(0.0, description="p of the metric S^p; 0 is AdamW")
    metric: Literal["ulp", "smooth", "permuted"] = Field(
        "ulp", description="S, or a control: smooth is |w| in place of S, permuted is S of another weight of the tensor"
    )
    precondition: Literal["update", "gradient"] = "update"
    momentum: Beta = Field(0.9, description="rung_sgd: its momentum")
    max_rungs: Annotated[Float, Field(gt=0, le=128)] = Field(1.0, description="rung_sgd: the longest move a step")
    lr_scale: LearningRate = Field(1.0, description="multiplies tuned learning rates, where they have another unit")
    geometry_aware: bool = Field(description="whether the reports count it as geometry-aware, against adamw")

    @model_validator(mode="after")
    def _settings_have_an_effect(self) -> "UpdateSpec":
        others = {"manifold_adamw": ("momentum", "max_rungs"), "rung_sgd": ("metric_power", "metric", "precondition")}
        for key in others[self.optimizer]:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} has no effect on {self.optimizer}; leave it out")
        if self.metric != "ulp" and (self.precondition != "update" or self.metric_power == 0.0):
            raise ValueError(
                f"metric {self.metric} is a control of normalized steps: it needs a metric_power and update"
            )
        if self.metric == "smooth" and self.metric_power < 0.0:
            raise ValueError("metric smooth needs a metric_power above 0, because |0|^p is not finite below")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether this is standard AdamW: no metric, no rungs."""
        return self.optimizer == "manifold_adamw" and self.metric_power == 0.0


class GridConfig(Closed):
    """One block of runs: every combination of its factors."""

    formats: tuple[FormatName, ...] = Field(min_length=1)
    updates: tuple[Name, ...] = Field(min_length=1)
    storages: tuple[Storage, ...] = Field(min_length=1)
    layers: tuple[Name, ...] = Field(("all",), min_length=1)
    lrs: tuple[LearningRate, ...] | None = Field(None, min_length=1, description="left out, each cell's is tuned")
    seeds: tuple[Seed, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_duplicates(self) -> "GridConfig":
        for key in ("formats", "updates", "storages", "layers", "lrs", "seeds"):
            values = getattr(self, key) or ()
            twice = sorted({str(v) for v in values if values.count(v) > 1})
            if twice:
                raise ValueError(f"{key}: {', '.join(twice)} stands there twice; name each value once")
        return self


class BaselineConfig(Closed):
    """The reference runs: weights rounded to a reference format in the same code path, under plain AdamW."""

    format: str = "BF16"
    lrs: tuple[LearningRate, ...] | None = Field(None, min_length=1, description="left out, its own is tuned")
    seeds: tuple[Seed, ...] = Field(min_length=1)


class AnalysisConfig(Closed):
    """How sure the reports must be before they give a verdict."""

    confidence: Annotated[Float, Field(gt=0.5, lt=1)] = 0.95
    min_seeds: PositiveInt = Field(6, description="fewer paired seeds give no verdict")
    min_steps: PositiveInt = Field(1000, description="shorter runs are called a demonstration")
    smallest_effect: Annotated[Float, Field(gt=0)] = Field(0.01, description="in nats: what a plan of seeds must show")
    power: Annotated[Float, Field(gt=0, lt=1)] = Field(0.8, description="the probability of showing it")


DEFAULT_LAYERS: dict[str, tuple[str, ...]] = {
    "all": ("*",),
    "attention": ("blocks.*.attn.*",),
    "mlp": ("blocks.*.mlp.*",),
    "embedding": ("wte", "wpe"),
    "lm_head": ("lm_head",),
}
"""Layer types of the project's GPT, as patterns on dotted module names."""


class StudyConfig(Closed):
    """A whole study."""

    study: Name = Field(description="its name, and the name of its folders; config.yaml's is main")
    title: str
    corpus: CorpusConfig
    model: ModelConfig
    training: TrainingConfig
    quantization: QuantizationConfig = QuantizationConfig()
    formats: dict[Name, FormatSpec] = Field(default_factory=dict, description="the user's own formats")
    layer_types: dict[Name, tuple[str, ...]] = Field(default_factory=lambda: dict(DEFAULT_LAYERS))
    updates: dict[Name, UpdateSpec]
    baseline: BaselineConfig
    grids: tuple[GridConfig, ...] = Field(min_length=1)
    tuning: TuningConfig | None = Field(None, description="how learning rates are found that the grids leave out")
    budget: BudgetConfig = BudgetConfig()
    include_runs: tuple[str, ...] = Field(
        (), description="folders (globs) of finished runs from elsewhere to take into the tables"
    )
    hypotheses: str | None = Field(None, description="a YAML file of what is predicted, written before the runs")
    deviations: tuple[str, ...] = Field((), description="what was changed after results were seen; reports say it")
    telemetry: TelemetryConfig = TelemetryConfig()
    analysis: AnalysisConfig = AnalysisConfig()

    @model_validator(mode="after")
    def _names_exist(self) -> "StudyConfig":
        if self.study.casefold() in RESERVED_STUDY_NAMES or self.study.endswith((".md", ".html")):
            raise ValueError(f"study: {self.study!r} is a folder or report of the main study; choose another name")
        for name in self.formats:
            if name in formats:
                raise ValueError(f"formats.{name}: the catalogue has a format of that name; choose another")
        for number, grid in enumerate(self.grids):
            where = f"grids.{number}"
            for name in grid.formats:
                if name not in self.formats:
                    formats[name]  # raises UnknownFormatError, which offers the nearest names
            _require(f"{where}.updates", grid.updates, self.updates)
            _require(f"{where}.layers", grid.layers, self.layer_types)
            self._require_sense(where, grid)
        for role in ("input", "grad_output"):
            cast = getattr(self.quantization, role)
            if cast is not None and cast != SAME_FORMAT:
                formats[cast]  # likewise
        self._require_tuning()
        if not formats[self.baseline.format].is_reference:
            raise ValueError(f"baseline.format: {self.baseline.format} is not a reference format (BF16, FP16)")
        return self

    def _require_tuning(self) -> None:
        """Refuse learning rates that nothing says how to find, and seeds that would both choose and judge them."""
        blocks: tuple[BaselineConfig | GridConfig, ...] = (self.baseline, *self.grids)
        tuned = [block for block in blocks if block.lrs is None]
        if tuned and self.tuning is None:
            raise ValueError("tuning: a grid without lrs needs it; give the section, or the grid's lrs")
        both = {seed for block in tuned for seed in block.seeds} & set(self.tuning.seeds if self.tuning else ())
        if both:
            raise ValueError(
                f"tuning.seeds: {min(both)} is evaluated too, and a seed that chose a learning rate must not judge it"
            )

    def _require_sense(self, where: str, grid: GridConfig) -> None:
        """Refuse combinations that would be another run under this one's name, or that cannot run."""
        rungs = [name for name in grid.updates if self.updates[name].optimizer == "rung_sgd"]
        lossy = [storage for storage in ("nearest", "eco") if storage in grid.storages]
        if rungs and lossy:
            raise ValueError(
                f"{where}: {rungs[0]} moves in rungs, which {lossy[0]} storage would lose; give it another grid"
            )
        references = [name for name in grid.formats if name not in self.formats and formats[name].is_reference]
        plain = all(self.updates[name].is_plain for name in grid.updates)
        if references and not (plain and grid.storages == ("master",)):
            raise ValueError(
                f"{where}: {references[0]} is a reference format, which has no grid to step on; "
                "give it a grid of its own, with adamw and master"
            )

    @property
    def folder(self) -> str:
        """The folder below `results/` and `reports/`: empty for the main study."""
        return "" if self.study == MAIN_STUDY else self.study


def _require(where: str, given: tuple[str, ...], known: dict[str, Any]) -> None:
    missing = [name for name in given if name not in known]
    if missing:
        raise ValueError(f"{where}: {', '.join(missing)} is not defined; defined are {', '.join(sorted(known))}")


def is_valid_id(text: str) -> bool:
    """Return whether `text` may name a run, study or corpus (and so a folder)."""
    return re.fullmatch(ID_PATTERN.strip("^$"), text) is not None
