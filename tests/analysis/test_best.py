import doctest
import math
from itertools import product

import pytest

from altgrad.analysis import best
from altgrad.analysis.best import probability_of_best

SCORES = {
    "E4M3": {1: 0.30, 2: 0.00, 3: 0.11},
    "E5M2": {1: 0.10, 2: 0.14, 3: 0.12},
    "E6M1": {1: 0.05, 2: 0.25, 3: 0.00},
}


def test_agrees_with_exact_enumeration() -> None:
    wins = dict.fromkeys(SCORES, 0)
    for sample in product((1, 2, 3), repeat=3):  # the 27 samples are equally likely, and none ties
        means = {name: sum(scores[seed] for seed in sample) for name, scores in SCORES.items()}
        wins[max(means, key=lambda name: means[name])] += 1
    draws = 10_000
    found = probability_of_best(SCORES, draws)
    assert min(wins.values()) > 0 and sum(found.values()) == pytest.approx(1)
    for name, count in wins.items():
        p = count / 27
        assert found[name] == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / draws))


def test_seeds_are_drawn_for_all_formats_together() -> None:
    # Seeds differ by far more than the formats do; drawn for each format alone, each would win half.
    noisy = {1: 5.0, 2: -3.0, 3: 1.0, 4: 9.0}
    found = probability_of_best({"E5M2": {s: v - 0.01 for s, v in noisy.items()}, "E4M3": noisy})
    assert found == {"E5M2": 0.0, "E4M3": 1.0}


def test_ties_are_shared_equally() -> None:
    values = {1: 0.1, 2: 0.2, 3: 0.3}
    lower = {seed: value - 1 for seed, value in values.items()}
    assert probability_of_best({"a": values, "b": dict(values), "c": lower}) == {"a": 0.5, "b": 0.5, "c": 0.0}
    last_digit = {seed: math.nextafter(value, 1.0) for seed, value in values.items()}  # rounding is no lead
    assert probability_of_best({"a": values, "b": last_digit}) == {"a": 0.5, "b": 0.5}


def test_only_seeds_that_all_formats_have_count() -> None:
    more = {**SCORES, "E4M3": {**SCORES["E4M3"], 4: 100.0}}
    assert probability_of_best(more) == probability_of_best(SCORES)


def test_fewer_than_two_shared_seeds_give_none() -> None:
    found = probability_of_best({"a": {1: 0.1, 2: 0.2}, "b": {2: 0.1, 3: 0.4}})
    assert list(found) == ["a", "b"] and all(math.isnan(p) for p in found.values())
    assert probability_of_best({}) == {}


def test_depends_on_the_seed_and_not_on_the_order() -> None:
    turned = dict(reversed(SCORES.items()))
    assert probability_of_best(turned) == probability_of_best(SCORES)
    assert probability_of_best(SCORES, 500, seed=1) != probability_of_best(SCORES, 500, seed=2)


def test_examples() -> None:
    assert doctest.testmod(best).failed == 0
