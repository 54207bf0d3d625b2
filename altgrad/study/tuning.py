"""How a cell's learning rate is found: a ladder in half octaves, climbed while the best stands near an edge (AUTO-01).

Every cell starts on the same rungs, goes on by the same rule and may try as many; updates whose learning rate has
another unit have the ladder scaled. Pure functions of scores: what trains and when is the bench's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from altgrad.study.sections import Closed, Int, LearningRate, PositiveInt, Seed

BASIN = 1.01
"""Learning rates whose loss is at most this times the best belong to the basin."""

MARGIN = 2
"""Rungs that must have been tried on either side of the best before a search ends: one worse rung may be noise."""

CLIFF = 1.1
"""Rungs whose loss is above this times the best, or that diverged, count as this times the best."""


class TuningConfig(Closed):
    """The start, the rule and the cap of every cell's search for its learning rate."""

    lowest_lr: LearningRate = Field(description="the first rung; the others are half octaves above it")
    start: Annotated[Int, Field(ge=3, le=64)] = Field(description="rungs that every cell tries")
    max_lrs: PositiveInt = Field(description="most rungs that a cell may try")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="of the trials; they are never evaluated")

    @model_validator(mode="after")
    def _cap_holds_the_start(self) -> "TuningConfig":
        if self.max_lrs < self.start:
            raise ValueError(f"max_lrs {self.max_lrs} is below start {self.start}, which every cell tries")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one stands there twice; name each once")
        return self

    def lr(self, rung: int, scale: float = 1.0) -> float:
        """Return a rung's learning rate, to four digits.

        Args:
            rung: 0 is `lowest_lr`; each is half an octave above the one below.
            scale: The update's `lr_scale`.

        Example:
            >>> TuningConfig(lowest_lr=1e-3, start=3, max_lrs=8, seeds=(1,)).lr(3)
            0.002828
        """
        return float(f"{self.lowest_lr * scale * 2 ** (rung / 2):.4g}")


@dataclass(frozen=True)
class Trial:
    """What one rung came to.

    Attributes:
        score: Mean score over the tuning seeds, in nats.
        diverged: How many of them diverged.
        worst: The highest score of a seed, in nats.
    """

    score: float
    diverged: int
    worst: float


@dataclass(frozen=True)
class Choice:
    """What a search found.

    Attributes:
        rung: The chosen rung.
        at_edge: Whether the search ended by its cap before `MARGIN` rungs lay on either side of the best.
        largest_stable: The highest rung, from the chosen one on, up to which nothing diverged and everything learned;
            None where the chosen one did not.
        stable_at_edge: Whether that is the highest that was tried, so that the true one may be higher.
        basin: The lowest and the highest rung around the best whose score is within 1 % of it.
    """

    rung: int
    at_edge: bool
    largest_stable: int | None
    stable_at_edge: bool
    basin: tuple[int, int]

    @property
    def basin_octaves(self) -> float:
        """The basin's width in octaves."""
        return (self.basin[1] - self.basin[0]) / 2


def next_rungs(tuning: TuningConfig, trials: Mapping[int, Trial]) -> list[int]:
    """Return which rungs to try next; none when the search has ended.

    Args:
        tuning: Start and cap.
        trials: What was tried, by rung.
    """
    if not trials:
        return list(range(tuning.start))
    best, low, high = best_rung(trials), min(trials), max(trials)
    if len(trials) >= tuning.max_lrs or not _is_open(best, low, high):
        return []
    # The nearer edge first; of equals the upper one.
    return [high + 1 if high - best <= best - low else low - 1]


def _is_open(best: int, low: int, high: int) -> bool:
    return min(best - low, high - best) < MARGIN


def best_rung(trials: Mapping[int, Trial]) -> int:
    """Return the rung with the fewest diverged runs, of equals the lowest mean score, of equals the lowest rung."""
    return min(trials, key=lambda rung: (trials[rung].diverged, trials[rung].score, rung))


def smoothed_best(trials: Mapping[int, Trial]) -> int:
    """Return the rung nearest to the lowest point of a parabola through the scores around the best.

    The lowest of some noisy means is often not the best learning rate, and what it is off by is the same for every
    seed that is evaluated: pairing does not see it, and an update that does nothing would be found to help or to hurt.
    A parabola through the `MARGIN` rungs on either side averages the noise out; see docs/statistics.md for what that is
    worth. A cliff among them pushes the choice away from its brink, where other seeds would fall off, but no harder
    than `CLIFF` however high it is. With fewer than four rungs, where the curve does not bend upwards, and where every
    rung diverged, it is the best rung itself.
    """
    best = best_rung(trials)
    if trials[best].diverged:
        return best
    cap = CLIFF * trials[best].score
    near = [rung for rung in range(best - MARGIN, best + MARGIN + 1) if rung in trials]
    if len(near) < 2 * MARGIN:
        return best
    scores = [cap if trials[rung].diverged else min(cap, trials[rung].score) for rung in near]
    square, slope, _ = np.polynomial.Polynomial.fit(near, scores, 2).convert().coef[::-1]
    return min(max(round(-slope / (2 * square)), near[0]), near[-1]) if square > 0 else best


def choose(trials: Mapping[int, Trial], chance: float) -> Choice:
    """Return what a search found.

    Args:
        trials: What was tried, by rung; rungs without a gap.
        chance: Score of a model that knows nothing, ln(vocabulary size), in nats: a run that scores no better has not
            learned.
    """
    best = smoothed_best(trials)
    low = high = best
    limit = BASIN * trials[best].score
    while low - 1 in trials and trials[low - 1].score <= limit:
        low -= 1
    while high + 1 in trials and trials[high + 1].score <= limit:
        high += 1
    stable, rung = None, best
    while rung in trials and not trials[rung].diverged and trials[rung].worst < chance:
        stable, rung = rung, rung + 1
    edges = (min(trials), max(trials))
    return Choice(best, _is_open(best_rung(trials), *edges), stable, stable == edges[1], (low, high))
