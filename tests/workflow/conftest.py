"""A copy of the workflow in a folder of its own, with a stand-in for `altgrad` that writes empty files at once.

The graph's properties are tested with it; `test_study.py` runs the real command.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from altgrad.figures.catalog import FIGURES
from altgrad.reporting.catalog import REPORTS
from altgrad.schema import ANALYSIS_TABLES, PUBLISHED, STATISTICS

ROOT = Path(__file__).parents[2]

TINY: dict[str, Any] = {
    "study": "tiny",
    "title": 'It\'s a "tiny" study $(touch evil)',
    "corpus": {"name": "synthetic", "source": "synthetic", "tokenizer": "byte", "size_bytes": 40_000},
    "model": {"n_layer": 1, "n_head": 1, "n_embd": 16, "block_size": 16},
    "training": {
        "steps": 20,
        "batch_size": 4,
        "warmup_steps": 2,
        "eval_every": 10,
        "eval_batches": 2,
        "checkpoint_every": 10,
        "device": "cpu",
        "threads": 1,
        "compile": "off",
    },
    "telemetry": {"wandb": {"mode": "disabled"}},
    "budget": {"usd": None},
    "baseline": {"lrs": [0.01], "seeds": [1]},
    "grids": [
        {"formats": ["E4M3"], "updates": ["adamw", "manifold"], "storages": ["nearest"], "lrs": [0.01], "seeds": [1]}
    ],
}

STUB = f"""#!{sys.executable} -ISE
import json, os, sys
from pathlib import Path
verb, *words = sys.argv[1:]
option = {{word: words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("--")}}
text = sys.stdin.read() if "-" in words else ""
calls = Path(os.environ["STUB_CALLS"])
calls.mkdir(exist_ok=True)
arm = json.loads(text)["arm"] if verb == "sweep" else Path(option["--out"]).name
(calls / f"{{verb}}-{{arm}}").write_text(repr((words, text)))
if verb == os.environ.get("STUB_FAILS"):
    print(f"altgrad: error: {{verb}}: it was told to fail. Do not tell it", file=sys.stderr)
    sys.exit(2)
names = {{
    "prepare": ["train.bin", "val.bin", "meta.json"],
    "tabulate": [f"{{name}}.parquet" for name in {list(ANALYSIS_TABLES)!r}],
    "analyse": [f"{{name}}.parquet" for name in {list(STATISTICS)!r}],
    "publish": [*(f"{{name}}.csv" for name in {list(PUBLISHED)!r}), "provenance.json"],
    "report": {list(REPORTS)!r},
    "plot": [f"{{name}}.{{kind}}" for name in {list(FIGURES)!r} for kind in ("svg", "png")],
}}
out = Path(option["--out"])
if verb == "sweep":
    files = ["config.json", "telemetry.parquet", "timing.parquet", "summary.json"]
    names["sweep"] = [f"{{arm}}-s{{seed}}/{{file}}" for seed in json.loads(text)["seeds"] for file in files]
runs = [Path(words[i + 1]).name for i, word in enumerate(words) if word == "--run"]
if len(runs) > 1:
    names["diagnose"] = [f"{{run}}.parquet" for run in runs]
for path in [out / name for name in names[verb]] if verb in names else [out]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{{verb}} {{os.getppid()}}")
"""


@dataclass
class Project:
    """A copy of the workflow, where Snakemake can be run."""

    folder: Path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start Snakemake here, with whatever `altgrad` lies in the folder `stub`."""
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PATH": os.pathsep.join([str(self.folder / "stub"), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "STUB_CALLS": str(self.folder / "calls"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            **environment,
        }
        command = [sys.executable, "-m", "snakemake", "--nocolor", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=env, stdout=pipe, stderr=pipe, text=True)

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake here to its end."""
        with self.start(*arguments, **environment) as process:
            stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def overlay(self, **changes: object) -> str:
        """Write the tiny study, with some of its top-level keys changed; return `--configfile`'s argument."""
        path = self.folder / f"{changes.get('study', 'tiny')}.yaml"
        path.write_text(yaml.safe_dump({**TINY, **changes}))
        return path.name

    def planned(self, overlay: str, *arguments: str) -> dict[str, int]:
        """Return how many jobs of each rule a dry run schedules."""
        done = self.snakemake("-n", "--quiet", "rules", "--configfile", overlay, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        table = done.stdout.partition("Job stats:")[2].partition("total")[0]
        return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}

    def call(self, name: str) -> tuple[list[str], str]:
        """Return the arguments and the standard input of a call that the stand-in recorded."""
        words, text = eval((self.folder / "calls" / name).read_text(), {})
        return words, text

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace what a pattern matches, once, in a file of the workflow."""
        path = self.folder / file
        text, count = re.subn(old, new, path.read_text())
        assert count == 1
        path.write_text(text)


def copy_workflow(folder: Path) -> Project:
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(ROOT / name, folder / name)
    stub = folder / "stub" / "altgrad"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)
    return Project(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The workflow with nothing made yet."""
    return copy_workflow(tmp_path / "project")


@pytest.fixture
def command(project: Project) -> Project:
    """The workflow with the real `altgrad` on its path, whether or not the package is installed."""
    stub = project.folder / "stub" / "altgrad"
    stub.write_text(f'#!/bin/sh\nexec {sys.executable} -m altgrad.cli.main "$@"\n')
    return project


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_workflow(tmp_path_factory.mktemp("finished") / "project")
    done = project.snakemake("--configfile", project.overlay(), "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def finished(_finished: Project, tmp_path: Path) -> Project:
    """The workflow after the tiny study's graph has run with the stand-in."""
    shutil.copytree(_finished.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")
