"""The verb's options; what it does is tested in tests/training/test_diagnosis.py."""

import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from altgrad.cli import main as command
from altgrad.cli.diagnose import diagnose

app = typer.Typer()
app.command()(diagnose)


def test_the_options_are_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Path, ...]] = []

    def note(*paths: Path, say: Any = print) -> None:
        say("said")
        calls.append(paths)

    monkeypatch.setattr("altgrad.training.diagnosis.diagnose_run", note)
    monkeypatch.setattr("altgrad.training.diagnosis.diagnose_weights", note)
    result = CliRunner().invoke(app, ["--run", "results/runs/a", "--out", "b.parquet"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "said\n")
    assert CliRunner().invoke(app, ["--weights", "w", "--plan", "p", "--out", "b"]).exit_code == 0
    assert CliRunner().invoke(app, ["--run", "runs/a", "--run", "runs/b", "--out", "d"]).exit_code == 0
    assert calls == [
        (Path("results/runs/a"), Path("b.parquet")),
        (Path("w"), Path("p"), Path("b")),
        (Path("runs/a"), Path("d/a.parquet")),
        (Path("runs/b"), Path("d/b.parquet")),
    ]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--run", "a"], "Missing option '--out'"),
        (["--out", "b"], "altgrad: error: diagnose: it takes one of --run and --weights"),
        (["--out", "b", "--run", "a", "--weights", "w"], "altgrad: error: diagnose: it takes one of"),
        (["--out", "b", "--weights", "w"], "altgrad: error: diagnose: --plan goes with --weights"),
        (["--out", "b", "--run", "a", "--plan", "p"], "altgrad: error: diagnose: --plan goes with --weights"),
        (["--out", "b", "--run", "no-such-folder"], "altgrad: error: no-such-folder: it holds neither a finished run"),
        (["--out", "b", "--weights", "w", "--plan", "no-such.yaml"], "altgrad: error: no-such.yaml: it cannot be read"),
    ],
)
def test_what_is_missing_or_too_much_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], text: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["altgrad", "diagnose", *options])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert text in capsys.readouterr().err
