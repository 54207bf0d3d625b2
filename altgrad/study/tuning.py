"""How a cell's learning rate is found: a ladder in half octaves, climbed while the best stands at an edge (AUTO-01).

Every cell starts on the same rungs, goes on by the same rule and may try as many; updates whose learning rate has
another unit have the ladder scaled. Pure functions of scores: what trains and when is the bench's business.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, model_validator

from altgrad.study.sections import Closed, Int, LearningRate, PositiveInt, Seed

BASIN = 1.01
"""Learning rates whose loss is at most this times the best belong to the basin."""


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
        rung: The best rung.
        at_edge: Whether a better one may lie beyond the rungs that were tried.
        largest_stable: The highest rung up to which nothing diverged and everything learned; None where there is none.
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
    best = best_rung(trials)
    if len(trials) >= tuning.max_lrs or min(trials) < best < max(trials):
        return []
    return [best + 1 if best == max(trials) else best - 1]


def best_rung(trials: Mapping[int, Trial]) -> int:
    """Return the rung with the fewest diverged runs, of equals the lowest mean score, of equals the lowest rung."""
    return min(trials, key=lambda rung: (trials[rung].diverged, trials[rung].score, rung))


def choose(trials: Mapping[int, Trial], chance: float) -> Choice:
    """Return what a search found.

    Args:
        trials: What was tried, by rung; rungs without a gap.
        chance: Score of a model that knows nothing, ln(vocabulary size), in nats: a run that scores no better has not
            learned.
    """
    best = best_rung(trials)
    low = high = best
    limit = BASIN * trials[best].score
    while low - 1 in trials and trials[low - 1].score <= limit:
        low -= 1
    while high + 1 in trials and trials[high + 1].score <= limit:
        high += 1
    stable = None
    for rung in sorted(trials):
        if trials[rung].diverged or not trials[rung].worst < chance or math.isnan(trials[rung].worst):
            break
        stable = rung
    edges = (min(trials), max(trials))
    return Choice(best, best in edges, stable, stable == edges[1], (low, high))
