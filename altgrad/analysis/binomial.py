"""The interval of a share of runs, for example of those that diverged or that are stuck."""

from scipy.special import betaincinv  # scipy.stats would take a second to import


def binomial_interval(count: int, runs: int, confidence: float) -> tuple[float, float]:
    """Return the exact interval of the probability of being among `count` (Clopper and Pearson 1934, Biometrika 26).

    Its ends are the probabilities at which so many such runs or more, and so many or fewer, have a probability of
    (1 - confidence) / 2. It covers the truth with at least the confidence; with few runs, with more.

    Args:
        count: How many of the runs diverged, or are stuck.
        runs: How many there were; of none, nothing is known: (0, 1).
        confidence: The interval's confidence, for example 0.95.

    Returns:
        Lower and upper end, as shares.

    Example:
        >>> low, high = binomial_interval(0, 12, 0.95)
        >>> low, round(high, 4)
        (0.0, 0.2646)
    """
    assert 0 <= count <= runs
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, runs - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, runs - count, 1 - tail)) if count < runs else 1.0
    return low, high
