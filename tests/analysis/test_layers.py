import pytest

from altgrad.analysis.layers import layer_type, matches
from altgrad.study.config import DEFAULT_LAYERS


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        ("wte.weight", "embedding"),
        ("wpe.weight", "embedding"),
        ("blocks.11.attn.c_attn.weight", "attention"),
        ("blocks.0.attn.c_proj.weight", "attention"),
        ("blocks.0.mlp.c_proj.weight", "mlp"),
        ("lm_head.weight", "lm_head"),
        ("blocks.0.ln_1.weight", "other"),
        ("weight", "other"),
    ],
)
def test_layer_type_of_the_gpt(tensor: str, expected: str) -> None:
    assert layer_type(tensor, DEFAULT_LAYERS) == expected


def test_first_match_wins_and_all_is_passed_over() -> None:
    types = {"all": ["*"], "late": ["blocks.1.*"], "every": ["*"]}
    assert layer_type("blocks.1.mlp.weight", types) == "late"
    assert layer_type("blocks.2.mlp.weight", types) == "every"


def test_patterns_are_of_modules_not_of_parameters() -> None:
    assert matches("lm_head.weight", ["lm_head"])
    assert not matches("lm_head.weight", ["lm_head.weight"])
