"""Probes of a run under way: they disturb nothing, say what the definitions say, and go on after an interrupt."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from altgrad.telemetry.mirror import Mirror
from altgrad.training.run import train_run
from tests.training.conftest import MakeRun

ALL_ON = {"gradients": 4, "weights": 4, "updates": 4, "rank": 2, "hessian": 6}
ALL_OFF = dict.fromkeys(ALL_ON, 0)
PROBE_SCOPES = {
    "gradient": ("cosine", "snr_db", "stiffness_correlation", "magnitude_correlation"),
    "weight": ("grid_alignment_mean", "codes_used_fraction", "stable_rank", "effective_rank", "entropy_rank"),
    "update": ("ulp_median", "ulp_lost_fraction", "rung_move_entropy_bits"),
    "input": ("dead_fraction",),
}


def train(make_run: MakeRun, corpus: Path, out: Path, probes: dict[str, int], **changes: Any) -> pd.DataFrame:
    run = make_run(telemetry={"probes": probes}, **changes)
    assert train_run(run, corpus, out, False, lambda message: None) == 0
    return pd.read_parquet(out / "telemetry.parquet")


@pytest.mark.parametrize("storage", ["master", "stochastic"])
def test_a_probed_run_ends_with_the_same_weights_and_counts(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, storage: str
) -> None:
    probed = train(make_run, corpus_folder, tmp_path / "on", ALL_ON, storage=storage)
    blind = train(make_run, corpus_folder, tmp_path / "off", ALL_OFF, storage=storage)
    assert (tmp_path / "on/final.safetensors").read_bytes() == (tmp_path / "off/final.safetensors").read_bytes()
    keys = ["step", "scope", "tensor", "metric"]
    both = blind.merge(probed, on=keys, suffixes=("", "_probed"))
    assert len(both) == len(blind) < len(probed)
    pd.testing.assert_series_equal(both["value"], both["value_probed"], check_names=False, check_exact=True)


def test_every_probe_has_a_row_for_every_tensor_where_it_ran(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path
) -> None:
    found = train(make_run, corpus_folder, tmp_path, ALL_ON)
    tensors = set(found.loc[found["metric"] == "flips", "tensor"])
    for scope, metrics in PROBE_SCOPES.items():
        for metric in metrics:
            rows = found[(found["scope"] == scope) & (found["metric"] == metric)]
            steps = {2, 4, 6, 8, 10, 12} if "rank" in metric else {4, 8, 12}
            assert set(rows["step"]) == steps, metric
            expected = {name for name in tensors if name.endswith("mlp.c_proj.weight")} if scope == "input" else tensors
            assert set(rows["tensor"]) == expected, metric
    hessian = found[found["metric"].str.startswith("hessian_")]
    assert set(hessian["step"]) == {6, 12} and set(hessian["scope"]) == {"run"}
    weights = hessian[hessian["metric"].str.startswith("hessian_weight_1_") & (hessian["step"] == 6)]
    assert weights["value"].sum() == pytest.approx(1.0)
    timing = pd.read_parquet(tmp_path / "timing.parquet")
    assert all((timing[f"probe_{group}_s"] > 0).any() for group in ALL_ON)
    assert json.loads((tmp_path / "summary.json").read_text())["probe_s"] > 0


def test_a_grid_stored_weights_gradient_is_its_fp32_gradient(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path
) -> None:
    """Rounding changes nothing that is on the grid: the cosine is 1 there, and below 1 with masters."""
    cosines = {}
    for storage in ("nearest", "master"):
        found = train(make_run, corpus_folder, tmp_path / storage, ALL_ON, storage=storage, update="adamw")
        cosines[storage] = found.loc[found["metric"] == "cosine", "value"]
    assert (cosines["nearest"] > 1 - 1e-6).all()
    assert (cosines["master"] < 1 - 1e-6).all() and (cosines["master"] > 0.5).all()


def test_the_mirror_shows_means_of_probes_and_rates_of_windows(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: dict[tuple[int, str], float] = {}

    def log(self: Mirror, step: int, metrics: Mapping[str, float]) -> None:
        logged.update({(step, name): value for name, value in metrics.items()})

    monkeypatch.setattr(Mirror, "log", log)
    found = train(make_run, corpus_folder, tmp_path, ALL_ON)
    for step, scope, metric in ((4, "weight", "stable_rank"), (8, "gradient", "cosine"), (12, "update", "ulp_median")):
        rows = found[(found["step"] == step) & (found["scope"] == scope) & (found["metric"] == metric)]
        assert logged[step, f"{scope}/{metric}"] == pytest.approx(rows["value"].mean()), metric
    for metric in ("edq", "overflow_rate", "hessian_top_1", "train_loss"):
        rows = found[(found["scope"] == "run") & (found["metric"] == metric) & (found["step"] == 12)]
        assert logged[12, metric] == rows["value"].item(), metric
    assert not any("_bin_" in name for _, name in logged)
