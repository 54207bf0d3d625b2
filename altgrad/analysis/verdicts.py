"""What may be said about a comparison: one place for the words, so that no report says more."""

from altgrad.analysis.estimates import Estimate

NOT_ENOUGH = "not enough seeds"
NO_DIFFERENCE = "no difference shown"
NOT_AFTER_HOLM = " (not after Holm)"
"""Appended where the interval excludes 0 and the corrected p-value is above 1 - confidence."""


def verdict(estimate: Estimate, p_holm: float, words: tuple[str, str], min_seeds: int, confidence: float) -> str:
    """Return the verdict on a paired difference.

    Args:
        estimate: The difference.
        p_holm: Its sign-flip p-value after Holm's correction over the formats.
        words: What a positive and a negative difference mean, for example ("helps", "hurts").
        min_seeds: Fewer paired seeds give no verdict.
        confidence: The interval's.

    Returns:
        `not enough seeds`; else one of `words` where the interval excludes 0, with `(not after Holm)` where only
        the uncorrected interval does; else `no difference shown`.
    """
    if estimate.n < max(min_seeds, 2):
        return NOT_ENOUGH
    if not estimate.excludes_zero:
        return NO_DIFFERENCE
    word = words[0] if estimate.mean > 0 else words[1]
    return word if p_holm <= 1 - confidence else word + NOT_AFTER_HOLM
