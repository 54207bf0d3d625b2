"""The words of the synthetic corpus, and the draws that choose among them."""

import bisect
import itertools
import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

SUBJECTS = (
    "agricultural structures and products",
    "customs tariff",
    "competition policy",
    "energy",
    "environment",
    "fisheries",
    "food safety",
    "free movement of goods",
    "public health",
    "statistics",
    "taxation",
    "transport",
)
STOCK_NOUNS = "measure procedure application product market authority decision provision period information".split()
STOCK_ADJECTIVES = "competent national common necessary specific relevant technical additional".split()
STOCK_VERBS = "ensure establish adopt apply determine specify communicate".split()

_ONSETS = "b c d f g l m n p r s t v br cr dr fr gr pl pr st tr".split()
_VOWELS = "a e i o u".split()
_CODAS = ("", "", "", "l", "m", "n", "r", "s")

# Zipf's law with Mandelbrot's offset; word i of a list is drawn with weight 1 / (i + offset).
_ZIPF_OFFSET = 2.7


class Random:
    """Seeded draws, built on `random.Random.random` alone: Python promises that one's sequence for a seed for ever.

    Args:
        seed: Equal seeds, equal draws.
    """

    def __init__(self, seed: int) -> None:
        self.uniform = random.Random(seed).random

    def below(self, limit: int) -> int:
        """Return an integer in [0, limit)."""
        return int(self.uniform() * limit)

    def choice(self, items: Sequence[Item]) -> Item:
        """Return one of the items, each as likely."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """Return `count` different items in random order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in range(count)]

    def weighted(self, items: Sequence[Item], cumulative: Sequence[float]) -> Item:
        """Return one of the items.

        Args:
            items: What to choose from.
            cumulative: The running sum of the items' weights.
        """
        last = len(items) - 1  # where rounding would carry the product past the end
        return items[bisect.bisect(cumulative, self.uniform() * cumulative[-1], 0, last)]


class Words(NamedTuple):
    """The words that an act draws from, the likeliest first, each list with the running sum of its weights."""

    nouns: list[str]
    noun_weights: list[float]
    adjectives: list[str]
    adjective_weights: list[float]
    verbs: list[str]
    verb_weights: list[float]


class Lexicon:
    """Stock words of legal English, and made-up words that belong to subjects.

    Args:
        random: Where the made-up words come from.

    Attributes:
        subjects: The subject labels.
    """

    def __init__(self, random: Random) -> None:
        self.subjects = SUBJECTS
        seen: set[str] = set()
        self._own = {
            subject: tuple(_make_words(random, count, endings, seen) for count, endings in _PARTS)
            for subject in SUBJECTS
        }

    def words_of(self, subjects: Sequence[str]) -> Words:
        """Return the words of an act on these subjects: stock words among the likeliest, then the subjects' own."""
        lists: list[list[str] | list[float]] = []
        for part, stock in enumerate((STOCK_NOUNS, STOCK_ADJECTIVES, STOCK_VERBS)):
            own = [self._own[subject][part] for subject in subjects]
            words = [w for row in itertools.zip_longest(stock, *own) for w in row if w is not None]
            lists += [words, _zipf(len(words))]
        return Words(*lists)  # type: ignore[arg-type]


_PARTS = (
    (150, ("ment", "tion", "age", "ity", "er", "s")),
    (60, ("al", "ic", "ive", "ary", "ous")),
    (50, ("ate", "ify", "e", "ise")),
)
"""Nouns, adjectives, verbs: how many words a subject has of its own, and how they end."""


def _make_words(random: Random, count: int, endings: Sequence[str], seen: set[str]) -> list[str]:
    words: list[str] = []
    while len(words) < count:
        syllables = 1 + random.below(2)
        stem = "".join(
            random.choice(_ONSETS) + random.choice(_VOWELS) + random.choice(_CODAS) for _ in range(syllables)
        )
        word = stem + random.choice(endings)
        if word not in seen:
            seen.add(word)
            words.append(word)
    return words


def _zipf(count: int) -> list[float]:
    return list(itertools.accumulate(1 / (index + _ZIPF_OFFSET) for index in range(count)))
