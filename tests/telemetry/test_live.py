"""The view of a run: what it keeps, what a resume drops, and files that are no view."""

import itertools
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from altgrad.telemetry import live
from altgrad.telemetry.live import MAX_EVENTS, MAX_POINTS, Live, LiveView, read_live


@pytest.fixture(autouse=True)
def each_window_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "INTERVAL_S", 0.0)


def seen(path: Path) -> LiveView:
    view = read_live(path)
    assert view is not None
    return view


def test_windows_are_added_up(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    writer = Live(path, "r", 100)
    assert not path.exists()
    writer.update(10, {"train_loss": 2.5, "lr": 1}, [], 1000.0)
    writer.update(20, {"train_loss": 2.25, "val_loss": 3.0}, [{"step": 17, "event": "nonfinite"}], 2000.0)
    view = seen(path)
    assert (view.run_id, view.step, view.steps, view.tokens_per_s) == ("r", 20, 100, 2000.0)
    assert view.series == {"train_loss": [(10, 2.5), (20, 2.25)], "lr": [(10, 1.0)], "val_loss": [(20, 3.0)]}
    assert (view.last("train_loss"), view.last("val_loss"), view.last("edq")) == (2.25, 3.0, None)
    assert view.events == [{"step": 17, "event": "nonfinite"}]
    assert [file.name for file in tmp_path.iterdir()] == ["live.json"]


def test_what_is_not_finite_is_null_in_strict_json(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    event = {"step": 1, "event": "rank_warning", "value": math.nan, "slope": -math.inf, "reference": 2.0}
    Live(path, "r", 5).update(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 5e-324}, [event], math.inf)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    data = json.loads(path.read_text(), parse_constant=refuse)
    assert data["series"] == {"a": [[1, None]], "b": [[1, None]], "c": [[1, None]], "d": [[1, 5e-324]]}
    assert data["events"] == [{"step": 1, "event": "rank_warning", "value": None, "slope": None, "reference": 2.0}]
    assert data["tokens_per_s"] is None and seen(path).last("a") is None


@pytest.mark.parametrize("windows", [MAX_POINTS, MAX_POINTS + 1, 3 * MAX_POINTS + 17])
def test_long_series_are_thinned_evenly_and_keep_their_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: int
) -> None:
    monkeypatch.setattr(Live, "_write", lambda self, now: None)
    writer = Live(tmp_path / "live.json", "r", 10**6)
    for step in range(1, windows + 1):
        writer.update(step, {"x": step / 2}, [], 1.0)
    monkeypatch.undo()
    writer.rewind(windows)
    points = seen(tmp_path / "live.json").series["x"]
    assert len(points) == min(windows, MAX_POINTS)
    assert points[0] == (1, 0.5) and points[-1] == (windows, windows / 2)
    assert all(value == step / 2 for step, value in points)
    gaps = [after[0] - before[0] for before, after in itertools.pairwise(points)]
    assert max(gaps) <= 4 * windows / MAX_POINTS


@pytest.mark.parametrize("whole", [True, False])
def test_the_last_events_are_kept_once_however_they_are_given(tmp_path: Path, whole: bool) -> None:
    path = tmp_path / "live.json"
    writer, events = Live(path, "r", 100), [{"step": step, "event": "rank_warning"} for step in range(1, 31)]
    for step, event in enumerate(events, 1):
        writer.update(step, {}, events[:step] if whole else [event], 1.0)
    assert seen(path).events == events[-MAX_EVENTS:]


def test_another_process_goes_on_from_a_step(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    first = Live(path, "r", 100)
    for step in (10, 20, 30):
        first.update(step, {"x": float(step)}, [{"step": step, "event": "e"}], 1.0)
    first.update(40, {"late": 1.0}, [], 1.0)
    second = Live(path, "r", 100)
    second.rewind(20)
    assert (seen(path).step, seen(path).series) == (20, {"x": [(10, 10.0), (20, 20.0)]})
    assert [event["step"] for event in seen(path).events] == [10, 20]
    second.update(30, {"x": -1.0}, [], 1.0)
    assert seen(path).series["x"] == [(10, 10.0), (20, 20.0), (30, -1.0)]


def test_a_step_that_comes_again_replaces_what_lay_beyond_it(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    writer = Live(path, "r", 100)
    for step in (10, 20, 30, 20):
        writer.update(step, {"x": float(step)}, [], 1.0)
    assert [point[0] for point in seen(path).series["x"]] == [10, 20]


def test_a_view_of_another_run_is_not_taken_in(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    Live(path, "other", 100).update(10, {"x": 1.0}, [], 1.0)
    Live(path, "r", 50).update(20, {"y": 1.0}, [], 1.0)
    assert (seen(path).run_id, seen(path).series) == ("r", {"y": [(20, 1.0)]})


def test_the_time_left_is_that_at_the_pace_since_the_first_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "live.json", [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    writer = Live(path, "r", 100)
    now[0] += 500  # compiling
    writer.update(10, {}, [], 1.0)
    assert seen(path).time_left_s is None
    now[0] += 20
    writer.update(20, {}, [], 1.0)
    assert (seen(path).time_left_s, seen(path).updated) == (160.0, 1520.0)
    writer.update(100, {}, [], 1.0)
    assert seen(path).time_left_s == 0.0
    writer.rewind(50)
    assert seen(path).time_left_s is None


def test_it_writes_no_more_often_than_a_person_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, now, shown = tmp_path / "live.json", [1000.0], []
    monkeypatch.setattr(live, "INTERVAL_S", 0.5)
    monkeypatch.setattr(time, "time", lambda: now[0])
    writer = Live(path, "r", 9)
    for step in range(1, 10):
        writer.update(step, {"x": float(step)}, [], 1.0)
        shown.append(seen(path).step)
        now[0] += 0.25 if step != 6 else -3600.0  # a clock may be set back
    assert shown == [1, 1, 3, 3, 5, 5, 7, 7, 9]
    assert [step for step, _ in seen(path).series["x"]] == list(range(1, 10))


GOOD: dict[str, Any] = {
    "run_id": "r", "steps": 5, "step": 1, "tokens_per_s": 1.0, "time_left_s": None, "updated": 1.0,
    "series": {"x": [[1, 2.0]]}, "events": [],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"step": -1}, {"series": []}, {"series": {"x": [[1]]}}, {"series": {"x": [1]}}, {"events": [1]},
     {"series": {"x": [[1, "a"]]}}, {"run_id": 5}, {"extra": 1}, {"updated": None}, {"tokens_per_s": math.nan}],
)  # fmt: skip
def test_a_file_of_another_shape_is_no_view(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "live.json"
    path.write_text(json.dumps(GOOD))
    assert read_live(path) is not None
    path.write_text(json.dumps(GOOD | change))
    assert read_live(path) is None


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"\xff\xfe", b"[" * 100_000, json.dumps(GOOD).encode()[:-1]])
def test_a_damaged_file_is_no_view_and_is_written_anew(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "live.json"
    path.write_bytes(data)
    assert read_live(path) is None
    Live(path, "r", 5).update(1, {"x": 1.0}, [], 1.0)
    assert seen(path).series == {"x": [(1, 1.0)]}


def test_a_view_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    writer = Live(tmp_path / "no-such-folder" / "live.json", "r", 5)
    writer.update(1, {"x": 1.0}, [], 1.0)
    writer.rewind(0)
    assert read_live(tmp_path / "no-such-folder" / "live.json") is None and read_live(tmp_path) is None


def test_no_torch() -> None:
    code = "import sys, altgrad.telemetry.live; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
