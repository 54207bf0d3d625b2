"""The search for a learning rate: its ladder, where it goes on and where it ends, and what it says it found."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from altgrad.study.tuning import Trial, TuningConfig, best_rung, choose, next_rungs, smoothed_best

CHANCE = math.log(256)


def rule(**changes: object) -> TuningConfig:
    return TuningConfig.model_validate({"lowest_lr": 1e-3, "start": 4, "max_lrs": 10, "seeds": [101, 102], **changes})


def trial(score: float, diverged: int = 0) -> Trial:
    return Trial(score, diverged, CHANCE if diverged else score)


def search(loss: Callable[[int], Trial], tuning: TuningConfig) -> dict[int, Trial]:
    """Follow the rule to its end."""
    trials: dict[int, Trial] = {}
    while rungs := next_rungs(tuning, trials):
        assert not set(rungs) & set(trials), "no rung is tried twice"
        trials.update({rung: loss(rung) for rung in rungs})
    return trials


def test_the_ladder_is_in_half_octaves() -> None:
    rates = [rule().lr(rung) for rung in range(-2, 7)]
    assert rates == [5e-4, 7.071e-4, 1e-3, 1.414e-3, 2e-3, 2.828e-3, 4e-3, 5.657e-3, 8e-3]
    assert rule().lr(2, scale=2.0**20) == float(f"{2e-3 * 2**20:.4g}")


@pytest.mark.parametrize("best", range(-3, 7))
def test_the_search_ends_with_the_best_inside(best: int) -> None:
    trials = search(lambda rung: trial(2.0 + 0.1 * (rung - best) ** 2), rule())
    choice = choose(trials, CHANCE)
    assert choice.rung == best and not choice.at_edge
    assert set(range(4)) <= set(trials) and set(range(best - 2, best + 3)) <= set(trials)
    assert sorted(trials) == list(range(min(trials), max(trials) + 1)), "no gap"


def test_one_worse_rung_does_not_end_a_search() -> None:
    bump = {4: 2.45}  # on a slope that goes on falling to 7
    trials = search(lambda rung: trial(bump.get(rung, 2.0 + 0.1 * abs(rung - 7))), rule(max_lrs=12))
    assert choose(trials, CHANCE).rung == 7


def test_the_search_ends_at_the_cap_and_says_that_it_stands_at_an_edge() -> None:
    trials = search(lambda rung: trial(3.0 - 0.1 * rung), rule())
    assert len(trials) == 10 and choose(trials, CHANCE).rung == max(trials)
    assert choose(trials, CHANCE).at_edge


def test_the_choice_is_the_vertex_of_the_parabola_around_the_best() -> None:
    noise = {0: 0.0, 1: 0.004, 2: -0.03, 3: 0.01, 4: 0.0, 5: -0.004, 6: 0.0}
    trials = {r: trial(2.2 + 0.01 * (r - 3) ** 2 + noise[r]) for r in noise}
    assert best_rung(trials) == 2
    near = list(range(0, 5))
    square, slope, _ = np.polyfit(near, [trials[r].score for r in near], 2)
    assert choose(trials, CHANCE).rung == round(-slope / (2 * square)) == smoothed_best(trials)


def test_the_choice_keeps_away_from_the_brink_of_a_cliff() -> None:
    scores = {0: 1.88, 1: 1.843, 2: 1.849, 3: 1.848, 4: 1.837, 5: 2.39, 6: 2.43}  # flat, then every seed falls off
    trials = {rung: trial(score) for rung, score in scores.items()}
    assert best_rung(trials) == 4
    near = [2, 3, 4, 5, 6]
    square, slope, _ = np.polyfit(near, [min(scores[r], 1.1 * 1.837) for r in near], 2)
    assert smoothed_best(trials) == round(-slope / (2 * square)) == 2
    higher = {**trials, 5: trial(5.5), 6: trial(5.6)}
    lost = {**trials, 5: trial(2.39, diverged=2), 6: trial(2.43, diverged=2)}
    assert smoothed_best(higher) == smoothed_best(lost) == 2, "a cliff counts the same however high it is"


def test_where_every_rung_diverged_the_choice_is_the_best_of_them() -> None:
    trials = {rung: trial(score, diverged=1) for rung, score in enumerate([4.0, 3.9, 3.5, 3.9, 4.1])}
    assert smoothed_best(trials) == best_rung(trials) == 2


def test_with_fewer_than_four_rungs_the_choice_is_the_best_itself() -> None:
    assert smoothed_best({2: trial(2.40), 3: trial(2.37), 4: trial(2.5)}) == 3


def test_the_fewest_diverged_come_first_then_the_loss_then_the_lower_rate() -> None:
    assert best_rung({0: trial(2.5), 1: trial(2.0, diverged=1), 2: trial(2.4)}) == 2
    assert best_rung({0: trial(2.5), 1: trial(2.4), 2: trial(2.4)}) == 1


def test_basin_and_largest_stable_rate() -> None:
    scores = {0: 2.03, 1: 2.02, 2: 2.0, 3: 2.019, 4: 2.021, 5: CHANCE, 6: 2.3}
    choice = choose({rung: trial(score) for rung, score in scores.items()}, CHANCE)
    assert choice.rung == 2 and choice.basin == (1, 3) and choice.basin_octaves == 1.0
    assert choice.largest_stable == 4 and not choice.stable_at_edge  # at 5 it had not learned, and 6 is luck
    diverged = choose({0: trial(2.0), 1: trial(2.1), 2: trial(CHANCE, diverged=1)}, CHANCE)
    assert diverged.largest_stable == 1
    assert choose({0: trial(CHANCE), 1: trial(1.9), 2: trial(2.1)}, CHANCE).stable_at_edge
    assert choose({0: trial(CHANCE), 1: trial(CHANCE), 2: trial(CHANCE)}, CHANCE).largest_stable is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"max_lrs": 3}, "max_lrs 3 is below start 4"), ({"seeds": [7, 7]}, "name each once"), ({"start": 2}, "than or")],
)
def test_a_rule_without_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        rule(**changes)
