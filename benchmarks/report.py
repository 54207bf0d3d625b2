"""What a run of the benchmarks leaves: tables on the screen, and one JSON file and one figure in results/bench."""

import dataclasses
import datetime
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import altgrad
from altgrad.figures.style import write
from altgrad.training.environment import git_revision
from benchmarks import model
from benchmarks.rows import PeerRow, Result, Row
from benchmarks.setting import Setting, hardware, size_words


def print_section(name: str, title: str, result: Result, setting: Setting) -> None:
    """Print a section's tables."""
    print(f"\n{name}: {title}")
    if result.peers:
        _print_table(*_peer_table(result.peers))
        print()
    header = ["measured", "value", "25-75 %", "target", "", "note"]
    _print_table(header, [_cells(row, setting) for row in result.rows])


def _cells(row: Row, setting: Setting) -> list[str]:
    target = str(row.target or "")
    return [row.name, _number(row.value, row.unit), _spread(row), target, _verdict(row, setting), row.note]


def _verdict(row: Row, setting: Setting) -> str:
    # Small sizes say nothing about targets that were set for large ones.
    return row.verdict() if not setting.quick else "not judged" if row.target else ""


def _spread(row: Row) -> str:
    return "" if row.low is None or row.high is None else f"{row.low:.3g} - {row.high:.3g}"


def _number(value: float, unit: str) -> str:
    digits = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{digits} {unit}" if unit not in ("", "x") else digits


def _peer_table(peers: Sequence[PeerRow]) -> tuple[list[str], list[list[str]]]:
    sizes = sorted({n for peer in peers for n in peer.ratios})
    header = ["E4M3 nearest", "version", *(f"time / copy_, {size_words(n)} (25-75 %)" for n in sizes), "exact?"]
    cells = []
    for peer in peers:
        ratios = [peer.ratios.get(n) for n in sizes]
        times = ["" if r is None else f"{_number(r.value, 'x')} ({_spread(r)})" for r in ratios]
        cells.append([peer.name, peer.version, *times, peer.exact()])
    return header, cells


def _print_table(header: list[str], lines: Iterable[list[str]]) -> None:
    lines = list(lines)
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    for line in [header, ["-" * width for width in widths], *lines]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_summary(results: dict[str, Result], setting: Setting) -> None:
    """Print how many targets were met, and which were not."""
    if setting.quick:
        print("\nA quick run: small sizes, nothing judged.")
        return
    judged = [row for result in results.values() for row in result.rows if row.target is not None]
    missed = [row for row in judged if row.verdict() == "missed"]
    print(f"\n{len(judged) - len(missed)} of {len(judged)} targets met.")
    for row in missed:
        print(f"  missed: {row.name}: {_number(row.value, row.unit)}, target {row.target}")


def stem(setting: Setting, partial: Sequence[str]) -> str:
    """Return the name of a run's files: model, hardware, threads, date, and what makes it less than a whole run.

    Args:
        setting: The run's setting.
        partial: The sections, where they are not all.
    """
    machine = re.sub(r"[^a-z0-9]+", "-", hardware(setting.device).lower()).strip("-")
    threads = f"{setting.threads}-thread{'s' if setting.threads != 1 else ''}"
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    words = [model.NAME, machine, threads, date, *["-".join(partial)] * bool(partial), *["quick"] * setting.quick]
    return "_".join(words)


def environment(setting: Setting) -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "hardware": hardware(setting.device),
        "device": setting.device,
        "threads": setting.threads,
        "quick": setting.quick,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "altgrad": altgrad.__version__,
        "revision": git_revision(),
        "model": model.describe(setting),
        "method": "medians of interleaved rounds in one process, warm-up excluded; spread: 25 % and 75 % quantiles of "
        "the ratios within a round",
    }


def write_json(path: Path, results: dict[str, Result], setting: Setting) -> None:
    """Write all that was measured so far, whole or not at all."""
    sections = {}
    for name, result in results.items():
        rows = [{**dataclasses.asdict(row), "verdict": _verdict(row, setting)} for row in result.rows]
        for row, source in zip(rows, result.rows, strict=True):
            row["target"] = None if source.target is None else str(source.target)
        peers = [{**dataclasses.asdict(peer), "exact": peer.exact()} for peer in result.peers]
        sections[name] = {"rows": rows, "peers": peers, "series": [dataclasses.asdict(s) for s in result.series]}
    data = {"environment": environment(setting), "sections": sections}
    write(path, (json.dumps(data, indent=1) + "\n").encode())
