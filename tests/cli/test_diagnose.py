"""The verb's options; what it does is tested in tests/training/test_diagnosis.py."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from altgrad.cli.diagnose import diagnose

app = typer.Typer()
app.command()(diagnose)


def test_the_options_are_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Path, Path]] = []
    monkeypatch.setattr("altgrad.training.diagnosis.diagnose_run", lambda *paths: calls.append(paths))
    result = CliRunner().invoke(app, ["--run", "results/runs/a", "--out", "b.parquet"])
    assert result.exit_code == 0
    assert calls == [(Path("results/runs/a"), Path("b.parquet"))]


def test_both_options_are_needed() -> None:
    for arguments in ([], ["--run", "a"], ["--out", "b"]):
        assert CliRunner().invoke(app, arguments).exit_code == 2
