"""What thinning keeps to the last bit, what it rounds, and what it drops."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest

from altgrad.analysis.tabulate import timing_summary
from altgrad.schema import TELEMETRY, TIMING
from altgrad.telemetry.thinning import FLOAT32_BITS, SHARE_BITS, complete, round_diagnostics, thin, thin_timing

WEIGHT, BIAS = "wte.weight", "ln_f.bias"
Row = tuple[int, str, str, str, float]


def telemetry(rows: Iterable[Row]) -> pd.DataFrame:
    data = pd.DataFrame([("run", *row) for row in rows], columns=[column.name for column in TELEMETRY])
    return data.astype({"step": np.int32, "value": float})


def windows(steps: int, *of_window: tuple[str, str, str, list[float]], every: int = 10) -> list[Row]:
    """Return rows of windows, each with its number of steps that were not applied."""
    ends = range(every, steps + 1, every)
    rows: list[Row] = [(step, "run", "", "nonfinite", 0.0) for step in ends]
    for scope, tensor, metric, values in of_window:
        rows += [(step, scope, tensor, metric, value) for step, value in zip(ends, values, strict=True)]
    return rows


def values_of(data: pd.DataFrame, metric: str) -> dict[int, float]:
    rows = data[data["metric"] == metric]
    return dict(zip(rows["step"].tolist(), rows["value"].tolist(), strict=True))


@pytest.mark.parametrize("kept", [1, 2, 3, 7, 40])
def test_totals_are_the_same_to_the_last_bit_however_they_are_added(kept: int) -> None:
    rng = np.random.default_rng(kept)
    for _ in range(20):
        sums, counts = rng.lognormal(0, 3, 40), rng.integers(0, 2**30, 40).astype(float)
        full = telemetry(
            windows(400, ("update", WEIGHT, "intended_sq", list(sums)), ("weight", WEIGHT, "flips", list(counts)))
        )
        thinned = thin(full, 400, 40, kept)
        for metric in ("intended_sq", "flips"):
            parts = thinned.loc[thinned["metric"] == metric, "value"].tolist()
            total = full.groupby("metric")["value"].sum()[metric]  # as the tables add up
            assert len(parts) == kept
            assert {math.fsum(parts), sum(parts), sum(reversed(parts))} == {total}


def test_windows_end_where_those_of_other_runs_do() -> None:
    counts = [float(number) for number in range(1, 11)]
    whole = thin(telemetry(windows(100, ("weight", WEIGHT, "flips", counts))), 100, 5, 2)
    assert values_of(whole, "flips") == {40: 10.0, 100: 45.0}  # where the second of the five ends
    assert list(values_of(whole, "nonfinite")) == [20, 40, 60, 80, 100]
    diverged = thin(telemetry(windows(70, ("weight", WEIGHT, "flips", counts[:7]))), 100, 5, 2)
    assert values_of(diverged, "flips") == {40: 10.0, 70: 18.0}
    assert list(values_of(diverged, "nonfinite")) == [20, 40, 60, 70]


def test_a_part_that_is_no_number_stays_one() -> None:
    sums = [1.0, math.nan, 1.0, 1.0]
    thinned = thin(telemetry(windows(40, ("update", WEIGHT, "realised_dot", sums))), 40, 2, 2)
    assert values_of(thinned, "realised_dot") == pytest.approx({20: math.nan, 40: 2.0}, nan_ok=True)


def test_losses_are_means_over_steps_and_validation_is_untouched() -> None:
    rows = windows(40, ("run", "", "train_loss", [4.0, 3.0, math.nan, 2.0]), ("run", "", "lr", [1.0, 2.0, 3.0, 4.0]))
    rows += [(45, "run", "", "train_loss", 1.5), (45, "run", "", "nonfinite", 3.0), (45, "run", "", "lr", math.inf)]
    rows += [(step, "run", "", "step_loss", 9.0) for step in range(1, 46)]
    rows += [(7, "run", "", "val_loss", 1 / 3), (7, "run", "", "val_perplexity", 9.0)]
    thinned = thin(telemetry(rows), 60, 3, 1)
    assert values_of(thinned, "train_loss") == {20: 3.5, 40: 2.0, 45: 1.5}
    assert values_of(thinned, "nonfinite") == {20: 0.0, 40: 0.0, 45: 3.0}
    assert values_of(thinned, "lr") == pytest.approx({20: 2.0, 40: 4.0, 45: math.nan}, nan_ok=True)
    assert values_of(thinned, "val_loss") == {7: 1 / 3}
    assert not set(thinned["metric"]) & {"step_loss", "val_perplexity"}
    whole = complete(thinned)
    assert values_of(whole, "val_perplexity") == {7: math.exp(1 / 3)}
    assert values_of(whole, "train_perplexity") == {20: math.exp(3.5), 40: math.exp(2.0), 45: math.exp(1.5)}
    assert "step_loss" not in set(whole["metric"])


def test_norms_and_ranges_are_what_the_table_of_tensors_makes_of_them() -> None:
    rows = windows(
        40,
        ("weight", WEIGHT, "elements", [8.0] * 4),
        ("gradient", WEIGHT, "l2_norm", [3.0, math.inf, 4.0, 5.0]),
        ("gradient", WEIGHT, "linf_norm", [1.0, math.nan, 2.5, 2.0]),
        ("weight", WEIGHT, "amax", [1.0, 2.0, 0.1, math.inf]),
        ("gradient", BIAS, "l2_norm", [1.0] * 4),
    )
    thinned = thin(telemetry([*rows, (33, "gradient", WEIGHT, "l2_norm", 6.0)]), 40, 4, 1)
    assert values_of(thinned, "l2_norm") == {40: pytest.approx(math.sqrt((9 + 16 + 25 + 36) / 4), rel=2**-24)}
    assert values_of(thinned, "linf_norm") == {40: 2.5}
    assert values_of(thinned, "amax") == {40: float(np.float32(0.1))}
    assert set(thinned["tensor"]) == {WEIGHT, ""}


def test_of_probes_the_last_stays_and_a_histogram_is_of_one_step() -> None:
    rows = windows(40, ("weight", WEIGHT, "elements", [8.0] * 4))
    rows += [(step, "weight", WEIGHT, "stable_rank", step / 3) for step in (10, 20, 30)]
    rows += [(20, "update", WEIGHT, "ulp_bin_-12", 0.7), (20, "update", WEIGHT, "ulp_bin_3", 0.3)]
    rows += [(40, "update", WEIGHT, "ulp_bin_-12", 1 / 3), (40, "update", WEIGHT, "ulp_bin_-1", 0.0)]
    for step in (20, 40):
        rows += [(step, "run", "", f"hessian_node_1_{j}", 1.0) for j in range(1, 5 - step // 20)]
    thinned = thin(telemetry(rows), 40, 4, 1)
    assert values_of(thinned, "stable_rank") == {30: 10.0}
    bins = thinned[thinned["metric"].str.contains("_bin_")]
    assert list(zip(bins["step"], bins["metric"], strict=True)) == [(40, "ulp_bin_-12")]
    assert bins["value"].item() != 1 / 3 and bins["value"].item() == pytest.approx(1 / 3, rel=2**-SHARE_BITS)
    nodes = thinned[thinned["metric"].str.startswith("hessian_")]
    assert list(zip(nodes["step"], nodes["metric"], strict=True)) == [(40, f"hessian_node_1_{j}") for j in (1, 2)]


def test_rounding_is_to_significant_bits_and_leaves_what_is_not_finite() -> None:
    given = [1 / 3, -1e-300, 1e300, 0.0, math.inf, -math.inf, math.nan, float(np.float32(0.1))]
    names = [f"metric_{number}" for number in range(len(given))]
    data = pd.DataFrame({"run_id": "run", "tensor": WEIGHT, "metric": names, "value": given})
    rounded = round_diagnostics(data)["value"].tolist()
    assert rounded == pytest.approx(given, rel=2.0**-FLOAT32_BITS, nan_ok=True)
    assert rounded[0] == float(np.float32(1 / 3)) and rounded[-1] == given[-1]
    assert all(math.frexp(value)[0] * 2**FLOAT32_BITS % 1 == 0 for value in rounded if math.isfinite(value))


def test_thinning_what_is_thin_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = windows(
        90,
        ("weight", WEIGHT, "elements", [8.0] * 9),
        ("update", WEIGHT, "intended_sq", list(rng.random(9))),
        ("gradient", WEIGHT, "l2_norm", list(rng.random(9))),
        ("run", "", "train_loss", list(rng.random(9))),
    )
    thinned = thin(telemetry(rows), 100, 4, 2)
    pd.testing.assert_frame_equal(thin(complete(thinned), 100, 4, 2), thinned, check_exact=True)


def test_a_run_whose_every_step_was_refused_has_its_losses() -> None:
    thinned = thin(telemetry(windows(20, ("run", "", "train_loss", [math.nan, math.nan]))), 100, 10, 1)
    assert values_of(thinned, "train_loss") == pytest.approx({10: math.nan, 20: math.nan}, nan_ok=True)
    assert set(complete(thinned)["metric"]) == {"train_loss", "train_perplexity", "nonfinite"}


def test_nothing_stays_nothing() -> None:
    assert complete(thin(telemetry([]), 100, 10, 1)).empty and thin_timing(timing([])).empty


def test_rates_of_nothing_are_not_numbers() -> None:
    rows = windows(10, ("weight", WEIGHT, "flips", [0.0]), ("weight", WEIGHT, "elements", [0.0]))
    rows += windows(10, ("weight", WEIGHT, "flips_among_updated", [1.0]), ("gradient", WEIGHT, "updates", [4.0]))[1:]
    whole = complete(thin(telemetry(rows), 10, 1, 1))
    assert math.isnan(whole.loc[(whole["metric"] == "flip_rate") & (whole["scope"] == "weight"), "value"].item())
    assert values_of(whole[whole["scope"] == "run"], "stall_ratio") == {10: 0.75}
    assert "edq" not in set(whole["metric"])


def timing(steps: Iterable[int]) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = [("run", step, *rng.random(len(TIMING) - 3), 100 + step % 7) for step in steps]
    data = pd.DataFrame(rows, columns=[column.name for column in TIMING])
    return data.astype({"step": np.int32, "peak_memory_bytes": np.int64})


@pytest.mark.parametrize("last", [10, 20, 30, 100])
def test_timing_in_one_row_sums_up_the_same(last: int) -> None:
    full = timing(range(10, last + 1, 10))
    row = thin_timing(full)
    assert len(row) == 1 and row["step"].item() == last
    kept, wanted = (timing_summary(data).drop(columns=["run_id", "windows"]) for data in (row, full))
    np.testing.assert_allclose(kept.to_numpy(float), wanted.to_numpy(float), rtol=2**-FLOAT32_BITS)
    assert kept["peak_memory_bytes"].item() == full["peak_memory_bytes"].max()
    pd.testing.assert_frame_equal(thin_timing(row), row)
