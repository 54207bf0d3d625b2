"""A tiny study through the real command: corpus to reports, and a Snakemake that is killed on the way."""

import hashlib
import json
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from altgrad.reporting.catalog import REPORTS
from tests.workflow.conftest import TINY, Project

pytestmark = pytest.mark.graph


def test_a_study_from_corpus_to_reports(command: Project) -> None:
    overlay = command.overlay()
    done = command.snakemake("--configfile", overlay, "--cores", "2", "--resources", "gpu=2")
    assert done.returncode == 0, done.stdout + done.stderr
    results, reports = command.folder / "results/tiny", command.folder / "reports/tiny"

    runs = pd.read_parquet(results / "tables/runs.parquet")
    assert len(runs) == 3 and set(runs["status"]) == {"finished"}
    for _, row in runs.iterrows():
        summary = json.loads((results / "runs" / row["run_id"] / "summary.json").read_text())
        assert summary["steps"] == 20 and summary["val_loss"] == row["val_loss"]
    assert {path.name for path in reports.iterdir()} == {"figures", "tables", *REPORTS}
    assert "demonstration" in (reports / "manifold_vs_standard.md").read_text()

    again = command.snakemake("-n", "--configfile", overlay)
    assert "Nothing to be done" in again.stdout + again.stderr
    page = command.snakemake("--configfile", overlay, "--report", "report.html")
    assert page.returncode == 0, page.stdout + page.stderr
    assert "Written from the study's tables" in (command.folder / "report.html").read_text()


def test_a_killed_snakemake_takes_its_training_along_and_the_run_ends_with_the_same_bytes(command: Project) -> None:
    training = {**TINY["training"], "steps": 600, "checkpoint_every": 20, "eval_every": 200}
    target = "results/{}/runs/BF16-adamw-master-all-lr0.01-s1/summary.json"
    straight = command.overlay(study="straight", training=training)
    done = command.snakemake("--configfile", straight, "--cores", "1", "--", target.format("straight"))
    assert done.returncode == 0, done.stdout + done.stderr

    overlay = command.overlay(study="killed", training=training)
    run = (command.folder / target.format("killed")).parent
    arguments = ["--configfile", overlay, "--cores", "1", "--", target.format("killed")]
    process = command.start(*arguments)
    with process:
        wait_for(lambda: any((run / "state").glob("*/manifest.json")))
        # The training stands still while Snakemake dies, so that it cannot end first on a machine that is busy.
        (training_process,) = trainings_in(command.folder)
        os.kill(training_process, signal.SIGSTOP)
        process.kill()
    os.kill(training_process, signal.SIGCONT)
    wait_for(lambda: not trainings_in(command.folder))
    assert not (run / "summary.json").exists()

    assert command.snakemake("--configfile", overlay, "--unlock").returncode == 0
    done = command.snakemake(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    log = (command.folder / "results/killed/logs/train/BF16-adamw-master-all-lr0.01.log").read_text()
    assert "going on from step" in log
    other = command.folder / "results/straight/runs" / run.name
    for name in ("final.safetensors", "telemetry.parquet"):
        assert digest(run / name) == digest(other / name), name


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wait_for(condition: object, seconds: float = 60) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def trainings_in(folder: Path) -> list[int]:
    """Return the processes of this project's trainings that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"sweep\0--config" in (entry / "cmdline").read_bytes():
                if Path(os.readlink(entry / "cwd")) == folder:
                    found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile, or is not ours
    return found
