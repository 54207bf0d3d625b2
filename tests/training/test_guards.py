import math

from altgrad.study.sections import EarlyStopConfig
from altgrad.training.guards import NonfiniteGuard


def test_patience_counts_steps_in_a_row_of_one_kind() -> None:
    guard = NonfiniteGuard(EarlyStopConfig(loss=3, gradient=2, weight=1))
    for value in (math.nan, math.inf, 1.0, math.nan, -math.inf):
        guard.observe("loss", value)
        assert guard.diverged() is None
    guard.observe("loss", math.nan)
    assert guard.diverged() == "loss"


def test_kinds_have_their_own_patience() -> None:
    guard = NonfiniteGuard(EarlyStopConfig(loss=3, gradient=2, weight=1))
    guard.observe("gradient", math.inf)
    guard.observe("loss", math.inf)
    assert guard.diverged() is None
    guard.observe("gradient", math.nan)
    assert guard.diverged() == "gradient"


def test_streaks_survive_a_restart() -> None:
    guard = NonfiniteGuard(EarlyStopConfig(loss=2))
    guard.observe("loss", math.nan)
    restored = NonfiniteGuard(EarlyStopConfig(loss=2))
    restored.load_state_dict(guard.state_dict())
    restored.observe("loss", math.nan)
    assert restored.diverged() == "loss"
