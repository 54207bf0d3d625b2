"""Scales: the exact ceiling of a logarithm, and the state machine of each mode."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from altgrad.errors import FormatError
from altgrad.numerics.catalog import formats
from altgrad.numerics.rounding import quantize
from altgrad.numerics.scaling import Scaler, ScalingMode, scale_from_amax
from tests.numerics.oracle import NAMES, assert_same_tensor


def _amax(value: float) -> torch.Tensor:
    return torch.tensor(value)


def _exact_scale(amax: float, name: str) -> float:
    """The smallest power of two with amax <= scale * max, within the limits: no logarithm, no rounding."""
    fmt = formats[name]
    exponent = math.frexp(amax / fmt.max)[1] + 2
    while exponent > -1000 and Fraction(amax) <= Fraction(2) ** (exponent - 1) * Fraction(fmt.max):
        exponent -= 1
    limit = Fraction(2) ** -126 / Fraction(fmt.smallest_subnormal)
    return float(min(max(Fraction(2) ** exponent, limit), Fraction(2) ** 127))


@pytest.mark.parametrize("name", NAMES)
def test_powers_of_two_are_exact_to_the_last_bit(name: str) -> None:
    exact = np.array([formats[name].max * 2.0**e for e in (-60, -20, -3, -1, 0, 1, 5, 40)], dtype=np.float32)
    near = [exact, np.nextafter(exact, np.float32(0)), np.nextafter(exact, np.float32(np.inf)), exact * np.float32(1.3)]
    amax = np.concatenate([*near, np.array([1e-45, 1e-38, 3.4e38], dtype=np.float32)])
    scales = scale_from_amax(torch.from_numpy(amax), name)
    assert scales.tolist() == [_exact_scale(float(value), name) for value in amax]
    # It saturates nothing, and half of it would.
    fits = torch.from_numpy(amax) <= scales * formats[name].max
    assert fits[:-1].all()


def test_scales_by_hand() -> None:
    amax = torch.tensor([448.0, 448.1, 224.0, 1.0, 0.0, float("inf"), float("nan")])
    assert scale_from_amax(amax, "E4M3")[:5].tolist() == [1.0, 2.0, 0.5, 2.0**-8, 1.0]
    assert scale_from_amax(amax, "E4M3")[5:].isnan().all()
    assert scale_from_amax(amax, "E4M3", power_of_two=False)[3].item() == np.float32(1.0) / np.float32(448.0)
    assert scale_from_amax(amax, "E4M3", amax_target=224.0)[:3].tolist() == [2.0, 4.0, 1.0]
    assert scale_from_amax(amax, "BF16").tolist() == [1.0] * 7
    assert scale_from_amax(torch.tensor([1e-45]), "E4M3", power_of_two=False).item() == 2.0**-117


def test_one_shared_scale_makes_two_formats_one() -> None:
    # E1M6 is E0M7 times 4 but for the top value: with the shared target their tensors agree bit for bit.
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0)) * 0.02
    amax = x.abs().amax()
    for power_of_two in (True, False):
        shared = scale_from_amax(amax, "E1M6", power_of_two)
        fixed = scale_from_amax(amax, "E0M7", power_of_two, amax_target=3.9375 / 4)
        assert fixed == 4 * shared
        assert torch.equal(quantize(x, "E1M6", shared), quantize(x, "E0M7", fixed))


def test_delayed_uses_the_largest_of_earlier_steps() -> None:
    scaler = Scaler("E4M3", "delayed", history=3)
    assert scaler.scale.item() == 1.0 and scaler.scale.shape == ()
    seen = []
    for amax in (448.0, 1792.0, 448.0, 448.0, 448.0, 448.0, 448.0):
        scaler.advance(_amax(amax))
        seen.append(scaler.scale.item())
    # The first uses its own; 1792 = 4 * 448 counts from the step after it, and for three steps.
    assert seen == [1.0, 1.0, 4.0, 4.0, 4.0, 1.0, 1.0]
    assert scaler.amax_history.tolist() == [448.0] * 3


def test_initializing_counts_as_the_first_of_the_history() -> None:
    scaler = Scaler("E4M3", "delayed", history=3)
    scaler.advance(_amax(1e6))
    scaler.initialize(torch.tensor([[-896.0, 3.0]]))
    assert scaler.scale.item() == 2.0
    assert scaler.amax_history.tolist() == [896.0, -1.0, -1.0]
    scaler.advance(_amax(448.0))
    assert scaler.scale.item() == 2.0
    assert scaler.amax_history.tolist() == [448.0, 896.0, -1.0]


def test_current_uses_this_step_and_keeps_no_history() -> None:
    scaler = Scaler("E4M3", "current")
    assert [name for name, _ in scaler.named_buffers()] == ["scale"]
    seen = []
    for amax in (448.0, 1792.0, 448.0, 0.0):
        scaler.advance(_amax(amax))
        seen.append(scaler.scale.item())
    assert seen == [1.0, 4.0, 1.0, 1.0]
    scaler.initialize(torch.tensor([100.0, -449.0]))
    assert scaler.scale.item() == 2.0


def test_none_and_references_stay_at_one() -> None:
    for scaler in (Scaler("E4M3", "none"), Scaler("BF16"), Scaler("FP16", "current")):
        assert scaler.mode == "none"
        scaler.initialize(torch.tensor([1e6]))
        scaler.advance(_amax(1e6))
        assert scaler.scale.item() == 1.0
        assert [name for name, _ in scaler.named_buffers()] == ["scale"]


@pytest.mark.parametrize("mode", ["delayed", "current"])
def test_eval_mode_freezes_everything(mode: str) -> None:
    scaler = Scaler("E4M3", mode)  # type: ignore[arg-type]
    scaler.advance(_amax(448.0))
    before = {name: buffer.clone() for name, buffer in scaler.named_buffers()}
    scaler.eval()
    for _ in range(3):
        scaler.advance(_amax(1e6))
    assert all(torch.equal(before[name], buffer) for name, buffer in scaler.named_buffers())
    scaler.train()
    scaler.advance(_amax(896.0))
    assert scaler.scale.item() == (1.0 if mode == "delayed" else 2.0)


def test_an_amax_that_is_not_finite_moves_nothing() -> None:
    for mode in ("delayed", "current"):
        scaler = Scaler("E4M3", mode, history=2)  # type: ignore[arg-type]
        scaler.advance(_amax(float("nan")))
        assert scaler.scale.item() == 1.0
        scaler.advance(_amax(896.0))
        assert scaler.scale.item() == 2.0
        for bad in (float("nan"), float("inf"), float("nan")):
            scaler.advance(_amax(bad))
            assert scaler.scale.item() == 2.0
        # By now the history is empty again: the next call uses its own.
        scaler.advance(_amax(448.0))
        assert scaler.scale.item() == 1.0


def test_a_zero_amax_gives_one_and_is_remembered() -> None:
    scaler = Scaler("E4M3", history=4)
    scaler.advance(_amax(0.0))
    assert scaler.scale.item() == 1.0
    scaler.advance(_amax(896.0))
    assert scaler.scale.item() == 1.0
    scaler.advance(_amax(0.0))
    assert scaler.scale.item() == 2.0


def test_one_scale_a_row() -> None:
    scaler = Scaler("E4M3", "delayed", history=2, per_row=True, rows=3)
    assert scaler.scale.shape == (3, 1) and scaler.amax_history.shape == (2, 3)
    x = torch.tensor([[448.0, -1.0], [0.0, 0.0], [1.0, -1792.0]])
    amax = scaler.amax_of(x)
    assert amax.tolist() == [[448.0], [0.0], [1792.0]]
    scaler.initialize(x)
    assert scaler.scale.tolist() == [[1.0], [1.0], [4.0]]
    scaler.advance(scaler.amax_of(x * 2))
    assert scaler.scale.tolist() == [[1.0], [1.0], [4.0]]
    scaler.advance(scaler.amax_of(x))
    assert scaler.scale.tolist() == [[2.0], [1.0], [8.0]]
    assert quantize(x, "E4M3", scaler.scale).tolist() == x.tolist()
    # One row's bad value leaves the others alone.
    scaler.advance(torch.tensor([[float("nan")], [896.0], [448.0]]))
    assert scaler.amax_history.tolist() == [[-1.0, 896.0, 448.0], [448.0, 0.0, 1792.0]]


@pytest.mark.parametrize("power_of_two", [True, False])
@pytest.mark.parametrize("mode", ["delayed", "current"])
def test_a_scale_a_row_is_the_rows_own_scale_for_the_tensor(mode: ScalingMode, power_of_two: bool) -> None:
    # Row by row the state and the rounding are those of a scaler of that row alone, bad values included.
    generator = torch.Generator().manual_seed(3)
    for name in ("E0M7", "E4M3", "E7M0", "binary8p3se"):
        together = Scaler(name, mode, history=3, per_row=True, power_of_two=power_of_two, rows=4)
        apart = [Scaler(name, mode, history=3, power_of_two=power_of_two) for _ in range(4)]
        x = torch.randn(4, 50, generator=generator)
        together.initialize(x)
        for scaler, row in zip(apart, x, strict=True):
            scaler.initialize(row)
        for step in range(6):
            x = torch.randn(4, 50, generator=generator) * torch.tensor([[1e-9], [1.0], [0.0], [1e9]]) * 3.0**step
            x[step % 4, 0] = float("nan") if step == 2 else 1.0
            together.advance(together.amax_of(x))
            for i, scaler in enumerate(apart):
                scaler.advance(scaler.amax_of(x[i]))
                assert torch.equal(together.scale[i, 0], scaler.scale)
            rows = [quantize(row, name, scaler.scale) for row, scaler in zip(x, apart, strict=True)]
            assert_same_tensor(quantize(x, name, together.scale), torch.stack(rows))
        if power_of_two:
            assert (torch.frexp(together.scale).mantissa == 0.5).all()
        elif mode == "current":
            live = [0, 1, 3]  # zeros have scale 1
            exact = together.amax_of(x)[live] / formats[name].max
            assert torch.equal(together.scale[live], exact.clamp(min=2.0**-126 / formats[name].smallest_subnormal))


@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("power_of_two", [True, False])
def test_the_scale_ahead_is_the_scale_of_advance(per_row: bool, power_of_two: bool) -> None:
    settings: dict[str, Any] = {"per_row": per_row, "power_of_two": power_of_two, "rows": 2 if per_row else None}
    at_once, in_two = Scaler("E4M3", history=2, **settings), Scaler("E4M3", history=2, **settings)
    generator = torch.Generator().manual_seed(4)
    for scaler in (at_once, in_two):
        scaler.initialize(torch.ones(2, 3))
    for step in range(5):
        amax = at_once.amax_of(torch.randn(2, 3, generator=generator) * 10.0 ** (step % 3))
        at_once.advance(amax)
        in_two.advance_ahead()
        assert torch.equal(in_two.scale, at_once.scale)  # before it knows the amax
        in_two.remember(amax)
        assert torch.equal(in_two.amax_history, at_once.amax_history)


def test_nothing_moves_ahead_without_a_history_or_in_eval_mode() -> None:
    scaler = Scaler("E4M3", history=2)
    scaler.advance_ahead()
    assert scaler.scale.item() == 1.0
    scaler.remember(_amax(896.0))
    scaler.eval()
    scaler.advance_ahead()
    scaler.remember(_amax(1e6))
    assert scaler.scale.item() == 1.0 and scaler.amax_history.tolist() == [896.0, -1.0]
    scaler.train()
    scaler.advance_ahead()
    assert scaler.scale.item() == 2.0
    current = Scaler("E4M3", "current")
    current.advance_ahead()
    current.remember(_amax(1e6))
    assert current.scale.item() == 1.0


def test_amax_of() -> None:
    scaler = Scaler("E4M3")
    x = torch.tensor([[1.0, -3.0], [2.0, 0.0]], requires_grad=True)
    assert scaler.amax_of(x).item() == 3.0 and not scaler.amax_of(x).requires_grad
    assert scaler.amax_of(torch.empty(0, 3)).item() == 0.0
    assert scaler.amax_of(torch.tensor([1.0, float("nan")])).isnan()
    assert scaler.amax_of(x.bfloat16()).dtype == torch.float32
    rows = Scaler("E4M3", per_row=True, rows=2)
    assert rows.amax_of(torch.empty(2, 0)).tolist() == [[0.0], [0.0]]
    with pytest.raises(FormatError, match=r"scaler: shape \(3, 2\) does not have 2 rows"):
        rows.amax_of(torch.ones(3, 2))


def test_state_survives_a_round_trip_and_updates_stay_in_place() -> None:
    scaler = Scaler("E4M3", history=4)
    buffers = {name: buffer.data_ptr() for name, buffer in scaler.named_buffers()}
    for amax in (1.0, 5000.0, 3.0):
        scaler.advance(_amax(amax))
    assert {name: buffer.data_ptr() for name, buffer in scaler.named_buffers()} == buffers
    twin = Scaler("E4M3", history=4)
    twin.load_state_dict(scaler.state_dict())
    assert list(scaler.state_dict()) == ["scale", "amax_history"]
    for amax in (7.0, 1e5, 2.0):
        scaler.advance(_amax(amax))
        twin.advance(_amax(amax))
        assert torch.equal(twin.scale, scaler.scale) and torch.equal(twin.amax_history, scaler.amax_history)


def test_casting_the_model_does_not_cast_the_scale() -> None:
    module = torch.nn.Module()
    module.scaler = Scaler("E7M0")
    module.scaler.advance(_amax(1e-12))
    expected = module.scaler.scale.clone()
    module.half()
    assert module.scaler.scale.dtype == torch.float32 and torch.equal(module.scaler.scale, expected)
    module.double().to(torch.bfloat16)
    assert module.scaler.amax_history.dtype == torch.float32
    assert module.scaler.amax_history[0].item() == np.float32(1e-12)
    assert module.to("meta").scaler.scale.device.type == "meta"


def test_its_printed_form_names_the_format() -> None:
    assert repr(Scaler("e4m3")) == "Scaler(E4M3, delayed)"
    assert repr(Scaler("E3M4", "current", per_row=True, rows=2)) == "Scaler(E3M4, current, per_row)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "late"}, "scaling mode: 'late' is not a mode. Use one of 'delayed', 'current', 'none'."),
        ({"history": 0}, "scaling history: 0 is not a number of steps. Give an integer of at least 1."),
        ({"per_row": True}, "scaling rows: rows=None with per_row=True. Give the matrix's number of rows."),
        ({"rows": 4}, "scaling rows: rows=4 without per_row=True. Leave rows out, or set per_row=True."),
        ({"amax_target": 449.0}, "amax_target: 449.0 is not a magnitude of E4M3. Give at most its max, 448."),
        ({"amax_target": 0.0}, "amax_target: 0.0 is not a magnitude of E4M3"),
    ],
)
def test_settings_outside_their_range(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(FormatError) as caught:
        Scaler("E4M3", **arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)
