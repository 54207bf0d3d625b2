"""How many seeds a study needs, and what effect it could detect: power of the paired t test, within Holm's limits.

The plan takes the first step of Holm's correction, the level (1 - confidence) / families, which is the strictest one:
a format that is significant there is so whatever the others show. The verdict itself rests on the sign-flip test, whose
smallest p-value is 2^(1-n): fewer seeds than that value needs cannot give a verdict at all, however large the effect.
"""

import math

from scipy.special import nctdtr, stdtrit  # scipy.stats would take a second to import

HALVINGS = 100
"""Halvings of the bracket of an effect: more than a float64 has bits."""


def seeds_needed(
    sd: float, smallest_effect: float, families: int, confidence: float, power: float = 0.8, least: int = 10
) -> int:
    """Return how many paired seeds show an effect of a given size with a given probability.

    Args:
        sd: Standard deviation of the paired differences, in nats.
        smallest_effect: The smallest mean difference that matters, in nats, above 0.
        families: How many formats Holm's correction is over.
        confidence: Of the family, for example 0.95.
        power: The probability of showing the effect where it is real.
        least: Never fewer than these.

    Returns:
        The smallest count that is at least `least`, lets the sign-flip test pass Holm's first step, and gives the
        paired t test the power (Cohen 1988, Statistical Power Analysis, chapter 2; the noncentral t distribution
        exactly, as in G*Power 3: Faul et al. 2007, Behavior Research Methods 39).

    Example:
        >>> seeds_needed(sd=2.0, smallest_effect=1.0, families=1, confidence=0.95)
        34
        >>> seeds_needed(sd=0.0, smallest_effect=0.01, families=8, confidence=0.95, least=2)
        9
    """
    assert sd >= 0 and smallest_effect > 0
    fewest = max(least, _fewest_for_sign_flip(families, confidence))

    def enough(n: int) -> bool:
        return sd == 0 or _power(smallest_effect / sd * math.sqrt(n), n, _level(families, confidence)) >= power

    if enough(fewest):
        return fewest
    short, reached = fewest, 2 * fewest
    while not enough(reached):
        short, reached = reached, 2 * reached
    while reached - short > 1:
        middle = (short + reached) // 2
        short, reached = (short, middle) if enough(middle) else (middle, reached)
    return reached


def detectable_effect(sd: float, n: int, families: int, confidence: float, power: float = 0.8) -> float:
    """Return the smallest mean difference that n paired seeds show with a given probability.

    Args:
        sd: Standard deviation of the paired differences, in nats.
        n: How many seeds.
        families: How many formats Holm's correction is over.
        confidence: Of the family, for example 0.95.
        power: The probability of showing the effect where it is real.

    Returns:
        The difference in nats, above or below 0 alike; infinite where so few seeds cannot pass Holm's first step.

    Example:
        >>> round(detectable_effect(sd=1.0, n=34, families=1, confidence=0.95), 3)
        0.495
        >>> detectable_effect(sd=1.0, n=8, families=8, confidence=0.95)
        inf
    """
    assert sd >= 0
    if n < _fewest_for_sign_flip(families, confidence):
        return math.inf
    level = _level(families, confidence)
    low, high = 0.0, 1.0
    while _power(high, n, level) < power:
        high *= 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _power(middle, n, level) >= power else (middle, high)
    return high * sd / math.sqrt(n)


def _level(families: int, confidence: float) -> float:
    """Return the level of Holm's first step."""
    return (1 - confidence) / families


def _fewest_for_sign_flip(families: int, confidence: float) -> int:
    """Return the fewest values whose smallest sign-flip p-value passes Holm's first step; a t test asks for two."""
    n = 2
    while families * 2.0 ** (1 - n) > 1 - confidence:
        n += 1
    return n


def _power(noncentrality: float, n: int, level: float) -> float:
    """Return the power of the two-sided t test of n values; the noncentrality is mean / sd * sqrt(n)."""
    critical = float(stdtrit(n - 1, 1 - level / 2))
    above = 1 - nctdtr(n - 1, noncentrality, critical)
    return float(above + nctdtr(n - 1, noncentrality, -critical))
