"""The emergency mantissa shift (STAB-06): when it comes, and what it leaves."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import altgrad as ag
from altgrad.nn.surgery import named_quantized_weights
from altgrad.numerics.catalog import EIGHT_SPLITS, formats
from altgrad.study.sections import MantissaShiftConfig
from altgrad.training.shift import ShiftGuard, shift_formats, shifted


def test_every_split_gives_an_exponent_bit_until_there_is_none() -> None:
    fmt, seen = formats["E7M0"], ["E7M0"]
    while (following := shifted(fmt)) is not None:
        fmt = following
        seen.append(fmt.name)
    assert seen == list(reversed(EIGHT_SPLITS)) == [f"E{7 - m}M{m}" for m in range(8)]
    assert shifted(formats["E2M1"]) is None


def test_a_streak_of_windows_is_what_it_takes() -> None:
    guard = ShiftGuard(MantissaShiftConfig(windows=3, stall_ratio=0.9))
    series = [0.95, 0.95, 0.5, 0.95, 0.95, math.nan, 0.95, 0.95, 0.95]
    due = [guard.observe({"w": ratio, "calm": 0.1}, {}) for ratio in series]
    # The seventh is the third in a row: a window without updates breaks no streak. After it counting starts again.
    assert due == [{}] * 6 + [{"w": "stall_ratio"}] + [{}] * 2


def test_nonfinite_gradients_speak_for_a_shift_where_the_config_lets_them() -> None:
    for wanted in (True, False):
        guard = ShiftGuard(MantissaShiftConfig(windows=2, nonfinite=wanted))
        due = [guard.observe({"w": math.nan}, {"w": True}) for _ in range(2)]
        assert due == [{}, {"w": "nonfinite"} if wanted else {}]


def test_streaks_are_saved() -> None:
    config = MantissaShiftConfig(windows=2)
    guard, other = ShiftGuard(config), ShiftGuard(config)
    guard.observe({"w": 1.0}, {})
    other.load_state_dict(guard.state_dict())
    assert other.observe({"w": 1.0}, {}) == {"w": "stall_ratio"}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(12, 6)
        self.head = nn.Linear(6, 12, bias=False)
        self.head.weight = self.wte.weight
        self.other = nn.Linear(6, 6)


@pytest.mark.parametrize("per_row", [False, True])
def test_weights_stay_and_their_scale_starts_afresh(per_row: bool) -> None:
    model = ag.quantize_model(Tied(), ag.PrecisionPlan({"*": "E5M2"}, per_row=per_row))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    shift_formats(model, {"wte.weight": formats["E4M3"]}, {"per_row": per_row})
    found = {name: (p, scaler) for name, p, scaler in named_quantized_weights(model)}
    assert {name: scaler.fmt.name for name, (_, scaler) in found.items()} == {
        "wte.weight": "E4M3", "other.weight": "E5M2",
    }  # fmt: skip
    assert model.head._modules["weight_scaler"] is model.wte._modules["weight_scaler"]
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    weight, scaler = found["wte.weight"]
    amax = weight.detach().abs().amax(dim=1, keepdim=True) if per_row else weight.detach().abs().amax()
    expected = 2.0 ** np.ceil(np.log2(amax.double().numpy() / 448.0))
    np.testing.assert_array_equal(scaler.scale.numpy(), expected)
    torch.testing.assert_close(model.head.weight, ag.quantize(weight, "E4M3", scaler.scale), rtol=0, atol=0)
