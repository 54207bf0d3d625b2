"""The probes against NumPy and SciPy, written from the definitions, on tensors that are out to break them."""

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

import altgrad as ag
from altgrad.errors import FormatError, UnknownFormatError
from altgrad.telemetry import capacity, grid_alignment, stable_rank
from altgrad.telemetry.probes import weight_probes
from altgrad.telemetry.rank import rank_statistics

# name: (exponent bits, mantissa bits, bias, positive magnitudes, finite codes)
LAYOUTS = {
    "E0M7": (0, 7, 1, 127, 256),
    "E3M4": (3, 4, 3, 126, 254),
    "E4M3": (4, 3, 7, 126, 254),
    "E5M2": (5, 2, 15, 123, 248),
    "E7M0": (7, 0, 63, 126, 254),
    "E4M3FNUZ": (4, 3, 8, 127, 255),
    "E2M1": (2, 1, 1, 7, 16),
}


def magnitudes(fmt: str) -> np.ndarray:
    """Return the format's magnitudes by the formulas for normal and subnormal values."""
    _, m, bias, count, _ = LAYOUTS[fmt]
    code = np.arange(count + 1)
    exponent, mantissa = code >> m, code % 2**m / 2**m
    return np.where(exponent > 0, 2.0 ** (exponent - bias) * (1 + mantissa), 2.0 ** (1 - bias) * mantissa)


def nearest_code(y: np.ndarray, fmt: str) -> np.ndarray:
    """Return the code of the nearest magnitude of each value in units, ties to even, by looking at all of them."""
    distance = np.abs(np.minimum(np.abs(y), magnitudes(fmt)[-1])[..., None] - magnitudes(fmt))
    low = distance.argmin(-1)
    high = distance.shape[-1] - 1 - distance[..., ::-1].argmin(-1)
    return np.where(low % 2 == 0, low, high)


def ulps(y: np.ndarray, fmt: str) -> np.ndarray:
    """Return the grid spacing at each value in units, by the definition."""
    _, m, bias, count, _ = LAYOUTS[fmt]
    floor_log2 = np.where(y == 0, -(10**6), np.frexp(y)[1] - 1)
    last = max(count >> m, 1) - bias
    return 2.0 ** (np.clip(floor_log2, 1 - bias, last) - m)


def percentile(values: np.ndarray, percent: int) -> float:
    return float(np.sort(values.ravel())[math.ceil(values.size * percent / 100) - 1])


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tensors() -> Iterator[tuple[str, Tensor]]:
    yield "normal", draw(12, 9)
    yield "many binades", draw(8, 8) * 2.0 ** torch.arange(-40, 24).view(8, 8)
    yield "zeros", torch.zeros(3, 4)
    yield "both zeros", torch.tensor([[0.0, -0.0, 1.0]])
    yield "one element", torch.tensor([[0.3]])
    yield "rank one", torch.outer(draw(7), draw(5, seed=1))
    yield "below every grid", torch.full((2, 3), 2.0**-140)
    yield "format's subnormals", torch.arange(-20.0, 20.0).view(4, 10) * 2.0**-11
    yield "powers of two and ties", torch.tensor([[1.0, 1.5, 2.0, 3.0, 1.0625, 1.1875, 0.96875, 448.0, -448.0, 0.25]])
    yield "beyond max", torch.tensor([[1e30, -1e30, 448.1], [447.0, 464.0, -500.0]])
    yield "on the grid", ag.quantize(draw(6, 6), "E3M4")


CASES = dict(tensors())


@pytest.mark.parametrize("fmt", LAYOUTS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", [None, 2.0**-6, torch.tensor(8.0)])
def test_grid_alignment_is_the_distance_in_ulps(case: str, fmt: str, scale: float | Tensor | None) -> None:
    weight = CASES[case]
    y = weight.double().numpy() / float(1 if scale is None else scale)
    inside = np.abs(y) <= magnitudes(fmt)[-1]
    rounded = np.copysign(magnitudes(fmt)[nearest_code(y, fmt)], y)
    expected = (np.abs(y - rounded) / ulps(y, fmt))[inside]
    found = grid_alignment(weight, fmt, scale)
    assert found.dtype == torch.float64 and found.shape == expected.shape
    np.testing.assert_array_equal(found.numpy(), expected)
    assert (found <= 0.5).all()


@pytest.mark.parametrize("fmt", LAYOUTS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", [None, 2.0**-6, torch.tensor(8.0)])
def test_capacity_counts_codes(case: str, fmt: str, scale: float | Tensor | None) -> None:
    weight = CASES[case]
    y = weight.double().numpy() / float(1 if scale is None else scale)
    code = nearest_code(y, fmt)
    sign = np.signbit(y) & ((code > 0) | (fmt != "E4M3FNUZ"))  # FNUZ has no code for -0
    _, counts = np.unique(np.stack([code.ravel(), sign.ravel()]), axis=1, return_counts=True)
    found = capacity(weight, fmt, scale)
    assert found.codes_used_fraction == len(counts) / LAYOUTS[fmt][-1]
    assert found.code_entropy_bits == pytest.approx(scipy.stats.entropy(counts, base=2), abs=1e-12)


def test_capacity_of_every_code_is_full() -> None:
    codes = torch.arange(256, dtype=torch.uint8)
    found = capacity(ag.decode(codes, "E0M7"), "E0M7")
    assert found == (1.0, 8.0)


def test_both_probes_take_a_scale_a_row() -> None:
    weight = draw(3, 50) * torch.tensor([[1.0], [100.0], [0.001]])
    scale = torch.tensor([[2.0**-8], [0.25], [2.0**-17]])
    rows = [grid_alignment(row, "E4M3", s) for row, s in zip(weight, scale.ravel(), strict=True)]
    assert torch.equal(grid_alignment(weight, "E4M3", scale), torch.cat(rows))
    assert capacity(weight, "E4M3", scale) == capacity(weight / scale, "E4M3")


def test_a_scale_that_is_no_power_of_two() -> None:
    weight, scale = draw(20, 20), torch.tensor(0.0123)
    y = (weight / scale).double().numpy()
    rounded = np.copysign(magnitudes("E4M3")[nearest_code(y, "E4M3")], y)
    expected = np.abs(y - rounded) / ulps(y, "E4M3")
    np.testing.assert_array_equal(grid_alignment(weight, "E4M3", scale).numpy(), expected.ravel())
    codes = nearest_code(y, "E4M3") + 128 * np.signbit(y)
    assert capacity(weight, "E4M3", scale).codes_used_fraction == len(np.unique(codes)) / 254


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_measured_as_they_are(dtype: torch.dtype) -> None:
    weight = draw(9, 9).to(dtype)
    assert torch.equal(grid_alignment(weight, "E3M4"), grid_alignment(weight.double(), "E3M4"))
    assert capacity(weight, "E3M4") == capacity(weight.double(), "E3M4")
    assert stable_rank(weight) == stable_rank(weight.double())


def test_values_that_are_not_finite_are_never_hidden() -> None:
    weight = torch.tensor([[1.0, math.nan], [math.inf, 0.3]])
    found = grid_alignment(weight, "E4M3")
    assert found.shape == (3,) and found.isnan().tolist() == [False, True, False]  # Inf saturates
    for broken in (weight, torch.tensor([[1.0, math.inf]]), torch.empty(0, 3)):
        assert all(math.isnan(value) for value in capacity(broken, "E0M7"))
        assert math.isnan(stable_rank(broken))


@pytest.mark.parametrize("case", [case for case in CASES if case != "zeros"])
def test_stable_rank_is_that_of_the_singular_values(case: str) -> None:
    singular = np.linalg.svd(CASES[case].double().numpy(), compute_uv=False)
    expected = np.square(singular / singular[0]).sum()
    assert stable_rank(CASES[case]) == pytest.approx(expected, rel=1e-12)
    assert stable_rank(CASES[case].T) == pytest.approx(expected, rel=1e-12)


def test_stable_rank_at_its_edges() -> None:
    assert stable_rank(torch.zeros(3, 4)) == 0.0
    assert stable_rank(torch.eye(5)) == pytest.approx(5.0)
    assert stable_rank(torch.outer(draw(4), draw(6))) == pytest.approx(1.0, abs=1e-12)
    assert stable_rank(draw(6)) == pytest.approx(1.0)
    assert stable_rank(torch.tensor(3.0)) == pytest.approx(1.0)
    assert stable_rank(draw(4, 3, 2)) == stable_rank(draw(4, 3, 2).view(4, 6))
    for factor in (1e-300, 1e300):  # squares alone would underflow or overflow
        assert stable_rank(draw(5, 4).double() * factor) == pytest.approx(stable_rank(draw(5, 4)), rel=1e-12)


@pytest.mark.parametrize("fmt", ["E4M3", "E5M2", "E0M7", "E7M0"])
@pytest.mark.parametrize("case", CASES)
def test_the_probes_of_a_weight(case: str, fmt: str) -> None:
    weight, scale = CASES[case], torch.tensor(0.25)
    found = weight_probes(weight, fmt, scale)
    x = weight.double().numpy()
    y, magnitude = x / 0.25, np.abs(x)
    alignment = grid_alignment(weight, fmt, scale).numpy()
    gaps = 0.25 * ulps(y, fmt)
    expected = {
        "amax": magnitude.max(),
        "range_bits": math.log2(magnitude.max() / magnitude[magnitude > 0].min()) if magnitude.any() else math.nan,
        "zero_fraction": (nearest_code(y, fmt) == 0).mean(),
        **rank_statistics(weight),
        **capacity(weight, fmt, scale)._asdict(),
        "scale": 0.25,
        "saturated_fraction": (np.abs(y) > magnitudes(fmt)[-1]).mean(),
        "grid_alignment_mean": alignment.mean() if alignment.size else math.nan,
        "grid_alignment_p99": percentile(alignment, 99) if alignment.size else math.nan,
        "ulp_p10": percentile(gaps, 10),
        "ulp_p50": percentile(gaps, 50),
        "ulp_p90": percentile(gaps, 90),
        **{f"rung_p{p}": percentile(nearest_code(y, fmt), p) for p in (10, 50, 90)},
        **{f"stiffness_log2_p{p}": percentile(np.log2(gaps), p) for p in (10, 50, 90)},
        **{f"stiffness_bin_{k}": n / y.size for k, n in Counter(np.log2(gaps).round().astype(int).flat).items()},
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12, nan_ok=True), name


def test_the_probes_of_a_reference_format_are_those_that_make_sense() -> None:
    weight = torch.tensor([[1.0, -3.0], [2.0**-140, 0.0]])
    found = weight_probes(weight, "BF16", torch.tensor(1.0))
    assert found == {
        "amax": 3.0,
        "range_bits": pytest.approx(140 + math.log2(3)),
        "zero_fraction": 0.5,  # bfloat16 has no 2^-140
        **rank_statistics(weight),
    }


def test_the_probes_of_a_broken_or_empty_weight_are_nan() -> None:
    found = weight_probes(torch.tensor([[math.nan, 1.0]]), "E4M3", torch.tensor(1.0))
    defined = {name: value for name, value in found.items() if not math.isnan(value)}
    assert defined == {"scale": 1.0, "zero_fraction": 0.0, "saturated_fraction": 0.0}
    empty = weight_probes(torch.empty(0, 3), "E4M3", torch.tensor(1.0))
    assert [name for name, value in empty.items() if not math.isnan(value)] == ["scale"]


def test_the_scale_of_rows_is_their_lower_median() -> None:
    scale = torch.tensor([[8.0], [1.0], [2.0], [0.5]])
    assert weight_probes(draw(4, 3), "E4M3", scale)["scale"] == 1.0


def test_nothing_is_written_into_the_weight() -> None:
    weight = draw(5, 5).requires_grad_()
    before = weight.detach().clone()
    weight_probes(weight, "E4M3", torch.tensor(0.25))
    assert torch.equal(weight, before)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(FormatError, match="BF16: a reference format has no codes and no rungs"):
        capacity(draw(2, 2), "BF16")
    with pytest.raises(UnknownFormatError, match="'E4M4' is not a format"):
        grid_alignment(draw(2, 2), "E4M4")
    with pytest.raises(FormatError, match=r"shape \(3, 1\) does not broadcast"):
        grid_alignment(draw(2, 2), "E4M3", torch.ones(3, 1))
