import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from altgrad.data import ngrams
from altgrad.data.ngrams import ngram_losses

RNG = np.random.default_rng(3)
TRAIN = RNG.integers(0, 6, 400).astype(np.uint16)
WINDOWS = RNG.integers(0, 8, (5, 9)).astype(np.uint16)  # 6 and 7 are never trained on
VOCAB = 8


def by_hand() -> tuple[float, float]:
    """Return both losses from the definitions, in exact rationals, one token at a time."""
    single, pairs = Counter(TRAIN.tolist()), Counter(pairwise(TRAIN.tolist()))
    p = {w: Fraction(single[w] + 1, len(TRAIN) + VOCAB) for w in range(VOCAB)}
    unigram, bigram = [], []
    for window in WINDOWS.tolist():
        for h, w in pairwise(window):
            after = {second: times for (first, second), times in pairs.items() if first == h}
            seen, kinds = sum(after.values()), len(after)
            unigram.append(-math.log(p[w]))
            bigram.append(-math.log((after.get(w, 0) + kinds * p[w]) / (seen + kinds) if seen else p[w]))
    return sum(unigram) / len(unigram), sum(bigram) / len(bigram)


@pytest.mark.parametrize("chunk", [1 << 24, 37, 399, 1])
def test_losses_are_those_of_the_definitions(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "CHUNK", chunk)
    losses = ngram_losses(TRAIN, WINDOWS, VOCAB)
    assert (losses.unigram, losses.bigram) == pytest.approx(by_hand(), rel=1e-12)


def test_pairs_tell_more_than_single_tokens_where_the_next_depends_on_the_last() -> None:
    chain = np.cumsum(RNG.integers(1, 3, 20_000)) % 50  # each token has two successors, equally likely
    losses = ngram_losses(chain[:15_000].astype(np.uint32), chain[None, 15_000:].astype(np.uint32), 50)
    assert losses.bigram == pytest.approx(math.log(2), abs=0.02)
    assert losses.unigram == pytest.approx(math.log(50), abs=0.02)
