"""What must be measured in a process of its own: `python -m benchmarks.probe NAME ...` prints one JSON object.

Peak memory is a process's; kernels are counted with instrumented code; and training changes torch's global settings.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.setting import Setting, prepare

PROBES = {
    "memory-plain": "benchmarks.memory",
    "memory-quantized": "benchmarks.memory",
    "kernels": "benchmarks.kernels",
    "transfers": "benchmarks.transfers",
}
"""The module of each probe; its function `probe` takes the probe's name and the setting."""

ROOT = Path(__file__).parents[1]

# Every large allocation is a mapping of its own and goes back when freed, so that resident memory is memory in use.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def measure(name: str, setting: Setting) -> dict[str, Any]:
    """Run a probe in a process of its own and return what it found."""
    options = ["--device", setting.device, "--threads", str(setting.threads), *["--quick"] * setting.quick]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.probe", name, *options]
    environment = {**os.environ, **(_MALLOC if name.startswith("memory") else {})}
    found: dict[str, Any] = json.loads(call(command, environment).splitlines()[-1])
    return found


def call(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run a command from the project's root and return its standard output.

    Raises:
        RuntimeError: It failed; the text is what it wrote to standard error.
    """
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def main(
    name: Annotated[str, typer.Argument(help=", ".join(PROBES))],
    device: Annotated[str, typer.Option()],
    threads: Annotated[int, typer.Option()],
    quick: Annotated[bool, typer.Option("--quick")] = False,
) -> None:
    """Run one probe."""
    setting = prepare(device, threads, quick)
    print(json.dumps(importlib.import_module(PROBES[name]).probe(name, setting)))


if __name__ == "__main__":
    typer.run(main)
