"""What models that count make of a text: losses to hold a trained model's against."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from altgrad.data.windows import Tokens

CHUNK = 1 << 24
"""Tokens counted at a time."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NgramLosses:
    """Mean losses of models that count.

    Attributes:
        unigram: In nats a token, of a model that knows how frequent every token is.
        bigram: In nats a token, of one that knows the token before, too.
    """

    unigram: float
    bigram: float


def ngram_losses(train: Tokens, windows: Tokens, vocab_size: int) -> NgramLosses:
    """Count tokens and pairs in one text, and return what the counts lose on another.

    Unigrams have one count added for every token of the vocabulary (Laplace). Bigrams are smoothed by Witten and Bell's
    method C (1991, IEEE Trans. Inf. Theory 37), interpolated with the unigrams: p(w | h) = (c(h w) + t(h) p(w)) / (c(h)
    + t(h)), where t(h) different tokens follow h. Neither has anything to tune.

    Args:
        train: What is counted, shape (tokens,).
        windows: What is scored, shape (windows, T + 1): every token but a window's first.
        vocab_size: Ids are below it.

    Example:
        >>> text = np.array([0, 1] * 500, dtype=np.uint16)
        >>> losses = ngram_losses(text, text[None], vocab_size=2)
        >>> round(losses.unigram, 3), round(losses.bigram, 3)
        (0.693, 0.001)
    """
    pairs, counts = _pairs(train, vocab_size)
    history = pairs // vocab_size
    seen = np.bincount(history, weights=counts, minlength=vocab_size)
    followers = np.bincount(history, minlength=vocab_size)
    single = seen + 1.0
    single[int(train[-1])] += 1  # the last token begins no pair
    single /= single.sum()
    before, after = windows[:, :-1].astype(np.int64).ravel(), windows[:, 1:].astype(np.int64).ravel()
    wanted = before * vocab_size + after
    at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    together = np.where(pairs[at] == wanted, counts[at], 0)
    p = single[after]
    left = seen[before] + followers[before]
    smoothed = np.where(left > 0, (together + followers[before] * p) / np.maximum(left, 1), p)
    return NgramLosses(float(-np.log(p).mean()), float(-np.log(smoothed).mean()))


def _pairs(tokens: Tokens, vocab_size: int) -> tuple[Counts, Counts]:
    """Return the pairs of neighbors that occur, as `first * vocab_size + second` by rising number, and how often."""
    pairs, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for start in range(0, len(tokens) - 1, CHUNK):
        part = tokens[start : start + CHUNK + 1].astype(np.int64)
        found, times = np.unique(part[:-1] * vocab_size + part[1:], return_counts=True)
        pairs, places = np.unique(np.concatenate([pairs, found]), return_inverse=True)
        counts = np.bincount(places, weights=np.concatenate([counts, times])).astype(np.int64)
    return pairs, counts
