"""The training loop, readable from top to bottom."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from altgrad.data.batches import eval_batches
from altgrad.data.store import Corpus
from altgrad.study.config import RunConfig
from altgrad.telemetry.counters import WindowCounters, gradient_norms, read_together, write_gradient_norms
from altgrad.telemetry.mirror import Mirror
from altgrad.telemetry.recorder import Recorder
from altgrad.training.environment import Environment, peak_memory_bytes, synchronize
from altgrad.training.guards import NonfiniteGuard
from altgrad.training.progress import Progress
from altgrad.training.schedule import lr_factor
from altgrad.training.setup import Parts

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
        progress: Progress,
    ) -> None:
        self.run = run
        self.parts = parts
        self.step = 0
        self.tokens = 0
        self.wall_s = 0.0
        self.events: list[dict[str, Any]] = []
        self.diverged: str | None = None
        self.val_loss = math.nan
        self.guard = NonfiniteGuard(run.training.early_stop)
        self._corpus = corpus
        self._environment = environment
        self._recorder = recorder
        self._mirror = mirror
        self._progress = progress
        self._counters = WindowCounters(parts.weights, recorder)
        self._losses: list[float] = []
        self._applied = 0
        self._grad_norm = math.nan
        self._norms: tuple[list[str], Tensor] | None = None
        shape = (run.training.batch_size, run.model.block_size, run.training.eval_batches)
        self._eval_batches = eval_batches(corpus.val, *shape)
        self._peak_lrs = [float(group["lr"]) for group in parts.optimizer.param_groups]
        self._spent: dict[str, float] = defaultdict(float)
        self._timed_steps = 0
        # Gradients are added up in place from the first step on, so that a resumed run adds in the same order.
        parts.optimizer.hold_gradients()
        model = parts.model
        self._forward: Callable[..., tuple[Tensor, Tensor]] = (
            torch.compile(model, dynamic=False, mode="reduce-overhead" if environment.graphs else "default")
            if environment.compiled
            else model
        )

    @property
    def train_loss(self) -> float:
        """Mean training loss in nats over the last window, so far; nonfinite steps are left out, and counted apart."""
        finite = [loss for loss in self._losses if math.isfinite(loss)]
        return sum(finite) / len(finite) if finite else math.nan

    def done(self) -> bool:
        """Return whether the run has ended, by its steps or by divergence."""
        return self.diverged is not None or self.step >= self.run.training.steps

    def advance(self) -> None:
        """Make one optimizer step, with the evaluation and telemetry that are due after it."""
        started = time.perf_counter()
        training = self.run.training
        if self.step % self.run.telemetry.window == 0:
            self._losses, self._applied = [], 0
        loss = self._gradients()
        self._update(loss)
        self.step += 1
        self._timed_steps += 1
        self._note_divergence()
        last = self.done()
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
            self.events.append({"step": self.step, "event": "diverged", "kind": kind})
            self._progress.say(f"{self.run.run_id}: diverged at step {self.step} (nonfinite {kind}); kept as a result")

    def _gradients(self) -> Tensor:
        """Run the forward and backward passes of one step; return its mean loss, on the device."""
        training, model = self.run.training, self.parts.model
        model.train()
        total = torch.zeros((), device=self._environment.device)
        for _ in range(training.grad_accumulation):
            with self._timed("data_s"):
                x, y = (t.to(self._environment.device) for t in self.parts.batches.next())
            with self._timed("forward_backward_s"):
                with self._environment.autocast_context():
                    _, loss = self._forward(x, y)
                loss = loss / training.grad_accumulation
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
            self.tokens += x.numel()
        return total

    def _update(self, loss_tensor: Tensor) -> None:
        """Clip and apply the gradients, unless they or the loss are nonfinite: then the weights stay as they are."""
        training, optimizer = self.run.training, self.parts.optimizer
        gradients = {n: p.grad for n, p in self.parts.model.named_parameters() if p.grad is not None}
        with self._timed("optimizer_s"):
            norm = torch.nn.utils.get_total_norm(gradients.values())
            # The one read of a step that is not a window's last: whether to apply it.
            loss, self._grad_norm = torch.stack([loss_tensor, norm]).tolist()
            self._losses.append(loss)
            finite = self._observe("loss", loss) & self._observe("gradient", self._grad_norm)
        with self._timed("telemetry_s"):
            self._norms = None
            if not finite:
                norms = read_together(gradient_norms(gradients))[0]
                write_gradient_norms(self._recorder, self.step + 1, gradients, norms)
            elif (self.step + 1) % self.run.telemetry.window == 0:
                self._norms = (list(gradients), gradient_norms(gradients))
        with self._timed("optimizer_s"):
            if finite:
                if training.grad_clip:
                    torch.nn.utils.clip_grads_with_norm_(self.parts.model.parameters(), training.grad_clip, norm)
                factor = lr_factor(self.step, training)
                for group, peak in zip(optimizer.param_groups, self._peak_lrs, strict=True):
                    group["lr"] = peak * factor
                optimizer.step()
                self._applied += 1

    def _observe(self, kind: str, value: float) -> bool:
        """Show a step's value to the guard; the first of a streak of nonfinite ones is an event."""
        finite = self.guard.observe(kind, value)
        if not finite and self.guard.streaks[kind] == 1:
            self.events.append({"step": self.step + 1, "event": "nonfinite", "kind": kind})
        return finite

    def _close_window(self) -> None:
        """Write the window's rows; all that they say of tensors comes from the device in one transfer."""
        with self._timed("telemetry_s"):
            taken = {str(name): count for name, count in self.parts.optimizer.take_counts().items()}
            names, norms = self._norms or ([], torch.zeros(0, 2, device=self._environment.device))
            measured = (self._weights_are_finite(), norms, *self._counters.measure(taken))
            finite, norms, counts, ranges = read_together(*measured)
            write_gradient_norms(self._recorder, self.step, names, norms)
            rates = self._counters.write(self.step, self._applied, counts, ranges)
            # A window that ends with nonfinite weights is one more in the guard's streak.
            self._observe("weight", 0.0 if finite else math.nan)
            self._note_divergence()
            for step, loss in enumerate(self._losses, self.step - len(self._losses) + 1):
                self._recorder.add(step, "run", "", {"step_loss": loss})
            metrics = {
                "train_loss": self.train_loss,
                "train_perplexity": perplexity(self.train_loss),
                "lr": self.run.lr * lr_factor(self.step - 1, self.run.training),
                "grad_norm": self._grad_norm,
                "nonfinite": float(len(self._losses) - self._applied),
                "epoch": self.tokens / len(self._corpus.train),
                **rates,
            }
            self._recorder.add(self.step, "run", "", metrics)
            self._mirror.log(self.step, metrics)
        self._write_timing()

    def weights_finite(self) -> bool:
        """Return whether every weight is finite: only then are they worth keeping."""
        return bool(self._weights_are_finite())

    def _weights_are_finite(self) -> Tensor:
        weights = [p.detach() for p in self.parts.model.parameters()]
        return torch.stack(torch._foreach_norm(weights, math.inf)).isfinite().all()

    def _write_timing(self) -> None:
        steps = max(1, self._timed_steps)
        values = {name: self._spent[name] / steps for name in TIMED}
        step_s = sum(values.values())
        per_step = self.run.training.batch_size * self.run.training.grad_accumulation * self.run.model.block_size
        peak = peak_memory_bytes(self._environment.device)
        row = {"tokens_per_s": per_step / step_s, "step_s": step_s, **values, "peak_memory_bytes": peak}
        self._recorder.add_timing(self.step, row)
        self._spent.clear()
        self._timed_steps = 0

    @torch.no_grad()
    def evaluate(self) -> float:
        """Return the validation loss in nats through the quantized weights, their scales frozen (METR-01)."""
        self.parts.model.eval()
        losses = []
        for x, y in self._eval_batches:
            with self._environment.autocast_context():
                losses.append(self._forward(x.to(self._environment.device), y.to(self._environment.device))[1])
        self.val_loss = float(torch.stack(losses).double().mean())
        metrics = {"val_loss": self.val_loss, "val_perplexity": perplexity(self.val_loss)}
        self._recorder.add(self.step, "run", "", metrics)
        self._mirror.log(self.step, metrics)
        return self.val_loss

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        synchronize(self._environment.device)
        self._spent[name] += time.perf_counter() - started

    def state_dict(self) -> RunState:
        """Return everything that the next step depends on."""
        state: RunState = {
            "step": self.step,
            "tokens": self.tokens,
            "wall_s": self.wall_s,
            "model": self.parts.model.state_dict(),
            "optimizer": self.parts.optimizer.state_dict(),
            "batches": self.parts.batches.state_dict(),
            "guard": self.guard.state_dict(),
            "counters": self._counters.state_dict(),
            "losses": list(self._losses),
            "applied": self._applied,
            "events": [dict(event) for event in self.events],
            "rng": torch.get_rng_state(),
        }
        if self._environment.device == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state()
        return state

    def load_state_dict(self, state: RunState) -> None:
        """Restore what `state_dict` returned."""
        self.step, self.tokens = state["step"], state["tokens"]
        self.wall_s = state["wall_s"]
        self.parts.model.load_state_dict(state["model"])
        self.parts.optimizer.load_state_dict(state["optimizer"])
        self.parts.batches.load_state_dict(state["batches"])
        self.guard.load_state_dict(state["guard"])
        self._counters.load_state_dict(state["counters"])
        self._losses, self._applied = list(state["losses"]), state["applied"]
        self.events = [dict(event) for event in state["events"]]
        torch.set_rng_state(state["rng"])
        if self._environment.device == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"])


TIMED = ("data_s", "forward_backward_s", "optimizer_s", "telemetry_s")
"""The parts of a step that are timed apart (METR-03)."""


def perplexity(loss: float) -> float:
    """Return `exp(loss)` for a loss in nats (METR-02); Inf where it exceeds a double."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
