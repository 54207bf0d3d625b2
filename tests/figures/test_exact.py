"""Exact words: what is read is what was written, for every magnitude of every format."""

import doctest
import re
from fractions import Fraction

from altgrad.figures import exact
from altgrad.figures.exact import exact_words
from tests.numerics.oracle import GRIDS


def read(words: str) -> Fraction:
    """Return what `1.5 * 2^31`, `2^-9` or `0.9921875` stand for."""
    factor, _, power = words.rpartition(" * ")
    if re.fullmatch(r"2\^-?\d+", power):
        return Fraction(factor or 1) * Fraction(2) ** int(power.removeprefix("2^"))
    return Fraction(words)


def test_examples_hold() -> None:
    results = doctest.testmod(exact)
    assert results.attempted and not results.failed


def test_nothing_is_rounded() -> None:
    for grid in GRIDS.values():
        for value in grid.magnitudes:
            assert read(exact_words(float(value))) == value


def test_the_form() -> None:
    # Digits from a sixteenth to a million, powers of two elsewhere.
    assert [exact_words(x) for x in (0.0625, 0.03125, 98304.0, 2.0**19, 2.0**20, 1.9921875 * 2.0**127)] == [
        *("0.0625", "2^-5", "98304", "524288", "2^20", "1.9921875 * 2^127"),
    ]
