"""What a person sees of a run: not begun, begun, training, finished; and how the watching ends."""

import io
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from altgrad.cli import main as command
from altgrad.cli import watch
from altgrad.telemetry.live import Live

SUMMARY = {
    "run_id": "r", "status": "finished", "steps": 40, "steps_planned": 40, "val_loss": 2.125, "train_loss": 2.0625,
    "events": [{"step": 3, "event": "nonfinite", "kind": "loss"}],
}  # fmt: skip


def text_of(run: Path, ascii_only: bool = False) -> str:
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(watch.draw(watch.look(run), ascii_only), soft_wrap=True)
    return console.export_text()


def begin(run: Path, key: str = "k") -> Path:
    home = run / "state" / key
    home.mkdir(parents=True)
    (home / "stamp.json").write_text("{}")
    return home / "live.json"


def train(run: Path, key: str = "k", run_id: str = "r") -> Live:
    """Write the view of a run that is at step 30 of 40, 10 seconds a window."""
    clock = [1000.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: clock[0])
        writer = Live(begin(run, key), run_id, 40)
        for step in (10, 20, 30):
            metrics = {"train_loss": 4.0 - step / 10, "val_loss": math.nan if step < 30 else 2.75, "stall_ratio": 0.125}
            metrics |= {"flip_rate": 0.0625, "edq": 0.5, "grad_norm": 1.5, "lr": 0.003, "unknown": 1.0}
            writer.update(step, metrics, events_at(step), 12345.0)
            clock[0] += 10.0
    return writer


def events_at(step: int) -> list[dict[str, Any]]:
    warning = {"event": "rank_warning", "tensor": "a[0].weight", "metric": "stable_rank", "value": math.nan}
    return [{"step": step, **warning, "reference": 7.123456}] if step == 20 else []


def finish(run: Path, key: str = "k", **changes: Any) -> None:
    text = json.dumps({**SUMMARY, **changes})
    (run / "state" / key / "finished").mkdir()
    (run / "state" / key / "finished" / "summary.json").write_text(text)
    (run / "summary.json").write_text(text)


def row(text: str, label: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.strip("│| ").startswith(label))
    return line.strip("│| ").removeprefix(label).split()


def test_a_run_that_has_not_begun(tmp_path: Path) -> None:
    assert text_of(tmp_path / "r") == f"{tmp_path}/r: not begun; there is no such folder\n"
    (tmp_path / "r").mkdir()
    assert text_of(tmp_path / "r").endswith("r: not begun\n")


@pytest.mark.parametrize("damage", [None, "", "{"])
def test_a_run_before_its_first_window(tmp_path: Path, damage: str | None) -> None:
    path = begin(tmp_path)
    if damage is not None:
        path.write_text(damage)
    assert "begun; its first window has not ended yet" in text_of(tmp_path)


def test_a_run_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path)
    monkeypatch.setattr(time, "time", lambda: 1085.0)
    text = text_of(tmp_path)
    assert row(text, "step ")[:4] == ["30", "/", "40", "75"]
    assert row(text, "tokens/s") == ["12,345"]
    assert " ".join(row(text, "time left")) == "10 s last window 1 min 5 s ago"
    assert row(text, "train loss") == ["1.0000", "█▄▁"]
    assert row(text, "val loss") == ["2.7500", "▁"]
    assert row(text, "stall ratio") == ["0.1250", "▁▁▁"]
    assert row(text, "flip rate")[0] == "0.062500"
    assert row(text, "EDQ")[0] == "0.5000"
    assert row(text, "grad norm")[0] == "1.5"
    assert row(text, "learning rate")[0] == "0.003"
    assert "step 20: rank warning: tensor a[0].weight, metric stable_rank, value none, reference 7.123" in text
    assert "unknown" not in text and "finished" not in text


def test_a_console_without_unicode_gets_ascii(tmp_path: Path) -> None:
    train(tmp_path)
    assert row(text_of(tmp_path, ascii_only=True), "stall ratio") == ["0.1250", "___"]


def test_a_run_that_is_finished(tmp_path: Path) -> None:
    train(tmp_path)
    finish(tmp_path)
    text = text_of(tmp_path)
    assert text.endswith("r: finished at step 40 of 40; val loss 2.125; train loss 2.062; events: 1\n")
    assert "time left" not in text and row(text, "EDQ")[0] == "0.5000"
    finish_again = {"status": "diverged", "steps": 8, "val_loss": None, "events": []}
    (tmp_path / "summary.json").write_text(json.dumps({**SUMMARY, **finish_again}))
    assert text_of(tmp_path).endswith("r: diverged at step 8 of 40; val loss none; train loss 2.062; events: 0\n")


def test_a_finished_run_without_a_view(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    assert text_of(tmp_path).startswith("r: finished at step 40 of 40; ")


def test_a_run_that_trains_beside_one_set_aside(tmp_path: Path) -> None:
    train(tmp_path, "a", "old")
    finish(tmp_path, "a", run_id="old")
    train(tmp_path, "b", "new")
    os.utime(tmp_path / "summary.json", (1, 1))
    text = text_of(tmp_path)
    assert "new" in text and "time left" in text and "finished" not in text
    os.utime(tmp_path / "state" / "b" / "live.json", (0, 0))  # what was left of it when the other was handed out again
    text = text_of(tmp_path)
    assert "old: finished" in text and "time left" not in text


def test_only_the_last_events_are_shown(tmp_path: Path) -> None:
    writer = Live(begin(tmp_path), "r", 40)
    writer.update(30, {}, [{"step": step, "event": "nonfinite", "kind": "loss"} for step in range(1, 13)], 1.0)
    text = text_of(tmp_path)
    assert "the last 8 events:" in text and "step 5: nonfinite: kind loss" in text and "step 4:" not in text


@pytest.mark.parametrize(
    ("points", "width", "expected"),
    [
        ([], 40, ""),
        ([(1, 3.0)], 40, "▁"),
        ([(1, None), (2, None)], 40, "  "),
        ([(1, 0.0), (2, None), (3, 7.0)], 40, "▁ █"),
        ([(step, float(step)) for step in range(8)], 8, "▁▂▃▄▅▆▇█"),
        ([(step, float(step // 5)) for step in range(10)], 2, "▁█"),
        ([(1, 1.0), (1, 1.0)], 40, "▁ "),
        ([(10**30, -1e308), (10**30 + 1, 1e300)], 40, "▁█"),
        ([(5, 1.0), (3, 2.0)], 40, "▁ "),
    ],
)
def test_sparklines(points: list[tuple[int, float | None]], width: int, expected: str) -> None:
    assert watch.sparkline(points, width=width) == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "not known yet"), (0.4, "0 s"), (61, "1 min 1 s"), (3599, "59 min 59 s"),
                          (3600, "1 h 0 min"), (10**7, "2,777 h 46 min")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert watch._duration(seconds) == text


def test_it_follows_a_run_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause is the moment at which the run goes on."""
    ahead: list[Callable[[], object]] = [
        lambda: begin(tmp_path / "r"),
        lambda: train_in(tmp_path / "r"),
        lambda: finish(tmp_path / "r"),
    ]
    pauses: list[float] = []

    def train_in(run: Path) -> None:
        Live(run / "state" / "k" / "live.json", "r", 40).update(10, {"edq": 0.5}, [], 1.0)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        ahead.pop(0)()

    monkeypatch.setattr(time, "sleep", pause)
    out = io.StringIO()
    watch.follow(tmp_path / "r", Console(file=out, force_terminal=True, width=100))
    assert len(pauses) == 3 and max(pauses) <= 2.0
    shown = out.getvalue()
    order = ["not begun", "first window", "0.5000", "r: finished at step 40 of 40"]
    assert sorted(order, key=shown.index) == order


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["altgrad", "watch", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main()
    return ended.value.code


@pytest.mark.parametrize("arguments", [[], ["--once"]])
def test_no_terminal_gets_one_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    train(tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal then
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
    assert call(monkeypatch, str(tmp_path), *arguments) == 0
    assert capsys.readouterr().out.count("EDQ") == 1


def test_ctrl_c_ends_it_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert call(monkeypatch, str(tmp_path)) == 0
    assert capsys.readouterr().err == ""


def test_a_damaged_summary_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.json").write_text("{")
    assert call(monkeypatch, str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith("altgrad: error: ") and "summary.json" in error and error.count("\n") == 1


def test_no_torch(tmp_path: Path) -> None:
    train(tmp_path)
    code = (
        "import sys; from altgrad.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, "watch", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "EDQ" in done.stdout
