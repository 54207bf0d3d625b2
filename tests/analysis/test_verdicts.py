import pytest

from altgrad.analysis.estimates import estimate
from altgrad.analysis.study_info import StudyInfo, study_info
from altgrad.analysis.verdicts import verdict
from tests.analysis.fabricate import make_study

WORDS = ("helps", "hurts")
CLEAR = [0.10, 0.11, 0.09, 0.10, 0.12, 0.10]


def info(min_seeds: int, min_steps: int) -> StudyInfo:
    """Return a study with runs of 40 steps."""
    return study_info(make_study(analysis={"min_seeds": min_seeds, "min_steps": min_steps}), None)


@pytest.mark.parametrize(
    ("values", "p_holm", "min_seeds", "expected"),
    [
        (CLEAR, 0.03, 6, "helps"),
        ([-x for x in CLEAR], 0.03, 6, "hurts"),
        (CLEAR, 0.25, 6, "helps (not after Holm)"),
        ([-x for x in CLEAR], 0.25, 6, "hurts (not after Holm)"),
        ([0.1, -0.1, 0.2, -0.2, 0.1, -0.1], 0.03, 6, "no difference shown"),
        ([0.0] * 6, 1.0, 6, "no difference shown"),
        (CLEAR, 0.03, 7, "not enough seeds"),
        ([0.1], float("nan"), 1, "not enough seeds"),
        ([], float("nan"), 1, "not enough seeds"),
    ],
)
def test_verdict(values: list[float], p_holm: float, min_seeds: int, expected: str) -> None:
    assert verdict(estimate(values, 0.95), p_holm, WORDS, info(min_seeds, 40)) == expected


def test_runs_of_fewer_steps_give_no_verdict() -> None:
    clear = estimate(CLEAR, 0.95)
    assert verdict(clear, 0.03, WORDS, info(6, 41)) == "not enough steps"
    assert verdict(clear, 0.03, WORDS, info(7, 41)) == "not enough seeds"
