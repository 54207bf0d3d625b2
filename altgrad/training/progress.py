"""The line that a person watches while a run trains: loss, tokens a second, time left."""

import math
import sys

from tqdm import tqdm

LOG_INTERVAL_S = 10.0
"""Seconds between lines in a log file, where nobody watches a bar move."""


class Progress:
    """A bar on a terminal; in a log file, a line now and then.

    Args:
        run_id: The run.
        steps: Steps planned.
        done: Steps done before this process.
    """

    def __init__(self, run_id: str, steps: int, done: int) -> None:
        watched = sys.stderr.isatty()
        self._bar = tqdm(
            total=steps,
            initial=done,
            desc=run_id,
            unit="step",
            file=sys.stderr if watched else _Lines(),
            mininterval=0.2 if watched else LOG_INTERVAL_S,
            maxinterval=LOG_INTERVAL_S,
        )
        self._start: tuple[int, float] | None = None

    def update(self, step: int, train_loss: float, val_loss: float, tokens: int, wall_s: float) -> None:
        """Show the state after a step.

        Args:
            step: Steps done.
            train_loss: Mean training loss in nats over the window so far.
            val_loss: The last validation loss in nats, NaN before the first.
            tokens: Tokens trained on.
            wall_s: Seconds spent in training steps.
        """
        self._start = self._start or (tokens, wall_s)
        speed = (tokens - self._start[0]) / max(wall_s - self._start[1], 1e-9)
        values = {"loss": f"{train_loss:.4f}", "tokens/s": f"{speed:,.0f}"}
        if not math.isnan(val_loss):
            values["val"] = f"{val_loss:.4f}"
        self._bar.set_postfix(values, refresh=False)
        self._bar.update(step - self._bar.n)

    def say(self, message: str) -> None:
        """Print a message without breaking the bar."""
        self._bar.write(message, file=sys.stderr)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._bar.refresh()
        self._bar.close()


class _Lines:
    """Standard error for a bar that nobody watches: each state on a line of its own."""

    def write(self, text: str) -> None:
        line = text.strip()
        if line:
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()
