"""The interval of a share of runs, for example of those that diverged."""

from scipy.special import betaincinv  # scipy.stats would take a second to import


def divergence_interval(diverged: int, runs: int, confidence: float) -> tuple[float, float]:
    """Return the exact interval of the probability that a run diverges (Clopper and Pearson 1934, Biometrika 26).

    Its ends are the probabilities at which so many diverged runs or more, and so many or fewer, have a probability of
    (1 - confidence) / 2. It covers the truth with at least the confidence; with few runs, with more.

    Args:
        diverged: How many of the runs diverged.
        runs: How many there were; of none, nothing is known: (0, 1).
        confidence: The interval's confidence, for example 0.95.

    Returns:
        Lower and upper end, as shares.

    Example:
        >>> low, high = divergence_interval(0, 12, 0.95)
        >>> low, round(high, 4)
        (0.0, 0.2646)
    """
    assert 0 <= diverged <= runs
    tail = (1 - confidence) / 2
    low = float(betaincinv(diverged, runs - diverged + 1, tail)) if diverged else 0.0
    high = float(betaincinv(diverged + 1, runs - diverged, 1 - tail)) if diverged < runs else 1.0
    return low, high
