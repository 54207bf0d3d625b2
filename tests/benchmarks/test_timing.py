"""Ratios against the standard library's quantiles, and turns against a clock that the contenders move."""

import gc
import statistics
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import timing
from benchmarks.rows import Target
from benchmarks.setting import Setting
from benchmarks.timing import Times

TIMES = Times({"a": np.array([2.0, 9.0, 4.0, 6.0, 30.0]), "b": np.array([1.0, 3.0, 4.0, 2.0, 5.0])})
"""Medians 6 and 3; a over b within the rounds: 2, 3, 1, 3, 6."""

FULL, QUICK = Setting("cpu", 1, quick=False), Setting("cpu", 1, quick=True)
QUANTUM = 2.0**-8  # longer than a sample, and exact in sums


class Clock:
    """Stands still but for `spend`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.called: list[str] = []
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def spend(self, name: str, seconds: float) -> Callable[[], None]:
        """Return a contender that takes so long."""

        def call() -> None:
            self.called.append(name)
            self.now += seconds

        return call


def test_a_ratio_worked_out_by_hand() -> None:
    row = TIMES.ratio("a", "b")
    assert (row.name, row.value, row.unit, row.low, row.high) == ("a", 2.0, "x", 2.0, 3.0)


def test_the_inverse_is_how_many_times_faster() -> None:
    row = TIMES.ratio("b", "a", inverse=True)
    assert (row.value, row.low, row.high) == (2.0, 2.0, 3.0)
    row = TIMES.ratio("a", "b", inverse=True)
    assert row.value == 0.5
    # Within the rounds: 1/2, 1/3, 1, 1/3, 1/6.
    assert (row.low, row.high) == pytest.approx((1 / 3, 1 / 2))


def test_a_ratio_is_one_of_medians_and_its_spread_one_of_rounds() -> None:
    draws = np.random.default_rng(7)
    one, other = draws.lognormal(size=14), draws.lognormal(size=14)
    row = Times({"one": one, "other": other}).ratio("one", "other")
    assert row.value == pytest.approx(statistics.median(one) / statistics.median(other))
    low, _, high = statistics.quantiles(one / other, n=4, method="inclusive")
    assert (row.low, row.high) == pytest.approx((low, high))
    assert row.value != pytest.approx(statistics.median(one / other))


def test_a_ratio_is_named_and_judged() -> None:
    row = TIMES.ratio("a", "b", "a / b", Target(1.9), note="by hand")
    assert (row.name, row.target, row.note, row.verdict()) == ("a / b", Target(1.9), "by hand", "missed")


def test_a_median_is_in_seconds_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    contenders = {"slow": clock.spend("slow", 3 * QUANTUM), "fast": clock.spend("fast", QUANTUM / 8)}
    times = timing.interleave(contenders, QUICK)
    assert (times.median_s("slow"), times.median_s("fast")) == (3 * QUANTUM, QUANTUM / 8)
    # 3 rounds after 3 calls of warm-up; the fast one's samples have ceil(0.002 / (2 ** -11)) = 5 calls.
    assert Counter(clock.called) == {"slow": 3 + 3, "fast": 3 + 3 * 5}


@pytest.mark.parametrize(
    ("budget_s", "rounds"),
    [(0.0, 7), (20 * 3 * QUANTUM, 21), (1e9, 61)],
    ids=["at least 7", "until it is over the budget", "at most 61"],
)
def test_the_budget_sets_the_rounds(budget_s: float, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    contenders = {name: clock.spend(name, QUANTUM) for name in "abc"}
    times = timing.interleave(contenders, FULL, budget_s)
    assert {name: len(samples) for name, samples in times.samples.items()} == dict.fromkeys("abc", rounds)


def test_contenders_take_turns_in_changing_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    contenders = {name: clock.spend(name, QUANTUM) for name in "abc"}
    timing.interleave(contenders, FULL, 1e9)
    assert clock.called[:9] == list("aaabbbccc")
    turns = ["".join(clock.called[i : i + 3]) for i in range(9, len(clock.called), 3)]
    assert {"".join(sorted(turn)) for turn in turns} == {"abc"}
    assert len(set(turns)) == 6
    assert {clock.called[9:][i::3].count("a") > 10 for i in range(3)} == {True}


def test_garbage_waits_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    call, collecting = clock.spend("a", QUANTUM), []

    def contender() -> None:
        call()
        collecting.append(gc.isenabled())
        if len(collecting) == 5:
            raise RuntimeError("the second round")

    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="the second round"):
        timing.interleave({"a": contender}, FULL)
    assert collecting == [True] * 3 + [False] * 2
    assert gc.isenabled()
