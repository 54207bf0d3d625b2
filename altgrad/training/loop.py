"""The training loop, readable from top to bottom."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from altgrad.data.batches import eval_batches
from altgrad.data.store import Corpus
from altgrad.nn.casts import named_casts
from altgrad.numerics.catalog import formats
from altgrad.study.runs import RunConfig
from altgrad.telemetry.counters import Measured, WindowCounters, gradient_norms, read_together, write_gradient_norms
from altgrad.telemetry.live import Live
from altgrad.telemetry.mirror import Mirror
from altgrad.telemetry.recorder import Recorder
from altgrad.training.clipping import PartitionClip
from altgrad.training.environment import Environment
from altgrad.training.evaluation import perplexity, validation_loss
from altgrad.training.guards import NonfiniteGuard
from altgrad.training.probing import Prober
from altgrad.training.progress import Progress
from altgrad.training.schedule import lr_factor
from altgrad.training.setup import Parts, rebuild
from altgrad.training.shift import ShiftGuard, shifted
from altgrad.training.window import OpenWindow, Stopwatch

RunState = dict[str, Any]


class Trainer:
    """Trains one run, step by step, and can be stopped and restored between any two steps.

    Args:
        run: The run.
        parts: Model, optimizer and batches.
        corpus: The prepared corpus.
        environment: Where it computes.
        recorder: Takes telemetry.
        mirror: Shows run-level metrics.
        live: The view for whoever watches.
        progress: The line that a person watches.
    """

    def __init__(
        self,
        run: RunConfig,
        parts: Parts,
        corpus: Corpus,
        environment: Environment,
        recorder: Recorder,
        mirror: Mirror,
        live: Live,
        progress: Progress,
    ) -> None:
        training = run.training
        self.run, self.step, self.tokens = run, 0, 0
        self.wall_s, self.probe_s = 0.0, 0.0
        self.events: list[dict[str, Any]] = []
        self.shifts: dict[str, str] = {}
        self.clipped = 0
        self.diverged: str | None = None
        self.val_loss = math.nan
        self.guard = NonfiniteGuard(training.early_stop)
        self.prober = Prober(run, corpus, environment, recorder)
        self._shift_guard = None if training.mantissa_shift is None else ShiftGuard(training.mantissa_shift)
        self._corpus, self._environment = corpus, environment
        self._recorder, self._mirror, self._live, self._progress = recorder, mirror, live, progress
        self._open = OpenWindow()
        self._grad_norm = math.nan
        self._eval_batches = eval_batches(corpus.val, training.batch_size, run.model.block_size, training.eval_batches)
        tokens_a_step = training.batch_size * training.grad_accumulation * run.model.block_size
        self._watch = Stopwatch(environment.device, tokens_a_step, recorder)
        self._take_parts(parts)

    def _take_parts(self, parts: Parts) -> None:
        """Begin to train with some parts, at the start or after a shift of formats."""
        self.parts = parts
        self._counters = WindowCounters(parts.weights, list(named_casts(parts.model)), self._recorder)
        quantized = {w.name: w.scaler.fmt for w in parts.weights if not w.scaler.fmt.is_reference}
        self._clip = PartitionClip(quantized) if self.run.training.partition_clip else None
        self._peak_lrs = [float(group["lr"]) for group in parts.optimizer.param_groups]
        # Gradients are added up in place from the first step on, so that a resumed run adds in the same order.
        parts.optimizer.hold_gradients()
        mode = "reduce-overhead" if self._environment.graphs else "default"
        self._forward: Callable[..., tuple[Tensor, Tensor]] = (
            torch.compile(parts.model, dynamic=False, mode=mode) if self._environment.compiled else parts.model
        )

    @property
    def train_loss(self) -> float:
        """Mean training loss in nats over the last window, so far; nonfinite steps are left out, and counted apart."""
        return self._open.train_loss

    def done(self) -> bool:
        """Return whether the run has ended, by its steps or by divergence."""
        return self.diverged is not None or self.step >= self.run.training.steps

    def advance(self) -> None:
        """Make one optimizer step, with the evaluation and telemetry that are due after it."""
        started = time.perf_counter()
        training = self.run.training
        if self.step % self.run.telemetry.window == 0:
            self._open = OpenWindow()
        loss = self._gradients()
        self._update(loss)
        self.step += 1
        self._watch.step_done()
        self._note_divergence()
        last = self.done()
        self._probe()
        if self.step % self.run.telemetry.window == 0 or last:
            self._close_window()
        self.parts.optimizer.zero_grad(set_to_none=False)
        self.wall_s += time.perf_counter() - started
        if (self.step % training.eval_every == 0 or last) and self.diverged is None:
            self.evaluate()
        self._progress.update(self.step, self.train_loss, self.val_loss, self.tokens, self.wall_s)

    def _note_divergence(self) -> None:
        kind = self.guard.diverged()
        if kind is not None and self.diverged is None:
            self.diverged = kind
            self._note({"step": self.step, "event": "diverged", "kind": kind})
            self._progress.say(f"{self.run.run_id}: diverged at step {self.step} (nonfinite {kind}); kept as a result")

    def _note_clipping(self, elements: int) -> None:
        """Add up the gradient elements that partition-relative clipping held; the first ones are an event."""
        if elements and not self.clipped:
            self._note({"step": self.step, "event": "partition_clip", "elements": elements})
        self.clipped += elements

    def _note(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def _gradients(self) -> Tensor:
        """Run the forward and backward passes of one step; return its mean loss, on the device."""
        training, model = self.run.training, self.parts.model
        model.train()
        total = torch.zeros((), device=self._environment.device)
        for _ in range(training.grad_accumulation):
            with self._watch.timed("data_s"):
                x, y = (t.to(self._environment.device) for t in self.parts.batches.next())
            with self._watch.timed("forward_backward_s"):
                with self._environment.autocast_context():
                    _, loss = self._forward(x, y)
                loss = loss / training.grad_accumulation
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
            self.tokens += x.numel()
        return total

    def _update(self, loss_tensor: Tensor) -> None:
        """Clip and apply the gradients, unless they or the loss are nonfinite: then the weights stay as they are."""
        gradients = {n: p.grad for n, p in self.parts.model.named_parameters() if p.grad is not None}
        with self._watch.timed("optimizer_s"):
            norm = torch.nn.utils.get_total_norm(gradients.values())
            # The one read of a step that is not a window's last: whether to apply it.
            loss, self._grad_norm = torch.stack([loss_tensor, norm]).tolist()
            self._open.losses.append(loss)
            finite = self._observe("loss", loss) & self._observe("gradient", self._grad_norm)
        with self._watch.timed("telemetry_s"):
            if not finite:
                self._open.note_nonfinite(self._recorder, self.step + 1, gradients)
            elif (self.step + 1) % self.run.telemetry.window == 0:
                self._open.norms = (list(gradients), gradient_norms(gradients))
        if finite:
            self._apply(gradients, norm)

    def _apply(self, gradients: dict[str, Tensor], norm: Tensor) -> None:
        training, optimizer = self.run.training, self.parts.optimizer
        with self._watch.timed("optimizer_s"):
            if self._clip is not None:
                self._clip.clip(gradients)
                norm = torch.nn.utils.get_total_norm(gradients.values())
            if training.grad_clip:
                torch.nn.utils.clip_grads_with_norm_(self.parts.model.parameters(), training.grad_clip, norm)
            factor = lr_factor(self.step, training)
            for group, peak in zip(optimizer.param_groups, self._peak_lrs, strict=True):
                group["lr"] = peak * factor
        self._mirrored(self.step + 1, self.prober.before_update(self.step + 1, self.parts))
        with self._watch.timed("optimizer_s"):
            optimizer.step()
            self._open.applied += 1

    def _observe(self, kind: str, value: float) -> bool:
        """Show a step's value to the guard; the first of a streak of nonfinite ones is an event."""
        finite = self.guard.observe(kind, value)
        if not finite and self.guard.streaks[kind] == 1:
            self._note({"step": self.step + 1, "event": "nonfinite", "kind": kind})
        return finite

    def _probe(self) -> None:
        """Probe what the step has left."""
        means, events = self.prober.after_update(self.step, self.parts)
        self._mirrored(self.step, means)
        for event in events:
            self._note(event)

    def _mirrored(self, step: int, metrics: dict[str, float]) -> None:
        if metrics:
            self._mirror.log(step, metrics)

    def _close_window(self) -> None:
        """Write the window's rows; all that they say of tensors comes from the device in one transfer."""
        with self._watch.timed("telemetry_s"):
            optimizer, device = self.parts.optimizer, self._environment.device
            names, norms = self._open.norms or ([], torch.zeros(0, 2, device=device))
            weights = [w.name for w in self.parts.weights]
            clipped = torch.zeros(0) if self._clip is None else self._clip.take(weights)
            counts, sums = (
                {str(k): v for k, v in taken.items()} for taken in (optimizer.take_counts(), optimizer.take_sums())
            )
            measured = self._counters.measure(counts, sums, clipped)
            finite, norms, *parts = read_together(self._weights_are_finite(), norms, *measured)
            write_gradient_norms(self._recorder, self.step, names, norms)
            read = Measured(*parts)
            rates = self._counters.write(self.step, self._open.applied, read)
            self._note_clipping(int(read.clipped.sum()))
            # A window that ends with nonfinite weights is one more in the guard's streak.
            self._observe("weight", 0.0 if finite else math.nan)
            self._note_divergence()
            metrics = self._write_run_metrics(rates)
        seconds = self.prober.take_seconds()
        self.probe_s += sum(seconds.values())
        self.wall_s -= sum(seconds.values())
        rate = self._watch.write(self.step, seconds)
        self._live.update(self.step, {**metrics, "val_loss": self.val_loss}, self.events, rate)
        if self._shift_guard is not None and self.diverged is None:
            self._shift(self._counters.stall_ratios(read.counts))

    def _write_run_metrics(self, rates: dict[str, float]) -> dict[str, float]:
        window = self._open
        for step, loss in enumerate(window.losses, self.step - len(window.losses) + 1):
            self._recorder.add(step, "run", "", {"step_loss": loss})
        metrics = {
            "train_loss": self.train_loss,
            "train_perplexity": perplexity(self.train_loss),
            "lr": self.run.lr * lr_factor(self.step - 1, self.run.training),
            "grad_norm": self._grad_norm,
            "nonfinite": float(len(window.losses) - window.applied),
            "epoch": self.tokens / len(self._corpus.train),
            **rates,
        }
        self._recorder.add(self.step, "run", "", metrics)
        self._mirror.log(self.step, metrics)
        return metrics

    def _shift(self, stall_ratios: dict[str, float]) -> None:
        """Shift the formats of the tensors whose time has come (STAB-06)."""
        assert self._shift_guard is not None
        own = {w.name: w.scaler.fmt for w in self.parts.weights if not w.scaler.fmt.is_reference}
        due = self._shift_guard.observe(
            {name: stall_ratios[name] for name in own}, dict.fromkeys(self._open.nonfinite, True)
        )
        wanted = {}
        for name, reason in due.items():
            fmt = shifted(own[name])
            if fmt is not None:
                wanted[name] = fmt
                change = {"tensor": name, "from": own[name].name, "to": fmt.name, "reason": reason}
                self._note({"step": self.step, "event": "mantissa_shift", **change})
                self._progress.say(
                    f"{self.run.run_id}: step {self.step}: {name} shifts from {own[name].name} to {fmt.name}"
                )
        if wanted:
            self.shifts |= {name: fmt.name for name, fmt in wanted.items()}
            amax_ema = self._counters.state_dict()
            self._take_parts(rebuild(self.run, self.parts, wanted))
            self._counters.load_state_dict(amax_ema)

    def weights_finite(self) -> bool:
        """Return whether every weight is finite: only then are they worth keeping."""
        return bool(self._weights_are_finite())

    def _weights_are_finite(self) -> Tensor:
        weights = [p.detach() for p in self.parts.model.parameters()]
        return torch.stack(torch._foreach_norm(weights, math.inf)).isfinite().all()

    def evaluate(self) -> float:
        """Return the validation loss in nats through the quantized weights, their scales frozen (METR-01)."""
        self.val_loss = validation_loss(self.parts.model, self._forward, self._eval_batches, self._environment)
        metrics = {"val_loss": self.val_loss, "val_perplexity": perplexity(self.val_loss)}
        self._recorder.add(self.step, "run", "", metrics)
        self._mirror.log(self.step, metrics)
        return self.val_loss

    def state_dict(self) -> RunState:
        """Return everything that the next step depends on."""
        state: RunState = {
            "step": self.step,
            "tokens": self.tokens,
            "wall_s": self.wall_s,
            "probe_s": self.probe_s,
            "shifts": dict(self.shifts),
            "clipped": self.clipped,
            "model": self.parts.model.state_dict(),
            "optimizer": self.parts.optimizer.state_dict(),
            "batches": self.parts.batches.state_dict(),
            "guard": self.guard.state_dict(),
            "counters": self._counters.state_dict(),
            "window": self._open.state_dict(),
            "prober": self.prober.state_dict(),
            "events": [dict(event) for event in self.events],
            "rng": torch.get_rng_state(),
        }
        if self._clip is not None:
            state["clip"] = self._clip.state_dict()
        if self._shift_guard is not None:
            state["shift_guard"] = self._shift_guard.state_dict()
        if self._environment.device == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state()
        return state

    def load_state_dict(self, state: RunState) -> None:
        """Restore what `state_dict` returned."""
        self.step, self.tokens = state["step"], state["tokens"]
        self.wall_s, self.probe_s = state["wall_s"], state["probe_s"]
        self.shifts, self.clipped = dict(state["shifts"]), state["clipped"]
        if self.shifts:
            self._take_parts(rebuild(self.run, self.parts, {name: formats[to] for name, to in self.shifts.items()}))
        self.parts.model.load_state_dict(state["model"])
        self.parts.optimizer.load_state_dict(state["optimizer"])
        self.parts.batches.load_state_dict(state["batches"])
        self.guard.load_state_dict(state["guard"])
        self._counters.load_state_dict(state["counters"])
        self._open = OpenWindow.from_state(state["window"])
        self.prober.load_state_dict(state["prober"])
        self.events = [dict(event) for event in state["events"]]
        self._live.rewind(self.step)
        if self._clip is not None:
            self._clip.load_state_dict(state["clip"])
        if self._shift_guard is not None:
            self._shift_guard.load_state_dict(state["shift_guard"])
        torch.set_rng_state(state["rng"])
        if self._environment.device == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"])
