"""Simulated searches for a learning rate: what the choice costs, and what its error does to comparisons.

Both updates have the same curve, so that every difference is noise; but each is run at the rate that its own search
froze, and what that is off by is the same for every seed. `python -m tests.analysis.simulate_tuning` prints the tables
of docs/statistics.md (about a minute).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from altgrad.analysis.estimates import estimate
from altgrad.study.tuning import Trial, TuningConfig, best_rung, next_rungs, smoothed_best
from tests.analysis.simulate import CONFIDENCE, cell

RULE = TuningConfig(lowest_lr=1e-3, start=5, max_lrs=10, seeds=(101, 102))
NOISE, LOUD = 0.017, 0.1
"""Standard deviations of a run's loss at one learning rate, in nats, as usual and where seeds decide: that of a paired
benefit is 0.024 and 0.14."""

SEEDS, FORMATS, FLOOR = 12, 7, 2.2

Curve = Callable[[int], float]
Choose = Callable[[dict[int, Trial]], int]


def curve(optimum: float, curvature: float, left: float = 1.0) -> Curve:
    """Return a loss by rung: a parabola, `left` times as steep below its optimum."""
    return lambda rung: FLOOR + (left if rung < optimum else 1.0) * curvature * (rung - optimum) ** 2


@dataclass(frozen=True)
class Cliff:
    """A curve of losses with a cliff that ever more seeds fall off as the rate rises.

    Attributes:
        loss: Loss by rung of the seeds that do not.
        at: The rung at which half of them do.
        width: Of the rise of that share, in rungs: it is logistic.
        height: What the fall costs, in nats.
        noise: Standard deviation of a run, in nats.
    """

    loss: Curve
    at: float
    width: float
    height: float
    noise: float

    def share(self, rung: int) -> float:
        return 1 / (1 + math.exp((self.at - rung) / self.width))

    def expected(self, rung: int) -> float:
        return self.loss(rung) + self.height * self.share(rung)


def search(
    loss: Curve, choose: Choose, generator: np.random.Generator, noise: float = NOISE, cliff: "Cliff | None" = None
) -> int:
    """Follow the rule on noisy trials, some of which may fall off a cliff, and return the rung that is frozen."""
    trials: dict[int, Trial] = {}
    while rungs := next_rungs(RULE, trials):
        for rung in rungs:
            scores = loss(rung) + generator.normal(0, noise, len(RULE.seeds))
            if cliff is not None:
                scores += cliff.height * (generator.random(len(RULE.seeds)) < cliff.share(rung))
            trials[rung] = Trial(float(scores.mean()), 0, float(scores.max()))
    return choose(trials)


def beside_cliff(cliff: Cliff, choose: Choose, simulations: int, seed: int = 0) -> tuple[float, float]:
    """Return what a choice costs where some seeds fall off a cliff, and how many of the evaluated ones do.

    Returns:
        The expected loss above that of the best rung, in nats, and the share of runs that fall off.
    """
    generator = np.random.default_rng(seed)
    best = min(cliff.expected(rung) for rung in range(RULE.max_lrs))
    rungs = [search(cliff.loss, choose, generator, cliff.noise, cliff) for _ in range(simulations)]
    regret = float(np.mean([cliff.expected(rung) for rung in rungs])) - best
    return regret, float(np.mean([cliff.share(rung) for rung in rungs]))


def null(
    loss: Curve, choose: Choose, simulations: int, seed: int = 0, noise: float = NOISE
) -> tuple[float, float, float]:
    """Return how often a benefit of nothing is found, before and after the correction over formats; and the regret.

    Returns:
        The share of t intervals that exclude 0, that of sign-flip p-values that pass Holm's first step over
        `FORMATS`, and the mean loss above the curve's lowest at the frozen rung, in nats.
    """
    generator = np.random.default_rng(seed)
    before = after = 0
    regret = 0.0
    for _ in range(simulations):
        one, other = (search(loss, choose, generator, noise) for _ in range(2))
        differences = loss(one) - loss(other) + generator.normal(0, noise * np.sqrt(2), SEEDS)
        found = estimate(differences, CONFIDENCE)
        before += found.excludes_zero
        after += found.p_sign_flip <= (1 - CONFIDENCE) / FORMATS
        regret += loss(one) - FLOOR
    return before / simulations, after / simulations, regret / simulations


CASES: dict[str, tuple[float, float, float]] = {  # optimum, curvature, how much steeper on the left
    "flat, inside the start": (2.0, 0.005, 1.0),
    "steep, inside the start": (2.5, 0.01, 1.0),
    "flat, above the start": (6.3, 0.005, 1.0),
    "steep, above the start": (6.3, 0.01, 1.0),
    "lopsided, inside the start": (2.5, 0.01, 4.0),
    "lopsided, above the start": (6.3, 0.005, 4.0),
}
CLIFFS: dict[str, Cliff] = {
    "flat, sharp": Cliff(curve(2.5, 0.002), at=4.3, width=0.25, height=0.5, noise=0.025),
    "flat, soft": Cliff(curve(3.5, 0.006), at=5.0, width=0.6, height=0.35, noise=0.05),
    "lopsided, sharp": Cliff(curve(4.0, 0.01, 4.0), at=5.0, width=0.25, height=0.5, noise=0.03),
}
CHOICES: dict[str, Choose] = {"lowest mean": best_rung, "parabola": smoothed_best}


def rows(simulations: int) -> Iterator[tuple[object, ...]]:
    for noise, (case, shape), (name, choose) in product((NOISE, LOUD), CASES.items(), CHOICES.items()):
        before, after, regret = null(curve(*shape), choose, simulations, noise=noise)
        yield noise, case, name, cell(before, simulations), cell(after, simulations), f"{regret:.4f}"


def cliff_rows(simulations: int) -> Iterator[tuple[object, ...]]:
    for (case, cliff), (name, choose) in product(CLIFFS.items(), CHOICES.items()):
        regret, fallen = beside_cliff(cliff, choose, simulations)
        yield case, name, f"{regret:.4f}", f"{fallen:.3f}"


def main(simulations: int = 2_000) -> None:
    """Print the tables of docs/statistics.md."""
    print(f"{simulations:,} simulations")
    for header, make in (
        ("noise (nats) | curve | choice | interval excludes 0 | passes Holm's first step | regret (nats)", rows),
        ("curve and cliff | choice | regret (nats) | runs that fall off", cliff_rows),
    ):
        print(f"\n| {header} |\n|{' --- |' * (header.count('|') + 1)}")
        for row in make(simulations):
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
