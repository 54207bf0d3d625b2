"""The fits of growth, against lines that are known and against SciPy's regression."""

from typing import NoReturn

import numpy as np
import pytest
import torch
from scipy.stats import linregress

from benchmarks import growth
from benchmarks.rows import Result, Series
from benchmarks.setting import Setting

X = [1e5, 3e5, 1e6, 3e6, 1e7]
NOISE = np.random.default_rng(3).lognormal(sigma=0.3, size=(2, len(X)))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.7])
def test_the_slope_of_a_power_is_the_power(power: float) -> None:
    assert growth.slope(X, [3e-4 * x**power for x in X]) == pytest.approx(power, abs=1e-9)


def test_a_straight_line_explains_all() -> None:
    assert growth.r_squared(X, [5.0 + 2e-6 * x for x in X]) == pytest.approx(1.0)
    # With a start that does not grow, the slope between logarithms is below 1.
    assert growth.slope(X, [5.0 + 2e-6 * x for x in X]) < 0.6


def test_r_squared_by_hand() -> None:
    # Through (0, 0), (1, 0), (2, 3): the line 1.5 x - 0.5 leaves 1.5 of the squares' 6.
    assert growth.r_squared([0.0, 1.0, 2.0], [0.0, 0.0, 3.0]) == pytest.approx(0.75)


@pytest.mark.parametrize("noise", NOISE)
def test_the_fits_are_those_of_scipy(noise: np.ndarray) -> None:
    y = [float(2e-6 * x * factor) for x, factor in zip(X, noise, strict=True)]
    assert growth.slope(X, y) == pytest.approx(linregress(np.log10(X), np.log10(y)).slope)
    assert growth.r_squared(X, y) == pytest.approx(linregress(X, y).rvalue ** 2)


@pytest.mark.parametrize(("power", "verdicts"), [(1.0, ["met", "met"]), (2.0, ["missed", "missed"])])
def test_curves_are_judged_by_ours(power: float, verdicts: list[str]) -> None:
    result, y = Result(), {"ours": [x**power for x in X], "plain": [x**0.5 for x in X]}
    growth._add(result, X, y, "time (ms)", "ours")
    fits = [power, linregress(X, y["ours"]).rvalue ** 2]
    assert [row.value for row in result.rows] == pytest.approx(fits)
    assert [row.verdict() for row in result.rows] == verdicts
    words = "ours over parameters, 0.1M to 10M"
    assert [row.name for row in result.rows] == [f"{words}: log-log slope", f"{words}: R2 of a straight line"]
    assert result.rows[0].note == "plain: 0.50"
    assert result.series == [Series(name, "parameters", "time (ms)", X, y[name]) for name in y]


def test_the_threads_come_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(setting: Setting, result: Result) -> NoReturn:
        raise RuntimeError(f"{torch.get_num_threads()} thread")

    monkeypatch.setattr(growth, "_optimizer_steps", fail)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match=r"^1 thread$"):
            growth.run(Setting("cpu", 2, quick=True))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
