"""What telemetry costs: training with everything on, as often as by default, against training with nothing on."""

import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import numpy as np

from altgrad.data.store import Corpus, load_corpus
from altgrad.study.runs import RunConfig
from altgrad.study.sections import ProbesConfig
from altgrad.telemetry.live import Live
from altgrad.telemetry.mirror import Mirror
from altgrad.telemetry.recorder import Recorder
from altgrad.training.environment import prepare_process, resolve_environment
from altgrad.training.loop import Trainer
from altgrad.training.probing import GROUPS, Prober
from altgrad.training.progress import Progress
from altgrad.training.setup import build, build_model
from benchmarks.rows import Result, Row, Target
from benchmarks.setting import Setting
from benchmarks.timing import interleave
from benchmarks.tiny import WINDOW, make_corpus, make_run

_SHAPE = {"n_layer": 3, "n_head": 4, "n_embd": 224, "block_size": 256}
_BATCH = 6
"""With 2.0M parameters, 775 tokens a step for each million of them, as in config.yaml: counters cost by the parameter,
training by the parameter and token."""

_TARGET = Target(1.10)
_ENDLESS = 10**6
_ROUNDS = 3
"""Probes take many steps each: few are timed, beside windows of steps with nothing on."""


def run(setting: Setting) -> Result:
    """Time whole windows of training, and each group of probes beside steps of it, eager and compiled."""
    result = Result()
    with tempfile.TemporaryDirectory() as folder:
        corpus = load_corpus(make_corpus(Path(folder)), verify=False)
        for kind in ("eager", "compiled"):
            off, on = (_Training(setting, corpus, Path(folder), kind, counted) for counted in (False, True))
            times = interleave({"off": off.window, "on": on.window}, setting, budget_s=60.0)
            counters = times.ratio("on", "off", f"training, {kind}: counters and windows / nothing on")
            probes = [_probe(setting, off, on, group, kind) for group in GROUPS]
            result.rows += [counters, *probes, _total(kind, counters, probes)]
    return result


class _Training:
    """A run under way, counted and written, or neither; no probe is due in it."""

    def __init__(self, setting: Setting, corpus: Corpus, folder: Path, kind: str, counted: bool) -> None:
        self.run = _run_config(setting, kind, window=WINDOW if counted else _ENDLESS)
        self.corpus, self.recorder = corpus, Recorder(self.run.run_id)
        model = build_model(self.run, int(corpus.meta["tokenizer"]["vocab_size"]))
        self.environment = resolve_environment(self.run, sum(p.numel() for p in model.parameters()))
        prepare_process(self.environment)
        parts = build(self.run, model, corpus, self.environment.device, self.environment.compiled)
        for group in parts.optimizer.param_groups:
            group["count"] = counted
        with redirect_stderr(StringIO()):  # no progress bar among the results
            progress = Progress(self.run.run_id, self.run.training.steps, 0)
        mirror = Mirror(self.run, folder / "wandb", progress.say)
        live = Live(folder / f"live-{kind}-{counted}.json", self.run.run_id, self.run.training.steps)
        self.trainer = Trainer(self.run, parts, corpus, self.environment, self.recorder, mirror, live, progress)

    def window(self) -> None:
        """Train for a window of steps."""
        for _ in range(WINDOW):
            self.trainer.advance()


def _run_config(setting: Setting, kind: str, window: int) -> RunConfig:
    run = make_run(_ENDLESS, setting)
    compiling = "on" if kind == "compiled" else "off"
    training = run.training.model_copy(
        update={"batch_size": _BATCH, "compile": compiling, "threads": setting.threads, "grad_clip": 1.0}
    )
    model = run.model.model_copy(update=run.model.model_dump() if setting.quick else _SHAPE)
    telemetry = run.telemetry.model_copy(update={"window": window, "probes": _only(None)})
    return run.model_copy(update={"training": training, "model": model, "telemetry": telemetry})


def _only(group: str | None) -> ProbesConfig:
    return ProbesConfig(**{name: int(name == group) for name in GROUPS})


def _probe(setting: Setting, off: _Training, on: _Training, group: str, kind: str) -> Row:
    """Return what a group of probes adds to a step, by its default cadence, as a share of a step with nothing on."""
    telemetry = on.run.telemetry.model_copy(update={"probes": _only(group)})
    prober = Prober(on.run.model_copy(update={"telemetry": telemetry}), on.corpus, on.environment, on.recorder)
    every = getattr(ProbesConfig(), group)

    def probe() -> None:
        prober.before_update(1, on.trainer.parts)
        prober.after_update(1, on.trainer.parts)

    off.trainer.advance()
    probe()
    samples: dict[str, list[float]] = {"step": [], "probe": []}
    for _ in range(_ROUNDS):
        samples["step"].append(_seconds(off.window) / WINDOW)
        samples["probe"].append(_seconds(probe))
    ratios = np.array(samples["probe"]) / np.array(samples["step"]) / every
    middle = np.median(samples["probe"]) / np.median(samples["step"]) / every
    low, high = np.quantile(ratios, (0.25, 0.75))
    return Row(
        f"training, {kind}: {group} probes every {every} steps", float(middle), "of a step", float(low), float(high)
    )


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _total(kind: str, counters: Row, probes: list[Row]) -> Row:
    """Return the ratio of all that telemetry adds, the groups' shares added up, to nothing on."""
    value, low, high = (sum(getattr(row, name) for row in (counters, *probes)) for name in ("value", "low", "high"))
    return Row(
        f"training, {kind}: everything on / nothing on",
        value,
        "x",
        low,
        high,
        _TARGET,
        note="counters and windows, and every group of probes as often as by default",
    )
