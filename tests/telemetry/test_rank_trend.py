"""The early warning of rank collapse: seen well before it, and not where there is none."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from altgrad.telemetry.rank_trend import CLASSIFIER_LOSS, FEWEST, LOSS, loss_for, rank_warning

TOTAL = 1000
STEPS = list(range(20, TOTAL + 1, 20))

COLLAPSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda t: 100 * (1 - 0.6 * t),
    "exponential": lambda t: 100 * np.exp(-1.5 * t),
    "late": lambda t: 100 - 150 * np.clip(t - 0.5, 0, None),
}


LEAD = {"linear": 280, "exponential": 80, "late": 40}
"""Steps between the warning and the loss that it warns of, of 1000, at the least over the seeds tested."""


def first_warning(values: np.ndarray, loss: float = LOSS) -> int | None:
    """Return the step of the first warning as a run would see it, point by point."""
    for n in range(1, len(STEPS) + 1):
        if rank_warning(STEPS[:n], values[:n].tolist(), TOTAL, loss) is not None:
            return STEPS[n - 1]
    return None


@pytest.mark.parametrize("kind", COLLAPSES)
def test_collapses_are_found_before_they_have_happened(kind: str) -> None:
    curve = COLLAPSES[kind](np.array(STEPS) / TOTAL)
    reference = curve[STEPS.index(100)]
    happened = next(step for step, value in zip(STEPS, curve, strict=True) if value <= (1 - LOSS) * reference)
    for seed in range(5):
        noisy = curve + np.random.default_rng(seed).standard_normal(len(curve))
        warned = first_warning(noisy)
        assert warned is not None and warned <= happened - LEAD[kind], (kind, seed, warned, happened)


def test_noise_and_harmless_drift_seldom_warn() -> None:
    """Over 200 series, looked at after each of 50 points. Measured: none of each kind."""
    alarms = dict.fromkeys(("noise", "rise", "drift"), 0)
    t = np.array(STEPS) / TOTAL
    for seed in range(200):
        noise = 2 * np.random.default_rng(seed).standard_normal(len(t))
        for kind, curve in (("noise", 100 + 0 * t), ("rise", 100 + 20 * t), ("drift", 100 - 10 * t)):
            alarms[kind] += first_warning(curve + noise) is not None
    assert max(alarms.values()) <= 2, alarms


def test_the_warning_says_what_it_rests_on() -> None:
    values = [100 - 0.06 * step for step in STEPS]
    found = rank_warning(STEPS, values, TOTAL)
    assert found is not None
    slope, intercept, *_ = scipy.stats.linregress(STEPS, values)
    assert found.slope == pytest.approx(slope)
    assert found.reference == pytest.approx(intercept + 100 * slope)
    assert found.value == found.projected == pytest.approx(intercept + TOTAL * slope)
    halfway = rank_warning(STEPS[:25], values[:25], TOTAL)
    assert halfway is not None and halfway.projected == pytest.approx(found.value) and halfway.value > halfway.projected


def test_classifiers_warn_at_half_the_loss() -> None:
    assert loss_for("lm_head.weight") == loss_for("blocks.3.mlp.c_proj.weight") == CLASSIFIER_LOSS == LOSS / 2
    assert loss_for("blocks.0.attn.c_proj.weight") == loss_for("c_proj.weight") == CLASSIFIER_LOSS
    assert loss_for("wte.weight") == loss_for("blocks.0.mlp.c_fc.weight") == LOSS
    values = [100 - 0.025 * step for step in STEPS]
    assert rank_warning(STEPS, values, TOTAL) is None
    assert rank_warning(STEPS, values, TOTAL, CLASSIFIER_LOSS) is not None


def test_too_few_points_and_holes_are_left_out() -> None:
    values = [100 - 0.06 * step for step in STEPS]
    few = STEPS.index(100) + FEWEST - 1
    assert rank_warning(STEPS[:few], values[:few], TOTAL) is None
    assert rank_warning(STEPS[: few + 1], values[: few + 1], TOTAL) is not None
    holes = [math.nan if i % 3 else value for i, value in enumerate(values)]
    assert rank_warning(STEPS, holes, TOTAL) is not None
    assert rank_warning(STEPS, [math.nan] * len(STEPS), TOTAL) is None
    assert rank_warning(STEPS, [0.0] * len(STEPS), TOTAL) is None
    assert rank_warning([], [], TOTAL) is None
