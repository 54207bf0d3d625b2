"""What the figure shows, and what covers what, measured in pixels."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import figure
from benchmarks.rows import PeerRow, Result, Row, Series, Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONG = "ManifoldAdamW step, nearest, counted, compiled"
X = [1e5, 1e6, 5e7]
CURVES = Result(
    series=[
        Series(LONG, "parameters", "optimizer step (ms)", X, [30.0, 40.0, 50.0]),
        Series("fused AdamW", "parameters", "optimizer step (ms)", X, [20.0, 0.3, 10.0]),
        Series("telemetry.parquet", "steps", "telemetry (KiB)", [100.0, 200.0, 400.0], [9.0, 5.0, 1.0]),
    ]
)
TARGETS = Result(
    [
        Row("half", 1.0, target=Target(2.0)),
        Row("double", 2.0, target=Target(4.0, at_least=True)),
        Row("seconds", 1.0, "s", target=Target(2.0)),
        Row("free", 1.0),
    ]
)
PEERS = Result(
    peers=[
        PeerRow("runs", "1", {1024: Row("runs", 2.0, low=1.0, high=3.0)}),
        PeerRow("absent", "", why_not="not installed"),
    ]
)


def drawn(monkeypatch: pytest.MonkeyPatch, results: dict[str, Result], stem: Path, judged: bool = True) -> "Figure":
    """Return the figure itself, laid out."""
    kept: list[Figure] = []

    def keep(figure: "Figure", suffix: str) -> bytes:
        kept.append(figure)
        return suffix.encode()

    monkeypatch.setattr(figure, "encode", keep)
    assert figure.draw(stem, results, "caption", judged)
    kept[0].draw_without_rendering()
    return kept[0]


def points(axes: "Axes") -> np.ndarray:
    """Return the pixels of all that is drawn from data."""
    return np.concatenate([axes.transData.transform(np.asarray(line.get_xydata())) for line in axes.lines])


def test_legends_of_curves_cover_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = drawn(monkeypatch, {"growth": CURVES}, tmp_path / "run")
    boxes = []
    assert len(found.axes) == 2
    for axes in found.axes:
        legend = axes.get_legend()
        assert legend is not None
        box, panel = legend.get_window_extent(), axes.get_window_extent()
        assert box.y0 >= panel.y1, "the legend stands over the panel"
        assert box.y0 > points(axes)[:, 1].max()
        assert found.bbox.x0 <= box.x0 and box.x1 <= found.bbox.x1 and box.y1 <= found.bbox.y1
        boxes.append(box)
    assert not boxes[0].overlaps(boxes[1])
    title = found._suptitle  # type: ignore[attr-defined]
    assert not any(box.overlaps(title.get_window_extent()) for box in boxes)


def test_labels_below_curves_do_not_run_into_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown = []
    for axes in drawn(monkeypatch, {"growth": CURVES}, tmp_path / "run").axes:
        left, right = axes.get_xlim()
        ticks = [
            tick for tick in (*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()) if tick.label1.get_text()
        ]
        labels = [
            tick.label1 for tick in sorted(ticks, key=lambda tick: tick.get_loc()) if left <= tick.get_loc() <= right
        ]
        shown.append([label.get_text() for label in labels])
        boxes = [label.get_window_extent() for label in labels]
        assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))
    assert shown == [["100k", "1M", "10M"], ["100", "200"]]


def test_curves_are_the_series(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second = drawn(monkeypatch, {"growth": CURVES}, tmp_path / "run").axes
    ours, plain, proportional = first.lines
    assert np.array_equal(ours.get_xydata(), list(zip(X, [30.0, 40.0, 50.0], strict=True)))
    assert np.array_equal(plain.get_ydata(), [20.0, 0.3, 10.0])
    assert np.asarray(proportional.get_ydata()) == pytest.approx([0.1, 1.0, 50.0])
    assert [axes.get_ylabel() for axes in (first, second)] == ["optimizer step (ms)", "telemetry (KiB)"]


def test_targets_are_shares_of_what_is_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (axes,) = drawn(monkeypatch, {"some": TARGETS}, tmp_path / "run").axes
    shares = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]  # type: ignore[arg-type,index]
    assert shares == [0.5, 2.0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["half (1; <= 2)", "double (2; >= 4)"]


def test_a_peer_that_did_not_run_has_no_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (axes,) = drawn(monkeypatch, {"peers": PEERS}, tmp_path / "run").axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["runs"]


def test_a_quick_run_has_no_targets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = {"some": TARGETS, "growth": CURVES}
    assert len(drawn(monkeypatch, results, tmp_path / "run").axes) == 3
    assert len(drawn(monkeypatch, results, tmp_path / "run", judged=False).axes) == 2


def test_two_files(tmp_path: Path) -> None:
    assert figure.draw(tmp_path / "run", {"growth": CURVES}, "caption")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert b"<svg" in (tmp_path / "run.svg").read_bytes()


@pytest.mark.parametrize("results", [{}, {"empty": Result()}, {"free": Result([Row("free", 1.0)])}])
def test_nothing_to_draw_writes_nothing(results: dict[str, Result], tmp_path: Path) -> None:
    assert not figure.draw(tmp_path / "run", results, "caption")
    assert not list(tmp_path.iterdir())
