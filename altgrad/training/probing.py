"""Probes of a run under way, every so many steps: on copies of the model, with random numbers of their own.

A run ends with the same bytes of weights whether or not it is probed. What a group costs is measured.
"""

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from altgrad.data.batches import Batch, BatchSampler
from altgrad.data.store import Corpus
from altgrad.models.gpt import GPT, MLP
from altgrad.nn.surgery import dequantize_model
from altgrad.study.runs import RunConfig
from altgrad.telemetry.correlation import magnitude_correlation, stiffness_correlation
from altgrad.telemetry.counters import TrackedWeight
from altgrad.telemetry.descent import update_statistics
from altgrad.telemetry.gradients import dead_fraction, gradient_cosine, gradient_snr_db
from altgrad.telemetry.hessian import hessian_spectrum
from altgrad.telemetry.probes import weight_statistics
from altgrad.telemetry.rank import rank_statistics
from altgrad.telemetry.rank_trend import loss_for, rank_warning
from altgrad.telemetry.recorder import Recorder
from altgrad.training.environment import Environment, synchronize
from altgrad.training.setup import Parts, derive_seed

GROUPS = ("gradients", "weights", "updates", "rank", "hessian")
"""The groups of probes, as the config names them."""

WARNED = ("stable_rank", "effective_rank")
"""Ranks whose trend is watched (RANK-03)."""

SAMPLE = 1 << 16
"""Elements of a weight that correlations and statistics of updates look at, evenly spaced: a share of them is off by
0.004 at most, at 95 %. Norms, cosines, alignment, codes and ranks look at all."""

HESSIAN_SEQUENCES = 4
"""Sequences of the probe batch that the Hessian is of: its products cost several training steps each."""

HESSIAN_STEPS, HESSIAN_VECTORS, HESSIAN_TOP = 12, 2, 5

Event = dict[str, Any]


class Prober:
    """Probes a run and writes what it finds.

    Args:
        run: The run; `telemetry.probes` says how often.
        corpus: Gives the probe batch, the same in every cell of a seed.
        environment: Where the run computes.
        recorder: Takes the rows.
    """

    def __init__(self, run: RunConfig, corpus: Corpus, environment: Environment, recorder: Recorder) -> None:
        self._run, self._environment, self._recorder = run, environment, recorder
        shape = (run.training.batch_size, run.model.block_size)
        self._batch = BatchSampler(corpus.train, *shape, seed=derive_seed(run.seed, "probes")).next()
        self._ranks: dict[str, dict[str, list[tuple[int, float]]]] = {metric: {} for metric in WARNED}
        self._warned: set[str] = set()
        self.seconds: dict[str, float] = defaultdict(float)

    def before_update(self, step: int, parts: Parts) -> dict[str, float]:
        """Probe the update that is about to be made.

        Args:
            step: The number of the step, from 1.
            parts: Model and optimizer; gradients are in place.

        Returns:
            Means over the tensors, for the mirror.
        """
        if not self._due("updates", step):
            return {}
        with self._timed("updates"):
            previews = {str(name): update for name, update in parts.optimizer.preview_updates().items()}
            found = {
                w.name: update_statistics(*_sampled(w, previews[w.name]), w.scaler.fmt, _sampled_scale(w))
                for w in parts.weights
            }
            return self._write(step, "update", found)

    def after_update(self, step: int, parts: Parts) -> tuple[dict[str, float], list[Event]]:
        """Probe the weights that a step has left.

        Args:
            step: Steps done.
            parts: Model and optimizer.

        Returns:
            Means over the tensors, for the mirror; and events.
        """
        means: dict[str, float] = {}
        events: list[Event] = []
        if self._due("weights", step):
            with self._timed("weights"):
                means |= self._write(step, "weight", _of_weights(parts, weight_statistics))
        if self._due("rank", step):
            with self._timed("rank"):
                found = {w.name: rank_statistics(w.parameter.detach()) for w in parts.weights}
                events = self._watch(step, found)
                means |= self._write(step, "weight", found)
        if self._due("gradients", step):
            with self._timed("gradients"):
                means |= self._gradients(step, parts)
        if self._due("hessian", step):
            with self._timed("hessian"):
                means |= self._hessian(step, parts)
        return means, events

    def take_seconds(self) -> dict[str, float]:
        """Return the seconds that each group has taken since the last call."""
        taken = {group: self.seconds[group] for group in GROUPS}
        self.seconds.clear()
        return taken

    def state_dict(self) -> dict[str, Any]:
        """Return the ranks seen so far, for the restart state."""
        return {"ranks": copy.deepcopy(self._ranks), "warned": sorted(self._warned)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._ranks, self._warned = copy.deepcopy(state["ranks"]), set(state["warned"])

    def _due(self, group: str, step: int) -> bool:
        every: int = getattr(self._run.telemetry.probes, group)
        return every > 0 and step % every == 0

    def _write(self, step: int, scope: str, found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Write one row a tensor and metric; return each metric's mean over the tensors, histograms left out."""
        values: dict[str, list[float]] = defaultdict(list)
        for name, metrics in found.items():
            self._recorder.add(step, scope, name, metrics)
            for metric, value in metrics.items():
                if "_bin_" not in metric:
                    values[f"{scope}/{metric}"].append(value)
        return {metric: sum(series) / len(series) for metric, series in values.items()}

    def _watch(self, step: int, found: Mapping[str, dict[str, float]]) -> list[Event]:
        """Add to each weight's series of ranks; a trend that warns for the first time is an event."""
        events = []
        for name, metrics in found.items():
            warns = False
            for metric in WARNED:
                series = self._ranks[metric].setdefault(name, [])
                series.append((step, metrics[metric]))
                steps, values = zip(*series, strict=True)
                warning = rank_warning(steps, values, self._run.training.steps, loss_for(name))
                warns |= warning is not None
                if warning is not None and f"{name}/{metric}" not in self._warned:
                    self._warned.add(f"{name}/{metric}")
                    evidence = {key: float(f"{value:.4g}") for key, value in warning._asdict().items()}
                    events.append({"step": step, "event": "rank_warning", "tensor": name, "metric": metric, **evidence})
            metrics["rank_warning"] = float(warns)
        return events

    def _gradients(self, step: int, parts: Parts) -> dict[str, float]:
        """Compare gradients on the probe batch with those of the same weights in FP32 (METR-05, GRAD-02)."""
        model, batch = copy.deepcopy(parts.model).eval(), self._on_device(self._batch)
        names = [w.name for w in parts.weights]
        with _hidden_units(model) as hidden, self._environment.autocast_context():
            quantized = _gradients_of(model, batch, names)
        dequantize_model(model, keep_masters=True)
        reference = _gradients_of(model, batch, names)
        found = {w.name: _of_gradients(w, quantized[w.name], reference[w.name]) for w in parts.weights}
        dead = {name: {"dead_fraction": dead_fraction(units)} for name, units in hidden.items()}
        return self._write(step, "gradient", found) | self._write(step, "input", dead)

    def _hessian(self, step: int, parts: Parts) -> dict[str, float]:
        """Write the spectrum of the loss's Hessian in the weights in use, on a part of the probe batch (DIAG-05)."""
        model = dequantize_model(copy.deepcopy(parts.model).eval())
        x, y = (tokens[:HESSIAN_SEQUENCES] for tokens in self._on_device(self._batch))
        generator = torch.Generator().manual_seed(derive_seed(self._run.seed, f"hessian {step}"))
        spectrum = hessian_spectrum(
            lambda: model(x, y)[1],
            list(model.parameters()),
            steps=HESSIAN_STEPS,
            vectors=HESSIAN_VECTORS,
            top=HESSIAN_TOP,
            generator=generator,
        )
        metrics = {f"hessian_top_{i}": value for i, value in enumerate(spectrum.top.tolist(), 1)}
        for kind, table in (("node", spectrum.nodes), ("weight", spectrum.weights)):
            for v, row in enumerate(table.tolist(), 1):
                metrics |= {f"hessian_{kind}_{v}_{j}": value for j, value in enumerate(row, 1)}
        self._recorder.add(step, "run", "", metrics)
        return {name: value for name, value in metrics.items() if "_top_" in name}

    def _on_device(self, batch: Batch) -> Batch:
        x, y = (tokens.to(self._environment.device) for tokens in batch)
        return x, y

    @contextmanager
    def _timed(self, group: str) -> Iterator[None]:
        synchronize(self._environment.device)
        started = time.perf_counter()
        yield
        synchronize(self._environment.device)
        self.seconds[group] += time.perf_counter() - started


def _of_weights(parts: Parts, statistics: Callable[..., dict[str, float]]) -> dict[str, dict[str, float]]:
    return {w.name: statistics(w.parameter.detach(), w.scaler.fmt, w.scaler.scale) for w in parts.weights}


def _of_gradients(weight: TrackedWeight, g: Tensor, reference: Tensor) -> dict[str, float]:
    """Return what a probe says of one weight's gradient, by the metric's name; correlations of a sample."""
    found = {"cosine": gradient_cosine(g, reference), "snr_db": gradient_snr_db(g, reference)}
    fmt = weight.scaler.fmt
    if not fmt.is_reference:
        sample = (*_sampled(weight, g), fmt, _sampled_scale(weight))
        found["stiffness_correlation"] = stiffness_correlation(*sample)
        found["magnitude_correlation"] = magnitude_correlation(*sample)
    return found


def _sampled(weight: TrackedWeight, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return every n-th element of a tensor of a weight's shape, and of the weight, flat: about `SAMPLE` of them."""
    stride = max(1, other.numel() // SAMPLE)
    return other.flatten()[::stride], weight.parameter.detach().flatten()[::stride]


def _sampled_scale(weight: TrackedWeight) -> Tensor:
    """Return the scale for what `_sampled` returns: one for all, or one for each element."""
    scale = weight.scaler.scale
    return scale if not scale.ndim else _sampled(weight, scale.expand(weight.parameter.shape))[0]


def _gradients_of(model: GPT, batch: Batch, names: list[str]) -> dict[str, Tensor]:
    """Return the gradients of a batch's loss in some parameters, by name."""
    parameters = dict(model.named_parameters())
    loss = model(*batch)[1]
    assert loss is not None
    return dict(zip(names, torch.autograd.grad(loss, [parameters[name] for name in names]), strict=True))


@contextmanager
def _hidden_units(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """While open, keep the activations of every MLP's hidden units, by the name of the weight that reads them."""
    kept: dict[str, Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, MLP):

            def keep(_: nn.Module, __: object, units: Tensor, place: str = f"{name}.c_proj.weight") -> None:
                kept[place] = units.detach()

            handles.append(module.gelu.register_forward_hook(keep))
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
