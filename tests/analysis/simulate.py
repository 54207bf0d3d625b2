"""Simulations with a known truth: what the statistics cover, and how often they are wrong.

`python -m tests.analysis.simulate` prints the tables of docs/statistics.md (some minutes); the tests run fewer.
"""

import math
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pandas as pd

from altgrad.analysis.analyse import Analysis
from altgrad.analysis.comparisons import WORDS
from altgrad.analysis.estimates import estimate
from altgrad.analysis.mediation import partial_rank_correlation
from altgrad.analysis.power import detectable_effect
from altgrad.analysis.recovery import share_recovered
from altgrad.analysis.sign_flip import sign_flip_p
from altgrad.analysis.study_info import study_info, to_frame
from altgrad.analysis.tables import Row, Tables, frame
from altgrad.schema import ANALYSIS_TABLES
from tests.analysis.fabricate import make_study

CONFIDENCE = 0.95
COUNTS = (6, 10, 12)
FORMATS = ("E0M7", "E2M5", "E3M4", "E4M3", "E5M2", "E6M1", "E7M0")
LRS = (0.01, 0.014, 0.02)

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def centered_lognormal(sigma: float) -> Draw:
    """Return draws of exp(N(0, sigma^2)) minus its mean."""
    return lambda generator, shape: generator.lognormal(0.0, sigma, shape) - math.exp(sigma**2 / 2)


def centered_mixture(share: float) -> Draw:
    """Return normal draws of which a share is 10 standard deviations higher, as where some runs never learn."""
    return lambda generator, shape: generator.normal(size=shape) + 10.0 * ((generator.random(shape) < share) - share)


DISTRIBUTIONS: dict[str, Draw] = {  # of one paired difference, each with mean 0
    "normal": lambda generator, shape: generator.normal(size=shape),
    "Laplace": lambda generator, shape: generator.laplace(size=shape),
    "lognormal, sigma 0.5": centered_lognormal(0.5),
    "lognormal, sigma 1": centered_lognormal(1.0),
    "mixture, a quarter": centered_mixture(0.25),
    "mixture, a twelfth": centered_mixture(1 / 12),
}


def standard_error(share: float, simulations: int) -> float:
    """Return the Monte Carlo standard error of a share."""
    return math.sqrt(share * (1 - share) / simulations)


def coverage(distribution: str, n: int, simulations: int, seed: int = 0) -> tuple[float, float]:
    """Return how often the t interval and the inverted sign-flip interval of n differences hold the true mean, 0."""
    samples = DISTRIBUTIONS[distribution](np.random.default_rng([seed, n]), (simulations, n))
    estimates = [estimate(sample, CONFIDENCE) for sample in samples]
    t = sum(e.low <= 0 <= e.high for e in estimates)
    flip = sum(e.flip_low <= 0 <= e.flip_high for e in estimates)
    return t / simulations, flip / simulations


def recovery_coverage(n: int, simulations: int, seed: int = 0) -> tuple[float, float]:
    """Return how often Fieller's interval holds the true share, 0.4, where it is given, and how often it is given."""
    generator = np.random.default_rng([seed, n])
    held = given = 0
    for _ in range(simulations):
        shared = generator.normal(0.0, 0.01, n)  # what seeds do to gap and benefit alike
        gap = dict(enumerate(0.05 + shared + generator.normal(0.0, 0.02, n)))
        benefit = dict(enumerate(0.02 + shared + generator.normal(0.0, 0.02, n)))
        if (found := share_recovered(benefit, gap, CONFIDENCE)) is not None:
            given += 1
            held += bool(found.low <= 0.4 <= found.high)
    return held / given, given / simulations


def flip_power(planned: int, more: int, simulations: int, seed: int = 0) -> float:
    """Return how often the sign-flip test passes Holm's first step over the formats, at the effect that is planned for.

    Args:
        planned: Seeds with which the t test shows the effect with probability 0.8.
        more: Seeds beyond those.
        simulations: How many.
        seed: Of the data.
    """
    effect = detectable_effect(1.0, planned, len(FORMATS), CONFIDENCE)
    n = planned + more
    samples = np.random.default_rng([seed, n]).normal(effect, 1.0, (simulations, n))
    return sum(sign_flip_p(sample) * len(FORMATS) <= 1 - CONFIDENCE for sample in samples) / simulations


def partial_rejections(n: int, strength: float, simulations: int, seed: int = 0) -> float:
    """Return how often x and y, which only z links, are called correlated given z at the level 0.05.

    Args:
        n: Values.
        strength: x and y are each strength * z + noise, all normal.
        simulations: How many.
        seed: Of the data.
    """
    generator = np.random.default_rng([seed, n])
    rejected = 0
    for _ in range(simulations):
        z = generator.normal(size=n)
        x, y = (strength * z + generator.normal(size=n) for _ in range(2))
        rejected += partial_rank_correlation(x, y, z, draws=399).p <= 0.05
    return rejected / simulations


def study_tables(seeds: int) -> dict[str, pd.DataFrame]:
    """Return the tables, still without runs, of a study of the seven formats that asks for at least six seeds."""
    numbers = list(range(1, seeds + 1))
    study = make_study(formats=list(FORMATS), seeds=numbers, analysis={"min_seeds": 6, "min_steps": 40})
    return {
        **{name: frame(name, []) for name in ANALYSIS_TABLES},
        "study": to_frame(study_info(study, None)),
        "updates": frame("updates", [{"update": "manifold", "geometry_aware": True, "primary": True}]),
    }


def study_runs_frame(
    generator: np.random.Generator, seeds: int, lrs: tuple[float, ...], benefit: float = 0.0
) -> pd.DataFrame:
    """Return a runs table: seven formats x {adamw, manifold} x {master, nearest} x learning rates x seeds.

    Noise is paired by seed as in a real study: what a seed does to every run (sd 0.05 nats), to a format, to an update
    in a storage (0.01 each), and to one run (0.02), so that one benefit has a paired sd of 0.03 and a DiD of 0.045.

    Args:
        generator: Of the noise.
        seeds: How many.
        lrs: Learning rates, all equally good.
        benefit: What manifold gains under nearest, in nats; 0 is the null.
    """
    of_seed = generator.normal(0.0, 0.05, seeds)
    rows: list[Row] = []
    arms = list(product(("adamw", "manifold"), ("master", "nearest")))
    of_arm = {arm: generator.normal(0.0, 0.01, seeds) for arm in arms}
    for name, base in zip(FORMATS, np.linspace(2.0, 2.6, len(FORMATS)), strict=True):
        of_format = generator.normal(0.0, 0.01, seeds)
        for (update, storage), lr in product(arms, lrs):
            gain = benefit if (update, storage) == ("manifold", "nearest") else 0.0
            of_run = generator.normal(0.0, 0.02, seeds)
            scores = base - gain + of_seed + of_format + of_arm[update, storage] + of_run
            rows += _runs(name, update, storage, lr, scores)
    return frame("runs", rows)


def _runs(name: str, update: str, storage: str, lr: float, scores: np.ndarray) -> Iterator[Row]:
    for seed, score in enumerate(scores.tolist(), start=1):
        yield {
            "run_id": f"{name}-{update}-{storage}-{lr}-{seed}",
            "role": "grid",
            "study": "fake",
            **{"format": name, "update": update, "storage": storage, "layers": "all", "lr": lr, "seed": seed},
            **{"status": "finished", "comparable": True, "score": score, "val_loss": score},
        }


def did_verdicts(runs: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> list[str]:
    """Return the verdicts on the difference in differences, one a format, as the analysis gives them."""
    comparisons = Analysis(Tables.of({**tables, "runs": runs})).comparisons
    found: list[str] = comparisons.loc[comparisons["estimand"] == "did", "verdict"].tolist()
    assert len(found) == len(FORMATS)
    return found


def false_verdicts(simulations: int, lrs: tuple[float, ...], seeds: int = 12, seed: int = 0) -> tuple[float, float]:
    """Return how often a study without any effect gives a verdict.

    Returns:
        The share of studies with at least one verdict after Holm, and the share of formats with one before it.
    """
    generator = np.random.default_rng([seed, seeds, len(lrs)])
    tables = study_tables(seeds)
    families = [did_verdicts(study_runs_frame(generator, seeds, lrs), tables) for _ in range(simulations)]
    after = sum(any(verdict in WORDS["did"] for verdict in family) for family in families)
    before = sum(verdict.startswith(WORDS["did"]) for family in families for verdict in family)
    return after / simulations, before / (simulations * len(FORMATS))


def cell(share: float, simulations: int) -> str:
    """Return a share and its Monte Carlo standard error as the documentation gives them."""
    return f"{share:.4f} ± {standard_error(share, simulations):.4f}"


def coverage_rows(simulations: int) -> Iterator[tuple[object, ...]]:
    for distribution, n in product(DISTRIBUTIONS, COUNTS):
        yield distribution, n, *(cell(share, simulations) for share in coverage(distribution, n, simulations))


def recovery_rows(simulations: int) -> Iterator[tuple[object, ...]]:
    for n in COUNTS:
        held, given = recovery_coverage(n, simulations)
        yield n, cell(held, round(given * simulations)), cell(given, simulations)


def power_rows(simulations: int) -> Iterator[tuple[object, ...]]:
    for n in (9, 10, 12, 16):
        yield n, *(cell(flip_power(n, more, simulations), simulations) for more in (0, 1))


def partial_rows(simulations: int) -> Iterator[tuple[object, ...]]:
    for n, strength in product((14, 32), (0.0, 1.0, 3.0)):
        yield n, strength, cell(partial_rejections(n, strength, simulations), simulations)


def false_verdict_rows(simulations: int) -> Iterator[tuple[object, ...]]:
    for lrs, seeds in product((LRS[:1], LRS), (10, 12)):
        after, before = false_verdicts(simulations, lrs, seeds)
        yield len(lrs), seeds, cell(after, simulations), cell(before, simulations * len(FORMATS))


TABLES: tuple[tuple[str, Callable[[int], Iterator[tuple[object, ...]]], int], ...] = (
    ("differences | n | t interval | inverted sign-flip interval", coverage_rows, 20_000),
    ("n | coverage where given | given", recovery_rows, 20_000),
    ("n planned | sign-flip test with n seeds | with n + 1 seeds", power_rows, 20_000),
    ("n | strength of z | rejected", partial_rows, 5_000),
    ("learning rates | seeds | after Holm, any format | before Holm, one format", false_verdict_rows, 2_000),
)


def main() -> None:
    """Print the tables of docs/statistics.md."""
    for header, rows, simulations in TABLES:
        print(f"\n{simulations:,} simulations\n\n| {header} |\n|{' --- |' * (header.count('|') + 1)}", flush=True)
        for row in rows(simulations):
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
