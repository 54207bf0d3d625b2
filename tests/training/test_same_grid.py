"""The A/A control: E1M6 has E0M7's values on another scale, so that a run in one is a run in the other, bit for bit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from altgrad.training.run import train_run
from tests.training.conftest import MakeRun


@pytest.mark.parametrize("storage", ["master", "nearest", "stochastic", "eco"])
@pytest.mark.parametrize("update", ["adamw", "manifold"])
def test_two_names_of_one_grid_are_one_run(
    tmp_path: Path, make_run: MakeRun, corpus_folder: Path, update: str, storage: str
) -> None:
    # Tops are 127 and 126 spacings, so that a largest magnitude between the two would ask for another scale. None comes
    # up here; with eco one does for the first seeds.
    states, seed = {}, 4 if storage == "eco" else 1
    for name in ("E0M7", "E1M6"):
        run = make_run(format=name, update=update, storage=storage, seed=seed, quantization={"scaling": "current"})
        assert train_run(run, corpus_folder, tmp_path / name, False, lambda message: None) == 0
        states[name] = load_file(tmp_path / name / "final.safetensors")
    one, other = states["E0M7"], states["E1M6"]
    scales = {key for key in one if key.endswith("_scaler.scale")}
    assert scales and one.keys() == other.keys()
    for key in one.keys() - scales:
        assert torch.equal(one[key], other[key]), key
    ratios = {float(one[key] / other[key]) for key in scales}
    assert len(ratios) == 1, "one constant scale lies between them"


def test_on_a_uniform_grid_every_power_is_the_same_run(tmp_path: Path, make_run: MakeRun, corpus_folder: Path) -> None:
    weights = set()
    for power in (-0.5, 0.0, 0.25, 0.5, 1.0):
        updates = {"manifold": {"optimizer": "manifold_adamw", "metric_power": power, "geometry_aware": True}}
        run = make_run(format="E0M7", update="manifold", storage="nearest", updates=updates)
        assert run.update_spec.metric_power == power
        assert train_run(run, corpus_folder, tmp_path / str(power), False, lambda message: None) == 0
        weights.add((tmp_path / str(power) / "final.safetensors").read_bytes())
    assert len(weights) == 1


def test_on_a_grid_with_binades_it_is_another(tmp_path: Path, make_run: MakeRun, corpus_folder: Path) -> None:
    weights = []
    for update in ("adamw", "manifold"):
        run = make_run(format="E4M3", update=update, storage="nearest")
        assert train_run(run, corpus_folder, tmp_path / update, False, lambda message: None) == 0
        weights.append((tmp_path / update / "final.safetensors").read_bytes())
    assert weights[0] != weights[1]
