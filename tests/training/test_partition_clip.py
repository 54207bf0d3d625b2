"""Partition-relative clipping against NumPy, written from the definition (STAB-05)."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from altgrad.numerics.catalog import formats
from altgrad.numerics.format import FloatFormat
from altgrad.training import clipping
from altgrad.training.clipping import PartitionClip, partition_limit
from altgrad.training.run import train_run
from tests.training.conftest import MakeRun

RANGES = {"E4M3": (448.0, 2.0**-9), "E5M2": (57344.0, 2.0**-16), "E3M4": (30.0, 2.0**-6), "E0M7": (127 / 128, 1 / 128)}
"""Largest value and smallest positive one, from the formats' definitions."""


def heavy_tailed(*shape: int) -> torch.Tensor:
    draws = np.random.default_rng(4).standard_t(1.5, size=shape) ** 3
    return torch.from_numpy(draws.astype(np.float32))


@pytest.mark.parametrize("name", RANGES)
def test_elements_are_held_at_the_limit_and_counted(name: str) -> None:
    largest, smallest = RANGES[name]
    g = heavy_tailed(200, 300)
    wide = g.numpy().astype(np.float64)
    limit = np.sqrt((wide**2).mean()) * 2.0 ** (math.log2(largest / smallest) / 2)
    clip = PartitionClip({"w": formats[name], "absent": formats[name]})
    held = g.clone()
    clip.clip({"w": held, "plain": g})
    expected = int((np.abs(wide) > np.float32(limit)).sum())
    assert expected > 0 or largest / smallest > 2**16
    np.testing.assert_allclose(held.numpy(), np.clip(g.numpy(), -np.float32(limit), np.float32(limit)), rtol=1e-6)
    assert clip.take(["absent", "w"]).tolist() == [0, expected]
    assert clip.take(["absent", "w"]).tolist() == [0, 0]


def test_steps_add_up_and_are_saved() -> None:
    g = torch.zeros(10_000)
    g[0] = 1.0  # its rms is 1/100, and E0M7's limit is sqrt(127) of it
    clip, other = PartitionClip({"w": formats["E0M7"]}), PartitionClip({"w": formats["E0M7"]})
    for _ in range(3):
        clip.clip({"w": g.clone()})
    other.load_state_dict(clip.state_dict())
    assert clip.take(["w"]).tolist() == other.take(["w"]).tolist() == [3]


def test_the_bias_changes_nothing() -> None:
    g = heavy_tailed(50)
    limits = [partition_limit(g, FloatFormat(f"B{bias}", 4, 3, bias=bias)) for bias in (3, 7, 12)]
    assert limits[0] == limits[1] == limits[2]


def test_zeros_and_nothing_stay() -> None:
    clip = PartitionClip({"w": formats["E4M3"], "empty": formats["E4M3"]})
    zeros, empty = torch.zeros(5), torch.zeros(0)
    clip.clip({"w": zeros, "empty": empty})
    assert not zeros.any() and clip.take(["w", "empty"]).tolist() == [0, 0]


def test_a_run_logs_what_it_clipped(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clipping, "partition_limit", lambda g, fmt: g.abs().mean())
    run = make_run(training={"partition_clip": True}, telemetry={"window": 4})
    train_run(run, corpus_folder, tmp_path, False, lambda message: None)
    telemetry = pd.read_parquet(tmp_path / "telemetry.parquet")
    rows = telemetry[(telemetry["scope"] == "gradient") & (telemetry["metric"] == "clipped")]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["clipped"] == rows["value"].sum() > 0
    first = int(rows.loc[rows["step"] == 4, "value"].sum())
    assert summary["events"] == [{"step": 4, "event": "partition_clip", "elements": first}]
    assert set(rows["tensor"]) == set(telemetry.loc[telemetry["metric"] == "flips", "tensor"])
