"""What may be said about a comparison: one place for the words, so that no report says more."""

from altgrad.analysis.estimates import Estimate
from altgrad.analysis.study_info import StudyInfo

NOT_ENOUGH_SEEDS = "not enough seeds"
NOT_ENOUGH_STEPS = "not enough steps"
NO_VERDICT = (NOT_ENOUGH_SEEDS, NOT_ENOUGH_STEPS)
"""What stands in place of a verdict where the study is too small for one."""

NO_DIFFERENCE = "no difference shown"
NOT_AFTER_HOLM = " (not after Holm)"
"""Appended where the interval excludes 0 and the corrected p-value is above 1 - confidence."""


def lacking(seeds: int, info: StudyInfo) -> str:
    """Return which of `NO_VERDICT` stands in place of a verdict; empty where one may be given.

    Args:
        seeds: Paired seeds.
        info: The study, which says how many seeds and steps a verdict asks for.
    """
    if seeds < max(info.min_seeds, 2):
        return NOT_ENOUGH_SEEDS
    return NOT_ENOUGH_STEPS if info.steps < info.min_steps else ""


def verdict(estimate: Estimate, p_holm: float, words: tuple[str, str], info: StudyInfo) -> str:
    """Return the verdict on a paired difference.

    Args:
        estimate: The difference.
        p_holm: Its sign-flip p-value after Holm's correction over the formats.
        words: What a positive and a negative difference mean, for example ("helps", "hurts").
        info: The study, which says what a verdict asks for and the interval's confidence.

    Returns:
        `not enough seeds` or `not enough steps`; else one of `words` where the interval excludes 0, with
        `(not after Holm)` where only the uncorrected interval does; else `no difference shown`.
    """
    if too_small := lacking(estimate.n, info):
        return too_small
    if not estimate.excludes_zero:
        return NO_DIFFERENCE
    word = words[0] if estimate.mean > 0 else words[1]
    return word if p_holm <= 1 - info.confidence else word + NOT_AFTER_HOLM
