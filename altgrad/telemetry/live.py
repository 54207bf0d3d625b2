"""The view of a run that trains: one small file, replaced as windows end, for `altgrad watch`. Free of torch.

It shows a run; the Parquet files are the record. So it is not synced to the disk, it is written no more often than a
person can read, and a view that cannot be written is left out in silence.
"""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FILE = "live.json"
"""The view's name in the run's folder `state/<key>/`."""

MAX_POINTS = 400
MAX_EVENTS = 20
INTERVAL_S = 0.5
"""Seconds between two writes at least: writing takes milliseconds, and a window may take few."""

Point = tuple[int, float | None]
"""(step, value); None for a value that is not finite."""


class LiveView(BaseModel):
    """What a run shows of itself.

    Attributes:
        run_id: The run.
        steps: Steps planned.
        step: Steps done.
        tokens_per_s: Training tokens a second over the last window.
        time_left_s: Seconds to the end at the pace of this process; None before its second window.
        updated: When it was written, in seconds since 1970.
        series: Points by metric, by rising steps; the last point is the last value.
        events: The last events: dicts with `step`, `event` and more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    run_id: str
    steps: int = Field(ge=1)
    step: int = Field(ge=0)
    tokens_per_s: float | None
    time_left_s: float | None
    updated: float
    series: dict[str, list[Point]]
    events: list[dict[str, Any]]

    def last(self, metric: str) -> float | None:
        """Return a metric's last value; None where there is none, or it was not finite."""
        points = self.series.get(metric)
        return points[-1][1] if points else None


def read_live(path: Path) -> LiveView | None:
    """Return the view in a file; None where there is none yet, or the file is damaged."""
    try:
        return LiveView.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


class Live:
    """Writes a run's view, and goes on with the one that an earlier process of the run left.

    Args:
        path: The file.
        run_id: The run.
        steps: Steps planned.
    """

    def __init__(self, path: Path, run_id: str, steps: int) -> None:
        self._path = path
        self._run_id = run_id
        self._steps = steps
        self._step = 0
        self._tokens_per_s: float | None = None
        self._series: dict[str, list[Point]] = {}
        self._events: list[dict[str, Any]] = []
        self._began: tuple[int, float] | None = None
        self._written_at = -math.inf
        former = read_live(path)
        if former is not None and former.run_id == run_id:
            self._step, self._tokens_per_s = former.step, former.tokens_per_s
            self._series, self._events = dict(former.series), list(former.events)

    def update(
        self, step: int, metrics: Mapping[str, float], events: Sequence[Mapping[str, Any]], tokens_per_s: float
    ) -> None:
        """Take in a window and replace the file, unless that was done within `INTERVAL_S` and the end is not reached.

        Args:
            step: Optimizer steps done.
            metrics: Values by metric.
            events: The run's events, all of them or those that have come; one that is there already is not doubled.
            tokens_per_s: Training tokens a second over the window.
        """
        if step <= self._step:
            self._drop(step - 1)
        self._step, self._tokens_per_s = step, _finite(tokens_per_s)
        for metric, value in metrics.items():
            points = self._series.setdefault(metric, [])
            points.append((step, _finite(value)))
            _thin(points)
        known = {json.dumps(event, sort_keys=True): event for event in self._events}
        known |= {json.dumps(event, sort_keys=True): event for event in map(_plain, events)}
        self._events = sorted(known.values(), key=_step_of)[-MAX_EVENTS:]
        now = time.time()
        self._began = self._began or (step, now)
        if step >= self._steps or not 0 <= now - self._written_at < INTERVAL_S:
            self._write(now)

    def rewind(self, step: int) -> None:
        """Drop what lies beyond a step, from which the run goes on, and replace the file."""
        self._drop(step)
        self._began = None
        self._write(time.time())

    def _drop(self, step: int) -> None:
        self._step = min(self._step, step)
        kept = {name: [point for point in points if point[0] <= step] for name, points in self._series.items()}
        self._series = {name: points for name, points in kept.items() if points}
        self._events = [event for event in self._events if _step_of(event) <= step]

    def _time_left(self, now: float) -> float | None:
        """Return the seconds to the end at the mean pace since this process's first window, which may compile."""
        if self._began is None or self._step <= self._began[0]:
            return None
        return max(0, self._steps - self._step) * (now - self._began[1]) / (self._step - self._began[0])

    def _write(self, now: float) -> None:
        self._written_at = now
        view = {
            "run_id": self._run_id,
            "steps": self._steps,
            "step": self._step,
            "tokens_per_s": self._tokens_per_s,
            "time_left_s": self._time_left(now),
            "updated": now,
            "series": self._series,
            "events": self._events,
        }
        temporary = self._path.with_name(f"{self._path.name}.tmp")
        try:
            temporary.write_text(json.dumps(view, allow_nan=False), encoding="utf-8")
            os.replace(temporary, self._path)
        except OSError:
            pass  # it is only a view: the run does not end with it


def _thin(points: list[Point]) -> None:
    """Where there are too many points, drop the one whose neighbors are nearest: what stays is spread evenly."""
    if len(points) > MAX_POINTS:
        del points[min(range(1, len(points) - 1), key=lambda i: points[i + 1][0] - points[i - 1][0])]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _step_of(event: Mapping[str, Any]) -> int:
    step = event.get("step")
    return step if isinstance(step, int) else 0


def _plain(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event as JSON can hold it: numbers that are not finite as None."""
    return {key: _finite(value) if isinstance(value, float) else value for key, value in event.items()}
