"""How sure it is which format comes out best."""

import math
from collections.abc import Mapping

import numpy as np

TIES = 1e-12
"""Means that differ by less, relative to the largest score, are tied: they are sums in another order."""


def probability_of_best(
    scores_by_format: Mapping[str, Mapping[int, float]], draws: int = 10_000, seed: int = 0
) -> dict[str, float]:
    """Return each format's share of paired bootstrap samples in which its mean is the highest.

    The seeds that every format has are drawn with replacement, the same ones for every format, so that what seeds have
    in common cancels (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8). Formats that tie share a
    sample equally. It is a statement about the seeds that were run, not a posterior probability: with few seeds it is
    overconfident.

    Args:
        scores_by_format: For each format a score by seed, all finite; higher is better, for example benefits in nats.
        draws: Bootstrap samples.
        seed: Of the samples.

    Returns:
        Shares that add up to 1, by format; NaN for every format where they share fewer than two seeds.

    Example:
        >>> probability_of_best({"E4M3": {1: 0.2, 2: 0.3}, "E5M2": {1: 0.1, 2: 0.1}})
        {'E4M3': 1.0, 'E5M2': 0.0}
    """
    if not scores_by_format:
        return {}
    seeds = sorted(set.intersection(*(set(scores) for scores in scores_by_format.values())))
    if len(seeds) < 2:
        return dict.fromkeys(scores_by_format, math.nan)
    scores = np.array([[scores[s] for s in seeds] for scores in scores_by_format.values()])
    counts = np.random.default_rng(seed).multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=draws)
    means = counts @ scores.T / len(seeds)
    best = means >= means.max(axis=1, keepdims=True) - TIES * np.abs(scores).max()
    shares = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return dict(zip(scores_by_format, shares.tolist(), strict=True))
