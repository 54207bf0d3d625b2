"""Intended updates on the grid, against exact rationals and NumPy."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
import torch

import altgrad as ag
from altgrad.telemetry.descent import BINS, update_distribution, update_statistics
from tests.numerics.oracle import GRIDS

EVERY_KIND = ["E2M1", "E3M2", "E4M3", "E5M2", "E4M3FNUZ", "E7M0", "E0M7", "E1M6"]


def test_descent_quality_is_its_definition() -> None:
    draws = np.random.default_rng(1)
    intended, realised = draws.standard_normal((2, 40, 3))
    expected = (intended * realised).sum() / (intended**2).sum()
    for scale in (1.0, 1e-180):
        found = ag.telemetry.effective_descent_quality(*(torch.from_numpy(x * scale) for x in (intended, realised)))
        assert found == pytest.approx(expected, rel=1e-12)
    assert ag.telemetry.effective_descent_quality(torch.ones(3), torch.zeros(3)) == 0.0
    for bad in (torch.zeros(3), torch.ones(0), torch.tensor([math.nan]), torch.tensor([math.inf])):
        assert math.isnan(ag.telemetry.effective_descent_quality(bad, bad))
    assert math.isnan(ag.telemetry.effective_descent_quality(torch.ones(1), torch.tensor([math.nan])))


def rounded(fmt: str, x: Fraction) -> int:
    """Return the signed rung of the nearest value, held to the largest."""
    grid = GRIDS[fmt]
    return min(grid.nearest_code(abs(x)), grid.spec.rungs) * (-1 if x < 0 else 1)


def around_ties(fmt: str) -> list[tuple[Fraction, Fraction]]:
    """Return every value of a format, with updates towards both neighbors just under, at and just over half the gap."""
    grid, found = GRIDS[fmt], []
    line = [-x for x in reversed(grid.magnitudes[1:])] + grid.magnitudes
    hair = Fraction(1, 2**20)
    for place, w in enumerate(line[1:-1], 1):
        for neighbor in (line[place - 1], line[place + 1]):
            found += [(w, (neighbor - w) / 2 * share) for share in (1 - hair, Fraction(1), 1 + hair, hair, Fraction(3))]
    return found


@pytest.mark.parametrize("fmt", EVERY_KIND)
@pytest.mark.parametrize("scale", [None, 2.0**-3])
def test_an_update_is_lost_where_the_exact_sum_rounds_to_the_weight(fmt: str, scale: float | None) -> None:
    pairs = around_ties(fmt)
    lost = [rounded(fmt, w + u) == rounded(fmt, w) for w, u in pairs]
    real = torch.tensor([[float(x) for x in pair] for pair in pairs]) * (1 if scale is None else scale)
    for chosen in (True, False):
        w, u = real[[chosen == x for x in lost]].unbind(1)
        assert len(w) and ag.telemetry.ulp_statistics(u, w, fmt, scale).lost_fraction == chosen
    joint = ag.telemetry.ulp_statistics(real[:, 1], real[:, 0], fmt, scale)
    assert joint.lost_fraction == pytest.approx(sum(lost) / len(lost), rel=1e-12)


def test_the_rule_of_half_a_gap_and_the_even_code() -> None:
    """Worked out by hand on E4M3: around 1 (even code) the gaps are 1/16 and 1/8, at 1.125 (odd) 1/8; max is 448."""

    def lost(w: float, u: float) -> bool:
        return bool(ag.telemetry.ulp_statistics(torch.tensor([u]), torch.tensor([w]), "E4M3").lost_fraction)

    assert lost(1.0, 2**-4) and not lost(1.0, 2**-4 + 2**-23) and lost(1.0, -(2**-5)) and not lost(1.0, -(2**-5) * 1.01)
    assert not lost(1.125, 2**-4) and lost(1.125, 0.99 * 2**-4) and not lost(1.125, -(2**-4))
    assert lost(448.0, 1e30) and not lost(448.0, -17.0) and lost(500.0, -20.0)  # off the grid: both round to 448


def test_a_weight_off_the_grid_loses_what_rounds_as_it_does() -> None:
    draws = np.random.default_rng(3)
    w, u = (torch.from_numpy((draws.standard_normal(800) * s).astype(np.float32)) for s in (3.0, 0.1))
    pairs = [(Fraction(float(a)), Fraction(float(b))) for a, b in zip(w, u, strict=True)]
    expected = sum(rounded("E4M3", a + b) == rounded("E4M3", a) for a, b in pairs) / 800
    assert 0 < expected < 1 and ag.telemetry.ulp_statistics(u, w, "E4M3").lost_fraction == expected


def test_the_sum_is_not_rounded_to_the_tensors_dtype() -> None:
    """In bfloat16 1 + 2^-5 + 2^-9 would be the tie 1 + 2^-5; it is over it."""
    w, u = torch.tensor([1.0], dtype=torch.bfloat16), torch.tensor([2**-5 + 2**-9], dtype=torch.bfloat16)
    assert ag.telemetry.ulp_statistics(u, w, "E3M4").lost_fraction == 0.0


def position(fmt: str, x: Fraction) -> Fraction:
    """Return the place on the line of rungs, by interpolation between the two magnitudes around it."""
    grid = GRIDS[fmt].magnitudes
    below = max(i for i, value in enumerate(grid[:-1]) if value <= abs(x))
    place = below + (abs(x) - grid[below]) / (grid[below + 1] - grid[below])
    return -place if x < 0 else place


def floor_log2(x: Fraction) -> int:
    k = abs(x).numerator.bit_length() - abs(x).denominator.bit_length()
    return k if Fraction(2) ** k <= abs(x) else k - 1


@pytest.mark.parametrize("fmt", ["E2M1", "E4M3", "E5M2", "E7M0", "E0M7"])
@pytest.mark.parametrize("scale", [None, 2.0**-5, "rows"])
def test_entropies_and_bins_are_those_of_exact_moves(fmt: str, scale: float | str | None) -> None:
    draws, top = np.random.default_rng(11), float(GRIDS[fmt].max)
    w = (
        torch.from_numpy(draws.standard_normal((4, 40)).astype(np.float32))
        * top
        * 2.0 ** torch.arange(0.0, -16.0, -4.0).view(4, 1)
    )
    u = (
        torch.from_numpy((draws.standard_normal((4, 40)) * 2.0 ** draws.integers(-12, 1, (4, 40))).astype(np.float32))
        * w
    )
    u[:, ::7] = 0
    u[0, 1], u[1, 1] = 2.0**-22 * top, 2.0**9 * top
    unit = torch.tensor([[1.0], [0.5], [4.0], [2.0**-9]]) if scale == "rows" else scale
    units = torch.ones(4, 1) if unit is None else torch.ones(4, 1) * unit
    rungs, values, sizes = [], [], []
    step = Fraction(2) ** -GRIDS[fmt].spec.mantissa_bits
    for a, b, s in zip(w.ravel().tolist(), u.ravel().tolist(), units.expand(4, 40).ravel().tolist(), strict=True):
        start, move, bound = Fraction(a) / Fraction(s), Fraction(b) / Fraction(s), GRIDS[fmt].max
        if move:
            spec = GRIDS[fmt].spec
            last = max(spec.rungs >> spec.mantissa_bits, 1) - spec.bias
            binade = min(max(floor_log2(start), 1 - spec.bias), last) if start else 1 - spec.bias
            sizes.append(floor_log2(move / (Fraction(2) ** binade * step)))
        if move and abs(start) <= bound and abs(start + move) <= bound:
            values.append(floor_log2(move))
            rungs.append(floor_log2(position(fmt, start + move) - position(fmt, start)))
    found = update_statistics(u, w, fmt, unit)
    for name, moves in (("rung", rungs), ("value", values)):
        _, counts = np.unique(moves, return_counts=True)
        expected = scipy.stats.entropy(counts, base=2)
        assert expected > 1 and found[f"{name}_move_entropy_bits"] == pytest.approx(expected, abs=1e-12)
    bins, counts = np.unique(np.clip(sizes, *BINS), return_counts=True)
    shares = {k: n / 160 for k, n in zip(bins.tolist(), counts.tolist(), strict=True)}
    assert update_distribution(u, w, fmt, unit) == shares
    assert {k: v for k, v in found.items() if "_bin_" in k} == {f"ulp_bin_{k}": v for k, v in shares.items()}


@pytest.mark.parametrize("fmt", ["E4M3", "E5M2", "E3M4"])
@pytest.mark.parametrize("scale", [None, 2.0**-7])
def test_sizes_in_ulps_are_numpys(fmt: str, scale: float | None) -> None:
    draws = np.random.default_rng(5)
    w = torch.from_numpy(draws.standard_normal((60, 50)).astype(np.float32))
    u = torch.from_numpy((draws.standard_normal((60, 50)) * 0.01).astype(np.float32))
    u[:10] = 0
    ratio = np.abs(u.numpy().astype(np.float64)) / ag.ulp(w, fmt, scale).numpy().astype(np.float64)
    moved = ratio[u.numpy() != 0]
    found = ag.telemetry.ulp_statistics(u, w, fmt, scale)
    percentiles = [np.percentile(moved, p, method="inverted_cdf") for p in (50, 90, 99)]
    assert list(found[:3]) == pytest.approx(percentiles, rel=1e-12)
    assert found.zero_fraction == pytest.approx(10 / 60)
    statistics = update_statistics(u, w, fmt, scale)
    shares = {key: value for key, value in statistics.items() if key.startswith("ulp_bin_")}
    bins, counts = np.unique(np.clip(np.floor(np.log2(moved)), *BINS).astype(int), return_counts=True)
    assert shares == {f"ulp_bin_{k}": n / 3000 for k, n in zip(bins.tolist(), counts.tolist(), strict=True)}
    assert sum(shares.values()) + statistics["ulp_zero_fraction"] == pytest.approx(1.0)


def test_moves_in_rungs_and_in_value() -> None:
    """One rung up from each of four binades: one size of move in rungs, four in value."""
    w = torch.tensor([1.0, 2.0, 4.0, 8.0])
    u = torch.tensor([0.125, 0.25, 0.5, 1.0])
    assert ag.telemetry.rung_moves(u, w, "E4M3") == (0.0, 2.0)
    assert ag.telemetry.rung_moves(u / 4, w / 4, "E4M3", 0.25) == (0.0, 2.0)
    # A uniform grid sees in rungs what it sees in value.
    w, u = torch.linspace(-0.4, 0.4, 64), torch.linspace(0.001, 0.3, 64)
    rungs, values = ag.telemetry.rung_moves(u, w, "E0M7")
    assert rungs == pytest.approx(values) and rungs > 1


def test_what_is_not_defined_is_nan() -> None:
    for u, w in (
        (torch.ones(0),) * 2,
        (torch.tensor([math.nan]), torch.ones(1)),
        (torch.ones(1), torch.tensor([math.nan])),
        (torch.tensor([math.inf, 1.0]), torch.ones(2)),
        (torch.ones(2), torch.tensor([1.0, -math.inf])),
        (torch.tensor([math.nan, 1.0]), torch.ones(2)),
    ):
        assert all(math.isnan(x) for x in ag.telemetry.ulp_statistics(u, w, "E4M3"))
        found = update_statistics(u, w, "E4M3")
        assert len(found) == 7 and all(math.isnan(x) for x in found.values())
    still = ag.telemetry.ulp_statistics(torch.zeros(4), torch.ones(4), "E4M3")
    assert still.zero_fraction == 1.0 and all(math.isnan(x) for x in still[:4])
    assert all(math.isnan(x) for x in ag.telemetry.rung_moves(torch.zeros(3), torch.ones(3), "E4M3"))
    saturated = ag.telemetry.rung_moves(torch.ones(2), torch.full((2,), 1e4), "E4M3")
    assert all(math.isnan(x) for x in saturated)
    assert update_statistics(torch.ones(2), torch.ones(2), "BF16") == {}
    tiny = ag.telemetry.ulp_statistics(torch.tensor([1e-45]), torch.tensor([1.0]), "E4M3")
    assert tiny.lost_fraction == 1.0 and tiny.median == pytest.approx(float(np.float32(1e-45)) / 0.125)
