"""Settings that would have no effect, or runs under another's name, are refused before anything is launched."""

from typing import Any

import pytest
from pydantic import ValidationError

from altgrad.study.config import StudyConfig

Data = dict[str, Any]
RUNG = {"optimizer": "rung_sgd", "geometry_aware": True}


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({**RUNG, "metric_power": 0.5}, "metric_power has no effect on rung_sgd; leave it out"),
        ({**RUNG, "precondition": "gradient"}, "precondition has no effect on rung_sgd"),
        (
            {"optimizer": "manifold_adamw", "max_rungs": 2.0, "geometry_aware": True},
            "max_rungs has no effect on manifold_adamw",
        ),
    ],
)
def test_a_setting_of_the_other_optimizer_is_refused(study_data: Data, update: Data, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StudyConfig.model_validate({**study_data, "updates": {**study_data["updates"], "odd": update}})


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"updates": ["rung"]}, "rung moves in rungs, which nearest storage would lose; give it another grid"),
        ({"formats": ["BF16"], "storages": ["master"]}, "BF16 is a reference format, which has no grid to step on"),
        ({"formats": ["E4M3", "fp16"], "updates": ["adamw"]}, "fp16 is a reference format"),
    ],
)
def test_a_combination_that_is_another_run_or_none_is_refused(study_data: Data, factors: Data, message: str) -> None:
    updates = {**study_data["updates"], "rung": RUNG}
    grids = [{**study_data["grids"][0], **factors}]
    with pytest.raises(ValidationError, match=rf"grids\.0: {message}"):
        StudyConfig.model_validate({**study_data, "updates": updates, "grids": grids})


def test_combinations_with_sense_pass(study_data: Data) -> None:
    first = study_data["grids"][0]
    grids = [
        {**first, "updates": ["rung"], "storages": ["master", "stochastic"]},
        {**first, "formats": ["BF16", "FP16"], "updates": ["adamw"], "storages": ["master"]},
    ]
    StudyConfig.model_validate({**study_data, "updates": {**study_data["updates"], "rung": RUNG}, "grids": grids})
