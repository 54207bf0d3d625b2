"""The `altgrad` command: what it answers, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import altgrad
from altgrad.cli import main as command
from altgrad.errors import AltGradError

ROOT = Path(__file__).parents[2]
VERBS = [
    "formats",
    "budget",
    "prepare",
    "train",
    "tune",
    "sweep",
    "diagnose",
    "tabulate",
    "analyse",
    "plot",
    "report",
    "publish",
    "headline",
    "watch",
]


def altgrad_command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "altgrad.cli.main", *arguments],
        input=stdin, capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command in this process and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["altgrad", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_verbs_stand_in_the_order_of_the_graph() -> None:
    group = typer.main.get_command(command.app)
    assert list(group.commands) == [*VERBS, "config", "archive"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "verb",
    [
        *VERBS,
        *(f"config {verb}" for verb in ("check", "schema", "runs", "run", "arms", "arm")),
        *(f"archive {verb}" for verb in ("pack", "unpack")),
    ],
)
def test_every_verb_has_help(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, *verb.split(), "--help") == 0
    shown = capsys.readouterr().out
    summary = shown.split("\n\n")[1].strip()
    assert shown.startswith("Usage: ") and len(summary) > 20 and summary.split("\n\n")[0].rstrip().endswith((".", ":"))


def test_options_have_help() -> None:
    group = typer.main.get_command(command.app)
    for verb in VERBS:
        for option in group.commands[verb].params:  # type: ignore[attr-defined]
            assert getattr(option, "help", None), f"{verb} {option.name}"


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"altgrad {altgrad.__version__}\n"


def test_the_version_is_that_of_the_package_files() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == altgrad.__version__
    assert f"\nversion: {altgrad.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_users_error_is_one_line_and_status_2() -> None:
    done = altgrad_command("config", "check", "no-such-file.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "altgrad: error: no-such-file.yaml: it cannot be read (No such file or directory). Give a YAML or JSON file.\n"
    )


def test_train_refuses_a_config_that_is_no_run() -> None:
    done = altgrad_command("train", "--config", "-", "--corpus", "c", "--out", "o", stdin='{"run_id": "../x"}')
    assert done.returncode == 2
    assert done.stderr.startswith("altgrad: error: standard input: ") and done.stderr.count("\n") == 1


def test_an_unexpected_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(command, "app", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        command.main()


def test_an_error_is_one_line_whatever_it_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise AltGradError("a\nfile", "it is\n  broken", "Mend it")

    monkeypatch.setattr(command, "app", broken)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "altgrad: error: a file: it is broken. Mend it.\n"


def test_usage_errors_are_status_2_without_a_traceback() -> None:
    done = altgrad_command("train", "--no-such-option")
    assert done.returncode == 2
    assert "No such option" in done.stderr and "Traceback" not in done.stderr
