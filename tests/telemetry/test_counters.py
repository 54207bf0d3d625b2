import math

import pytest
import torch

from altgrad.nn.casts import Cast
from altgrad.numerics.catalog import formats
from altgrad.numerics.scaling import Scaler
from altgrad.optim.counting import COUNTERS, SUMS
from altgrad.telemetry.counters import (
    AMAX_EMA_DECAY,
    Measured,
    TrackedWeight,
    WindowCounters,
    gradient_norms,
    read_together,
    stall_ratio,
    write_gradient_norms,
)
from altgrad.telemetry.recorder import Recorder


def rows(recorder: Recorder) -> dict[tuple[int, str, str, str], float]:
    return {(step, *rest): value for _, step, *rest, value in recorder._rows["telemetry"]}  # type: ignore[misc]


def window(counters: WindowCounters, given: torch.Tensor, sums: tuple[float, float] = (0.0, 0.0)) -> Measured:
    """Return what a window of one weight measured, on the host."""
    totals = torch.tensor(sums, dtype=torch.float64)
    return Measured(*read_together(*counters.measure({"a.weight": given}, {"a.weight": totals}, torch.zeros(0))))


def counts(**given: int) -> torch.Tensor:
    assert set(given) <= set(COUNTERS)
    return torch.tensor([given.get(name, 0) for name in COUNTERS], dtype=torch.int64)


def test_a_window_has_each_counter_in_its_scope_and_the_rates_of_its_sums() -> None:
    recorder = Recorder("r1")
    weight = torch.tensor([[0.5, -2.0, 0.0, 0.25]])
    counters = WindowCounters([TrackedWeight("a.weight", weight, Scaler(formats["E4M3"]))], [], recorder)
    given = counts(flips=6, flips_among_updated=5, updates=20, stall=15, update_underflow=3, weight_overflow=2)
    totals = counters.write(10, 10, window(counters, given, (8.0, 2.0)))
    found = rows(recorder)
    assert found[10, "weight", "a.weight", "elements"] == 40
    assert found[10, "weight", "a.weight", "flips"] == 6
    assert found[10, "weight", "a.weight", "stall"] == 15
    assert found[10, "gradient", "a.weight", "updates"] == 20
    assert found[10, "update", "a.weight", "underflow"] == 3
    assert found[10, "weight", "a.weight", "overflow"] == 2
    assert found[10, "weight", "a.weight", "flip_rate"] == 6 / 40
    assert found[10, "weight", "a.weight", "stall_ratio"] == 1 - 5 / 20
    assert [found[10, "update", "a.weight", name] for name in (*SUMS, "edq")] == [8.0, 2.0, 0.25]
    assert totals == {
        "flip_rate": 6 / 40,
        "stall_ratio": 0.75,
        "edq": 0.25,
        "overflow_rate": 2 / 40,
        "underflow_rate": 0.0,
        "update_underflow_rate": 3 / 40,
        "zero_update_rate": 0.0,
    }
    assert counters.stall_ratios(given.unsqueeze(0)) == {"a.weight": 0.75}


def test_amax_its_average_and_the_bits_in_use() -> None:
    recorder = Recorder("r1")
    weight = torch.tensor([[4.0, -0.5, 0.0]])
    counters = WindowCounters([TrackedWeight("a.weight", weight, Scaler(formats["E4M3"]))], [], recorder)
    counters.write(10, 10, window(counters, counts()))
    weight[0, 0] = 8.0
    counters.write(20, 10, window(counters, counts()))
    found = rows(recorder)
    assert found[10, "weight", "a.weight", "amax"] == 4.0
    assert found[10, "weight", "a.weight", "range_bits"] == 3.0
    assert found[20, "weight", "a.weight", "range_bits"] == 4.0
    expected = AMAX_EMA_DECAY * 4.0 + (1 - AMAX_EMA_DECAY) * 8.0
    assert found[20, "weight", "a.weight", "amax_ema"] == pytest.approx(expected, rel=1e-12)


def test_an_all_zero_weight_has_no_range() -> None:
    recorder = Recorder("r1")
    counters = WindowCounters([TrackedWeight("a.weight", torch.zeros(2, 2), Scaler(formats["E4M3"]))], [], recorder)
    counters.write(10, 10, window(counters, counts()))
    assert math.isnan(rows(recorder)[10, "weight", "a.weight", "range_bits"])


def test_stall_ratio_ends() -> None:
    assert stall_ratio(0, 7) == 1.0
    assert stall_ratio(7, 7) == 0.0
    assert math.isnan(stall_ratio(0, 0))


def test_gradient_norms_are_numpys() -> None:
    recorder = Recorder("r1")
    generator = torch.Generator().manual_seed(1)
    gradients = {"a": torch.randn(3, 4, generator=generator), "b": torch.tensor([3.0, -4.0])}
    write_gradient_norms(recorder, 5, gradients, gradient_norms(gradients))
    found = rows(recorder)
    assert found[5, "gradient", "b", "l2_norm"] == 5.0
    assert found[5, "gradient", "b", "linf_norm"] == 4.0
    a = gradients["a"].double().numpy()
    assert found[5, "gradient", "a", "l2_norm"] == pytest.approx((a**2).sum() ** 0.5, rel=1e-6)
    assert found[5, "gradient", "a", "linf_norm"] == abs(a).max()


def test_what_is_read_together_arrives_exactly() -> None:
    given = (torch.tensor([[2**53 - 1, -7]]), torch.tensor([0.1, math.inf]), torch.tensor(True), torch.zeros(0, 2))
    counts, reals, flag, nothing = read_together(*given)
    assert counts.tolist() == [[2**53 - 1, -7]]
    assert reals.tolist() == [torch.tensor(0.1).item(), math.inf]
    assert bool(flag) and nothing.shape == (0, 2)


def test_casts_and_clipping_have_rows_and_rates_of_the_run() -> None:
    recorder = Recorder("r1")
    weight = torch.ones(2, 2)
    casts = [(f"{name}.weight", role, Cast("E4M3")) for name in "ab" for role in ("input", "grad_output")]
    for number, (_, _, cast) in enumerate(casts, 1):
        cast.counts.copy_(torch.tensor([100 * number, 2 * number, 1]))
        cast.amax.fill_(float(number))
    counters = WindowCounters([TrackedWeight("a.weight", weight, Scaler(formats["E4M3"]))], casts, recorder)
    sums = {"a.weight": torch.zeros(2, dtype=torch.float64)}
    measured = counters.measure({"a.weight": counts()}, sums, torch.tensor([3]))
    rates = counters.write(10, 5, Measured(*read_together(*measured)))
    found = rows(recorder)
    assert found[10, "input", "b.weight", "elements"] == 300 and found[10, "input", "b.weight", "amax"] == 3.0
    assert found[10, "grad_output", "a.weight", "overflow"] == 4
    assert (
        found[10, "gradient", "a.weight", "clipped"] == 3 and found[10, "gradient", "a.weight", "clip_elements"] == 20
    )
    assert rates["input_overflow_rate"] == (2 + 6) / 400 and rates["grad_output_underflow_rate"] == 2 / 600
    assert rates["clip_rate"] == 3 / 20
    assert not any(bool(cast.counts.any()) for *_, cast in casts)
