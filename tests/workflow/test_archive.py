"""A tuned study that is packed, lost, unpacked and added to: only what is new is trained."""

import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from tests.workflow.conftest import ROOT, TINY, Project

pytestmark = pytest.mark.graph

ARM, BASELINE = "E4M3-adamw-nearest-all", "BF16-adamw-master-all-lr0.01"
TABLE = "results/tiny/tables/runs.parquet"


def overlay(project: Project, seeds: list[int]) -> str:
    grid = {"formats": ["E4M3"], "updates": ["adamw"], "storages": ["nearest"], "seeds": seeds}
    tuning = {"lowest_lr": 1e-2, "start": 3, "max_lrs": 3, "seeds": [101]}
    return project.overlay(grids=[grid], tuning=tuning, training={**TINY["training"], "steps": 10})


def tabulate(project: Project, seeds: list[int]) -> pd.DataFrame:
    done = project.snakemake("--configfile", overlay(project, seeds), "--cores", "2", "--", TABLE)
    assert done.returncode == 0, done.stdout + done.stderr
    return pd.read_parquet(project.folder / TABLE)


def altgrad(project: Project, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "altgrad.cli.main", *arguments], cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def log(project: Project, name: str) -> str:
    return (project.folder / "results/tiny/logs" / f"{name}.log").read_text()


def test_a_study_that_was_lost_goes_on_from_its_archive(command: Project) -> None:
    before = tabulate(command, [1])
    archive = "reports/tiny/archive.tar.xz"
    said = altgrad(command, "archive", "pack", "--results", "results/tiny", "--out", archive)
    assert said.startswith(f"{archive}: 2 runs and 3 trials, ") and said.count("\n") == 1
    for folder in ("results", ".snakemake"):
        shutil.rmtree(command.folder / folder)
    assert altgrad(command, "archive", "unpack", archive, "--results", "results/tiny") == (
        f"results/tiny: 2 runs and 3 trials from {archive}\n"
    )
    after = tabulate(command, [1, 2])
    kept = after[after["seed"] == 1].reset_index(drop=True)
    assert kept["archived"].all() and not before["archived"].any() and not after.query("seed != 1")["archived"].any()
    pd.testing.assert_frame_equal(kept.drop(columns="archived"), before.drop(columns="archived"), check_exact=True)
    assert after["run_id"].tolist() == [f"{BASELINE}-s1", f"{ARM}-s1", f"{ARM}-s2"]

    handed_out = "finished already; handing out its files"
    assert log(command, f"tune/{ARM}").count(f": {handed_out}") == 3
    assert f"{BASELINE}-s1: {handed_out}" in log(command, f"train/{BASELINE}")
    trained = log(command, f"train/{ARM}")
    assert f"{ARM}-s1: {handed_out}" in trained and f"{ARM}-s2: {handed_out}" not in trained
    weights = {path.parent.name for path in command.folder.glob("results/tiny/runs/*/final.safetensors")}
    assert weights == {f"{ARM}-s2"}
    assert command.planned(overlay(command, [1, 2]), "--", TABLE) == {}
