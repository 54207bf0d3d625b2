"""What a study costs, before anything is launched: runs, tokens, FLOPs, hours and US dollars, part by part.

The counts follow from the config alone. Hours need a pace: how long a step takes on a device, as the config states it
(`stated_pace`) or as `altgrad.training.calibration` measures it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from altgrad.errors import ConfigError
from altgrad.study.config import BaselineConfig, GridConfig, StudyConfig
from altgrad.study.grid import BASELINE_UPDATE, study_arms
from altgrad.study.runs import ArmConfig
from altgrad.study.sections import ModelConfig
from altgrad.study.tuning import TuningConfig

VOCAB_SIZES = {"byte": 257, "gpt2": 50257}
"""Token ids of each tokenizer, the end-of-text token included."""

EXPECTED_EXTENSION = 3
"""Learning rates that a search is expected to try beyond its start. An assumption, which estimates state."""

Bound = Literal["least", "expected", "most"]
Stage = Literal["tuning", "evaluation"]
BOUNDS: tuple[Bound, ...] = ("least", "expected", "most")
STAGES: tuple[Stage, ...] = ("tuning", "evaluation")


@dataclass(frozen=True)
class KindPace:
    """How long the runs of one kind of cell take.

    Attributes:
        step_s: Seconds of a training step, its share of telemetry and probes included.
        validation_s: Seconds of one validation.
    """

    step_s: float
    validation_s: float


@dataclass(frozen=True)
class Pace:
    """How long runs take on a device.

    Attributes:
        kinds: By what `cost_kind` returns.
        job_s: Seconds that a job takes to start.
        source: Where the numbers come from, in words.
    """

    kinds: Mapping[str, KindPace]
    job_s: float
    source: str


@dataclass(frozen=True)
class Cost:
    """What some runs cost.

    Attributes:
        runs: Runs that are trained.
        tokens: Tokens that they train on.
        flops: FLOPs of their training; validation and probes are left out.
        seconds: Seconds of one job after the other, starts included.
    """

    runs: int = 0
    tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        """Return the cost of both."""
        return Cost(
            self.runs + other.runs,
            self.tokens + other.tokens,
            self.flops + other.flops,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Part:
    """One block of the config in one stage.

    Attributes:
        stage: `tuning` or `evaluation`.
        block: `baseline`, or `grid N`, counted from 1.
        storages: Its storages.
        updates: Its updates.
        layers: Its types of layers.
        arms: Arms that no block before it names, each a job; in tuning, cells.
        costs: At least, as expected and at most. They differ in tuning alone.
    """

    stage: Stage
    block: str
    storages: tuple[str, ...]
    updates: tuple[str, ...]
    layers: tuple[str, ...]
    arms: int
    costs: Mapping[Bound, Cost]


@dataclass(frozen=True)
class Estimate:
    """What a study costs.

    Attributes:
        study: Its name.
        parameters: The model's parameters.
        flops_per_token: FLOPs of training on a token.
        parts: The blocks' tuning, then their evaluation, each in the order of the config.
        pace: What hours rest on.
        jobs: Jobs at a time.
        usd_per_hour: The machine's price.
    """

    study: str
    parameters: int
    flops_per_token: int
    parts: tuple[Part, ...]
    pace: Pace
    jobs: int
    usd_per_hour: float

    def total(self, bound: Bound, stage: Stage | None = None) -> Cost:
        """Return the cost of a stage, or of the whole study."""
        return sum((part.costs[bound] for part in self.parts if stage in (None, part.stage)), Cost())

    def hours(self, cost: Cost) -> float:
        """Return the hours that a cost takes with every job slot in use."""
        return cost.seconds / self.jobs / 3600

    def usd(self, cost: Cost) -> float:
        """Return a cost in US dollars."""
        return self.hours(cost) * self.usd_per_hour

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain data, for JSON."""
        return {
            **{name: getattr(self, name) for name in ("study", "parameters", "flops_per_token", "jobs")},
            "usd_per_hour": self.usd_per_hour,
            "pace": {**asdict(self.pace), "kinds": {name: asdict(kind) for name, kind in self.pace.kinds.items()}},
            "parts": [
                {**vars(part), "costs": {bound: self._amounts(part.costs[bound]) for bound in BOUNDS}}
                for part in self.parts
            ],
            "stages": {stage: {b: self._amounts(self.total(b, stage)) for b in BOUNDS} for stage in STAGES},
            "total": {bound: self._amounts(self.total(bound)) for bound in BOUNDS},
        }

    def _amounts(self, cost: Cost) -> dict[str, float]:
        return {**asdict(cost), "hours": self.hours(cost), "usd": self.usd(cost)}


def parameter_count(model: ModelConfig, vocab_size: int) -> int:
    """Return the number of the GPT's parameters, without building it."""
    width, bias = model.n_embd, model.bias
    norm = width * (1 + bias)
    block = 12 * width**2 + 9 * width * bias + 2 * norm
    embeddings = (vocab_size * (1 if model.tie_weights else 2) + model.block_size) * width
    return embeddings + model.n_layer * block + norm


def flops_per_token(model: ModelConfig, vocab_size: int) -> int:
    """Return the FLOPs of training on one token: forward and backward passes of matrix products, attention included.

    6 N + 12 L H Q T of PaLM (Chowdhery et al. 2022, appendix B; Kaplan et al. 2020, section 2.1), with N the parameters
    of matrix products: look-ups of embeddings multiply nothing. Attention counts whole, though half is masked.
    """
    products = 12 * model.n_layer * model.n_embd**2 + vocab_size * model.n_embd
    return 6 * products + 12 * model.n_layer * model.n_embd * model.block_size


def tokens_a_step(study: StudyConfig) -> int:
    """Return the training tokens of a step."""
    return study.training.batch_size * study.training.grad_accumulation * study.model.block_size


def cost_kind(arm: ArmConfig) -> str:
    """Return the kind of cell that an arm is: the formats of a kind run the same kernels, and take as long."""
    if arm.float_format().is_reference:
        return "reference format"
    spec = arm.update_spec
    plain = spec.is_plain or spec.optimizer == "rung_sgd"
    return f"{spec.optimizer if plain else f'{spec.optimizer} ({spec.metric})'}, {arm.storage}"


def kinds_of_cells(study: StudyConfig) -> dict[str, ArmConfig]:
    """Return the first arm of every kind."""
    kinds: dict[str, ArmConfig] = {}
    for arm in study_arms(study):
        kinds.setdefault(cost_kind(arm), arm)
    return kinds


def stated_pace(study: StudyConfig, tokens_per_s: float, source: str) -> Pace:
    """Return the pace that follows from a throughput.

    Args:
        study: The study.
        tokens_per_s: Training tokens a second of one run; a validation token costs a third of one, the forward pass.
        source: Where the throughput comes from, in words.
    """
    training = study.training
    validated = training.eval_batches * training.batch_size * study.model.block_size
    kind = KindPace(tokens_a_step(study) / tokens_per_s, validated / (3 * tokens_per_s))
    return Pace(dict.fromkeys(kinds_of_cells(study), kind), study.budget.job_overhead_s, source)


def estimate(study: StudyConfig, pace: Pace) -> Estimate:
    """Return what a study costs.

    Args:
        study: The study.
        pace: How long its kinds of cells take.
    """
    vocab_size = VOCAB_SIZES[study.corpus.tokenizer]
    parts = [part for block in _blocks(study) for part in _parts_of(study, pace, *block)]
    return Estimate(
        study=study.study,
        parameters=parameter_count(study.model, vocab_size),
        flops_per_token=flops_per_token(study.model, vocab_size),
        parts=tuple(part for stage in STAGES for part in parts if part.stage == stage),
        pace=pace,
        jobs=study.budget.jobs,
        usd_per_hour=study.budget.usd_per_hour,
    )


def check_budget(study: StudyConfig) -> None:
    """Refuse a study that may cost more than it is allowed to, at its stated throughput; without a limit, nothing.

    Raises:
        ConfigError: The estimate, at most, is above `budget.usd`.
    """
    rate = study.budget.tokens_per_s
    if rate is not None:
        require_within(study, estimate(study, stated_pace(study, rate, "stated")))


def require_within(study: StudyConfig, found: Estimate) -> None:
    """Refuse an estimate that is, at most, above the study's limit.

    Raises:
        ConfigError: It is.
    """
    limit = study.budget.usd
    expected, most = (found.usd(found.total(bound)) for bound in ("expected", "most"))
    if limit is not None and most > limit:
        raise ConfigError(
            "budget.usd",
            f"study {study.study!r} is estimated to cost up to {most:.2f} US dollars ({expected:.2f} expected), and "
            f"{limit:.2f} are allowed",
            "Lower its steps, seeds, learning rates or cells (`altgrad budget` shows what each part costs), or raise "
            "budget.usd in its file; null there is no limit",
        )


Share = tuple[ArmConfig, int, bool]
"""An arm, how many of its runs a block is the first to name, and whether it is the first to name the arm."""


def _blocks(study: StudyConfig) -> Iterator[tuple[str, BaselineConfig | GridConfig, list[Share]]]:
    """Yield each block's name and config, and its share of the arms: what several name belongs to the first."""
    seeds: dict[str, int] = {}
    blocks: tuple[BaselineConfig | GridConfig, ...] = (study.baseline, *study.grids)
    for number, block in enumerate(blocks):
        arms = study_arms(study.model_copy(update={"grids": study.grids[:number]}))
        shares = [(arm, len(arm.seeds) - seeds.get(arm.arm, 0), arm.arm not in seeds) for arm in arms]
        seeds = {arm.arm: len(arm.seeds) for arm in arms}
        yield f"grid {number}" if number else "baseline", block, [share for share in shares if share[1]]


def _parts_of(
    study: StudyConfig, pace: Pace, name: str, block: BaselineConfig | GridConfig, shares: list[Share]
) -> Iterator[Part]:
    """Yield a block's tuning, where it has any, and its evaluation."""
    factors: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = (("master",), (BASELINE_UPDATE,), ("all",))
    if isinstance(block, GridConfig):
        factors = (block.storages, block.updates, block.layers)
    if block.lrs is None and study.tuning is not None:
        cells = [arm for arm, _, new in shares if new]
        trials = _trials(study.tuning)
        tuned = {bound: _cost(study, pace, [(arm, trials[bound], True) for arm in cells]) for bound in BOUNDS}
        yield Part("tuning", name, *factors, len(cells), tuned)
    evaluated = dict.fromkeys(BOUNDS, _cost(study, pace, shares))
    yield Part("evaluation", name, *factors, sum(new for _, _, new in shares), evaluated)


def _trials(rule: TuningConfig) -> dict[Bound, int]:
    """Return how many trials the search of one cell takes."""
    expected = min(rule.max_lrs, rule.start + EXPECTED_EXTENSION)
    lrs: dict[Bound, int] = {"least": rule.start, "expected": expected, "most": rule.max_lrs}
    return {bound: number * len(rule.seeds) for bound, number in lrs.items()}


def _cost(study: StudyConfig, pace: Pace, shares: list[Share]) -> Cost:
    """Return the cost of some runs of some arms, and of starting the jobs of those arms that are new."""
    tokens = study.training.steps * tokens_a_step(study)
    flops = float(tokens * flops_per_token(study.model, VOCAB_SIZES[study.corpus.tokenizer]))
    cost = Cost()
    for arm, runs, starts in shares:
        seconds = runs * _run_s(study, pace.kinds[cost_kind(arm)]) + starts * pace.job_s
        cost += Cost(runs, runs * tokens, runs * flops, seconds)
    return cost


def _run_s(study: StudyConfig, kind: KindPace) -> float:
    """Return the seconds of a run in a job that has started."""
    training = study.training
    validations = -(-training.steps // training.eval_every)  # one more at the end, where none is due
    return training.steps * kind.step_s + validations * kind.validation_s + study.budget.run_overhead_s
