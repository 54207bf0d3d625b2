"""Simulated searches for a learning rate: what the choice costs, and what its error does to comparisons.

Both updates have the same curve, so that every difference is noise; but each is run at the rate that its own search
froze, and what that is off by is the same for every seed. `python -m tests.analysis.simulate_tuning` prints the tables
of docs/statistics.md (about a minute).
"""

from collections.abc import Callable, Iterator
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


def search(loss: Curve, choose: Choose, generator: np.random.Generator, noise: float = NOISE) -> int:
    """Follow the rule on noisy trials, and return the rung that is frozen."""
    trials: dict[int, Trial] = {}
    while rungs := next_rungs(RULE, trials):
        for rung in rungs:
            scores = loss(rung) + generator.normal(0, noise, len(RULE.seeds))
            trials[rung] = Trial(float(scores.mean()), 0, float(scores.max()))
    return choose(trials)


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
CHOICES: dict[str, Choose] = {"lowest mean": best_rung, "parabola": smoothed_best}


def rows(simulations: int) -> Iterator[tuple[object, ...]]:
    for noise, (case, shape), (name, choose) in product((NOISE, LOUD), CASES.items(), CHOICES.items()):
        before, after, regret = null(curve(*shape), choose, simulations, noise=noise)
        yield noise, case, name, cell(before, simulations), cell(after, simulations), f"{regret:.4f}"


def main(simulations: int = 2_000) -> None:
    """Print the table of docs/statistics.md."""
    header = "noise (nats) | curve | choice | interval excludes 0 | passes Holm's first step | regret (nats)"
    print(f"{simulations:,} simulations\n\n| {header} |\n|{' --- |' * (header.count('|') + 1)}")
    for row in rows(simulations):
        print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
