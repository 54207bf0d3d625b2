"""What reports say of runs that ended no better than bigrams."""

from altgrad.analysis.cells import NEAR_BIGRAMS

STUCK = (
    f"Stuck are runs that ended within {1 - NEAR_BIGRAMS:.0%} of the loss of bigrams, or above: no better than a model"
    f" that counts pairs of tokens; diverged runs are among them."
)
"""What the word means."""
