"""Precision plans: matching, the options, and what they refuse."""

from typing import Any

import pytest
import torch

import altgrad as ag
from altgrad.errors import FormatError, PlanError, UnknownFormatError
from altgrad.nn.plan import LayerFormats, PrecisionPlan, new_scaler
from altgrad.numerics.scaling import Scaler

LAYERS = ["wte", "blocks.0.attn.c_attn", "blocks.0.mlp.c_fc", "blocks.1.mlp.c_fc", "lm_head"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blocks.0.mlp.c_fc", "E3M4"),
        ("blocks.10.mlp.c_proj", "E3M4"),
        ("blocks.0.attn.c_attn", "E4M3"),
        ("lm_head", None),
        ("wte", "BF16"),
        ("Lm_head", "BF16"),
        ("", "BF16"),
    ],
)
def test_the_first_match_wins(name: str, expected: str | None) -> None:
    plan = PrecisionPlan({"*.mlp.*": "E3M4", "*.attn.*": "e4m3fn", "lm_head": None, "*": "BF16"})
    found = plan.format_for(name)
    assert (found.name if found else None) == expected


def test_a_layer_that_no_pattern_matches_is_left_alone() -> None:
    assert PrecisionPlan({"*.mlp.*": "E3M4"}).format_for("lm_head") is None


def test_values_can_be_formats_names_or_roles() -> None:
    own = ag.FloatFormat("mine", 3, 2)
    plan = PrecisionPlan(
        {"a": own, "b": {"weight": "E5M2"}, "c": {"weight": own, "input": None}, "d": {"weight": None}, "e": {}}
    )
    assert [plan.format_for(name) for name in "abcde"] == [own, ag.formats["E5M2"], own, None, None]


@pytest.mark.parametrize(
    ("patterns", "error", "text"),
    [
        (
            {"*": {"weights": "E3M4"}},
            PlanError,
            "plan '*': 'weights' is not a role. The roles are weight, input, grad_output.",
        ),
        (
            {"*": {"input": 8}},
            PlanError,
            "plan '*': 8 is not a format. Give a FloatFormat, a format's name, or None.",
        ),
        ({"*": 8}, PlanError, "plan '*': 8 is not a format. Give a FloatFormat, a format's name, or None."),
        ({3: "E4M3"}, PlanError, "plan: 3 is not a pattern. Give a glob on dotted module names, as a string."),
        (
            ["*"],
            PlanError,
            'plan: list is not a mapping of patterns. Give for example {"*.mlp.*": "E3M4", "lm_head": None}.',
        ),
    ],
)
def test_what_is_no_plan_is_refused(patterns: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        PrecisionPlan(patterns)
    assert str(caught.value) == text


def test_roles_have_formats_of_their_own() -> None:
    plan = PrecisionPlan({"a": {"weight": "E3M4", "input": "e4m3fn", "grad_output": None}, "b": {"input": "E5M2"}})
    assert plan.formats_for("a") == LayerFormats(weight=ag.formats["E3M4"], input=ag.formats["E4M3"])
    assert plan.formats_for("b") == LayerFormats(input=ag.formats["E5M2"])
    assert plan.format_for("b") is None and plan.formats_for("c") == LayerFormats()
    assert repr(plan) == "PrecisionPlan({'a': {'weight': 'E3M4', 'input': 'E4M3'}, 'b': {'input': 'E5M2'}})"


def test_rules_that_differ_in_a_cast_alone_decide_differently() -> None:
    with pytest.raises(PlanError, match=r"plan '\*\.mlp\.\*': earlier patterns already decide"):
        PrecisionPlan({"blocks.*": "E4M3", "*.mlp.*": {"weight": "E4M3", "input": "E4M3"}}).check_patterns(LAYERS)
    with pytest.raises(PlanError, match="plan 'nothing': it matches no layer"):
        PrecisionPlan({"nothing": {"input": "E4M3"}}).check_patterns(LAYERS)


def test_an_unknown_format_names_the_pattern_and_the_nearest() -> None:
    with pytest.raises(UnknownFormatError, match=r"plan '\*\.mlp\.\*': 'E4M4' is not a format; nearest: .*E4M3"):
        PrecisionPlan({"*.mlp.*": "E4M4"})


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"scaling": "late"}, FormatError, "'late' is not a mode"),
        ({"history": 0}, FormatError, "0 is not a number of steps"),
        ({"rows": True}, TypeError, "rows"),
    ],
)
def test_options_are_checked_with_the_plan(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        PrecisionPlan({}, **options)


def test_a_pattern_that_matches_nothing_offers_the_nearest_layers() -> None:
    with pytest.raises(PlanError) as caught:
        PrecisionPlan({"lm_haed": "E4M3", "*": "BF16"}).check_patterns(LAYERS)
    assert str(caught.value).startswith("plan 'lm_haed': it matches no layer of the model; nearest: lm_head, ")


def test_a_model_without_layers_says_so() -> None:
    with pytest.raises(PlanError, match="nearest: none, the model has no such layers"):
        PrecisionPlan({"wte": "E4M3"}).check_patterns([])


def test_a_pattern_behind_a_wider_one_is_refused() -> None:
    with pytest.raises(PlanError) as caught:
        PrecisionPlan({"*": "BF16", "*.mlp.*": "E3M4"}).check_patterns(LAYERS)
    assert str(caught.value) == (
        "plan '*.mlp.*': earlier patterns already decide every layer that it matches, for example blocks.0.mlp.c_fc. "
        "The first match wins: put the narrower pattern first."
    )


@pytest.mark.parametrize(
    "patterns",
    [
        {"*": "E4M3"},
        {"nothing": None},
        {"*.mlp.*": "E3M4", "blocks.0.*": "E4M3", "*": "BF16"},
        {"blocks.*": "E4M3", "*.mlp.*": "E4M3"},  # behind a wider one of the same format
        {},
    ],
)
def test_patterns_with_an_effect_pass(patterns: dict[str, str | None]) -> None:
    PrecisionPlan(patterns).check_patterns(LAYERS)


def test_the_star_may_find_nothing_left_to_match() -> None:
    PrecisionPlan({"*": "E4M3"}).check_patterns([])
    PrecisionPlan({"?*": "E4M3", "*": "BF16"}).check_patterns(LAYERS)


def test_the_printed_plan_is_how_it_would_be_written() -> None:
    plan = PrecisionPlan({"*.mlp.*": "e3m4", "lm_head": None}, scaling="current")
    assert repr(plan) == "PrecisionPlan({'*.mlp.*': 'E3M4', 'lm_head': None}, scaling='current')"


def test_a_new_scaler_takes_its_scale_from_the_weight() -> None:
    weight = torch.tensor([[1.0, -3.0], [0.25, 0.0]])
    one = new_scaler(weight, "E4M3")
    assert one.scale.item() == 2.0**-7  # 3 / 448, up to the next power of two
    assert one.amax_history.tolist() == [3.0] + [-1.0] * 15
    rows = new_scaler(weight, "E4M3", scaling="current", per_row=True, power_of_two=False)
    torch.testing.assert_close(rows.scale, torch.tensor([[3.0], [0.25]]) / 448)
    assert isinstance(rows, Scaler) and rows.mode == "current"
    assert new_scaler(weight, "BF16").scale.item() == 1.0
