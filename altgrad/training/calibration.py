"""How fast a study trains on this device: some steps of each kind of cell, on made-up tokens.

A kind goes through the parts of a real run, telemetry included. Nothing is kept; what compiles is left out of the
steps' times and measured apart, in a process of its own, as a job sees it.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from altgrad.data.store import Corpus
from altgrad.study.budget import VOCAB_SIZES, KindPace, Pace, kinds_of_cells
from altgrad.study.config import StudyConfig
from altgrad.study.grid import canonical_json
from altgrad.study.runs import ArmConfig, RunConfig
from altgrad.study.sections import ProbesConfig, WandbConfig
from altgrad.telemetry.live import Live
from altgrad.telemetry.mirror import Mirror
from altgrad.telemetry.recorder import Recorder
from altgrad.training.environment import Environment, prepare_process, resolve_environment
from altgrad.training.loop import Trainer
from altgrad.training.probing import GROUPS, Prober
from altgrad.training.progress import Progress
from altgrad.training.setup import build, build_model

WINDOW = 5
"""Steps of a window here, the first of which warms up; a real window's end is spread over the real number."""

MAX_WINDOWS = 8
MAX_SECONDS = 4.0
"""A kind's steps end after so many windows, or at the first window's end after so many seconds."""

EVAL_BATCHES, EVALUATIONS = 2, 3
"""Batches of a validation here, and how many are timed."""

TOKENS = 1 << 16
ENDLESS = 10**6
ANY_LR = 1e-3

Clock = Callable[[], float]


def measure_pace(
    study: StudyConfig,
    say: Callable[[str], None],
    clock: Clock = time.perf_counter,
    start_s: Callable[[ArmConfig, str], float] | None = None,
) -> Pace:
    """Measure how long the steps, validations and job starts of a study take on this device.

    Args:
        study: The study. No corpus is needed: tokens are drawn at random from its vocabulary.
        say: Takes messages for the user.
        clock: Seconds.
        start_s: Seconds to the end of a job's first window, from a cell and its tokenizer; None is `job_start_s`.

    Raises:
        DeviceError: The study asks for a device that is not here.
    """
    kinds = kinds_of_cells(study)
    probed = next((kind for kind, arm in kinds.items() if not arm.float_format().is_reference), next(iter(kinds)))
    steps: dict[str, tuple[float, float]] = {}
    probes_s, device = 0.0, ""
    with tempfile.TemporaryDirectory() as folder:
        for number, (kind, arm) in enumerate(kinds.items(), 1):
            say(f"measuring {number} of {len(kinds)}: {kind}")
            bench = _start(arm, study.corpus.tokenizer, Path(folder))
            steps[kind] = _step_s(bench.trainer, arm.telemetry.window, clock), _validation_s(bench, clock)
            if kind == probed:
                say("measuring probes")
                probes_s = _probes_s(bench)
            bench.progress.close()
            device = bench.environment.device_name
    say("measuring the start of a job")
    job_s = (start_s or job_start_s)(kinds[probed], study.corpus.tokenizer) - WINDOW * steps[probed][0]
    return Pace(
        {kind: KindPace(step_s + probes_s, validation_s) for kind, (step_s, validation_s) in steps.items()},
        max(0.0, job_s),
        f"measured on {device}",
    )


def job_start_s(arm: ArmConfig, tokenizer: str) -> float:
    """Return the seconds that a new process takes to import, to compile and to warm up on a cell.

    Args:
        arm: The cell.
        tokenizer: Of its corpus.
    """
    code = f"import sys; from altgrad.training.calibration import warm_up; warm_up(sys.stdin.read(), {tokenizer!r})"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], input=canonical_json(arm), text=True, check=True)
    return time.perf_counter() - started


def warm_up(arm: str, tokenizer: str) -> None:
    """Do what a job does up to the end of its first steps and validation.

    Args:
        arm: The cell, as JSON.
        tokenizer: Of its corpus.
    """
    with tempfile.TemporaryDirectory() as folder:
        _start(ArmConfig.model_validate_json(arm), tokenizer, Path(folder)).progress.close()


@dataclass(frozen=True)
class _Bench:
    """A run under way that has compiled what it needs."""

    arm: ArmConfig
    corpus: Corpus
    environment: Environment
    trainer: Trainer
    recorder: Recorder
    progress: Progress


def _start(arm: ArmConfig, tokenizer: str, folder: Path) -> _Bench:
    """Build a cell's run and take it through its first window and validation."""
    vocab_size = VOCAB_SIZES[tokenizer]
    tokens = np.random.default_rng(0).integers(vocab_size, size=max(TOKENS, 2 * arm.model.block_size), dtype=np.uint16)
    corpus = Corpus(tokens, tokens, {"tokenizer": {"vocab_size": vocab_size}}, "made up")
    run = _short_run(arm)
    model = build_model(run, vocab_size)
    real = arm.run("calibration", ANY_LR, 0)  # its length decides whether it compiles
    environment = resolve_environment(real, sum(p.numel() for p in model.parameters()))
    prepare_process(environment)
    parts = build(run, model, corpus, environment.device, environment.compiled)
    recorder = Recorder(run.run_id)
    progress = Progress(f"{arm.format} {arm.update} {arm.storage}", WINDOW * (MAX_WINDOWS + 1), 0)
    mirror = Mirror(run, folder, progress.say)
    live = Live(folder / "live.json", run.run_id, run.training.steps)
    trainer = Trainer(run, parts, corpus, environment, recorder, mirror, live, progress)
    for _ in range(WINDOW):
        trainer.advance()
    trainer.evaluate()
    return _Bench(arm, corpus, environment, trainer, recorder, progress)


def _short_run(arm: ArmConfig) -> RunConfig:
    """Return a run of the cell that never ends, has short windows, and neither probes, mirrors nor validates."""
    training = arm.training.model_copy(
        update={
            "steps": ENDLESS,
            "eval_every": ENDLESS,
            "eval_batches": min(EVAL_BATCHES, arm.training.eval_batches),
            "mantissa_shift": None,
        }
    )
    telemetry = arm.telemetry.model_copy(
        update={"window": WINDOW, "probes": _probes(()), "wandb": WandbConfig(mode="disabled")}
    )
    run = arm.run("calibration", arm.lr or ANY_LR * arm.update_spec.lr_scale, 0)
    return run.model_copy(update={"training": training, "telemetry": telemetry})


def _probes(due: Sequence[str]) -> ProbesConfig:
    """Return the settings that probe these groups at every step, and no others."""
    return ProbesConfig.model_validate({group: int(group in due) for group in GROUPS})


def _step_s(trainer: Trainer, window: int, clock: Clock) -> float:
    """Return the median seconds of a step, with its share of what ends a window of so many steps."""
    inner: list[float] = []
    last: list[float] = []
    begun = clock()
    while not last or (len(last) < MAX_WINDOWS and clock() - begun < MAX_SECONDS):
        for position in range(1, WINDOW + 1):
            started = clock()
            trainer.advance()
            (last if position == WINDOW else inner).append(clock() - started)
    return median(inner) + max(0.0, median(last) - median(inner)) / window


def _validation_s(bench: _Bench, clock: Clock) -> float:
    """Return the seconds of one validation over all batches that the study asks for."""
    spent = []
    for _ in range(EVALUATIONS):
        started = clock()
        bench.trainer.evaluate()
        spent.append(clock() - started)
    batches = bench.arm.training.eval_batches
    return median(spent) * batches / min(EVAL_BATCHES, batches)


def _probes_s(bench: _Bench) -> float:
    """Return the seconds of a run's probes, spread over its steps."""
    every: dict[str, int] = bench.arm.telemetry.probes.model_dump()
    probes = {group: bench.arm.training.steps // steps for group, steps in every.items() if steps}
    due = [group for group, number in probes.items() if number]
    run = bench.trainer.run
    telemetry = run.telemetry.model_copy(update={"probes": _probes(due)})
    prober = Prober(run.model_copy(update={"telemetry": telemetry}), bench.corpus, bench.environment, bench.recorder)
    for _ in range(2):  # the first warms up
        prober.take_seconds()
        prober.before_update(1, bench.trainer.parts)
        prober.after_update(1, bench.trainer.parts)
    seconds = prober.take_seconds()
    return sum(probes[group] * seconds[group] for group in due) / bench.arm.training.steps
