"""The number lines: every value is a tick in its place, and the same figure is the same file."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from altgrad.errors import ReportError
from altgrad.figures.number_lines import NumberLine, draw_number_lines, save_figure

LINES = [
    NumberLine("E2M1", (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0), 1.0),
    NumberLine("E2M0", (1.0, 2.0, 4.0), 1.0),
]


def _ticks(figure: Figure, panel: int) -> dict[tuple[int, str], list[float]]:
    """Return the places of the ticks by row and color."""
    found = {}
    for lines in figure.axes[panel].collections:
        assert isinstance(lines, LineCollection)
        segments = np.array(lines.get_segments())
        if segments.size:
            row = round(float(segments[0, :, 1].mean()))
            found[row, to_hex(lines.get_color()[0]).upper()] = segments[:, 0, 0].tolist()
    return found


def test_every_value_is_a_tick() -> None:
    figure = draw_number_lines(LINES)
    normal, subnormal = "#0072B2", "#D55E00"
    assert _ticks(figure, 0) == {
        (0, normal): [value / 6 for value in (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)],
        (0, subnormal): [0.5 / 6],
        (1, normal): [0.25, 0.5, 1.0],
    }
    assert _ticks(figure, 1)[0, subnormal] == [-1.0]
    assert _ticks(figure, 1)[1, normal] == [0.0, 1.0, 2.0]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["E2M1", "E2M0"]
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > top  # the first row is the upper one


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_the_same_figure_is_the_same_file(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        save_figure(draw_number_lines(LINES), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert b"atplotlib v" not in paths[0].read_bytes()  # a version would change the bytes


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no suffix is not a figure's"):
        save_figure(draw_number_lines(LINES), tmp_path / "lines")
    assert not list(tmp_path.iterdir())
