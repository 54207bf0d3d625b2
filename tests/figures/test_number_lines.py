"""The number lines: every value is a tick in its place or in a block, and the same figure is the same file."""

import bisect
import itertools
import math
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.text import Text

from altgrad.errors import ReportError
from altgrad.figures import number_lines
from altgrad.figures.number_lines import draw_format, draw_number_lines, save_figure
from altgrad.figures.style import WIDTH_IN
from altgrad.numerics.catalog import formats
from altgrad.numerics.format import FloatFormat
from tests.numerics.oracle import GRIDS, SPECS

FORMATS = [FloatFormat("E2M1", 2, 1, num_high_nans=0), FloatFormat("E2M0", 2, 0)]
NORMAL, SUBNORMAL = "#0072B2", "#D55E00"
LINEAR, BINARY = number_lines._LINEAR, number_lines._BINARY
LEFT, RIGHT, SHORT, LONG = number_lines._LEFT, number_lines._RIGHT, number_lines._SHORT, number_lines._LONG
TOUCHING = 0.75  # points

Span = tuple[float, float]


def spans(figure: Figure, panel: int = 0) -> dict[tuple[str, float, float], list[Span]]:
    """Return from where to where ticks (no width) and blocks reach, by color, lower end and upper end."""
    found: dict[tuple[str, float, float], list[Span]] = {}
    for patch in figure.axes[panel].patches:
        assert isinstance(patch, PathPatch)
        for part in np.split(patch.get_path().vertices, np.flatnonzero(patch.get_path().codes == 1)[1:]):
            (left, low), (right, high) = part.min(axis=0), part.max(axis=0)
            key = (to_hex(patch.get_edgecolor()).upper(), round(float(low), 6), round(float(high), 6))
            found.setdefault(key, []).append((float(left), float(right)))
    return found


def truth(name: str) -> tuple[list[float], float]:
    """Return a format's positive finite values in rising order and the first normal one, from numpy or the oracle."""
    if name in SPECS:
        grid = GRIDS[name]
        return [float(x) for x in grid.magnitudes[1 : grid.spec.rungs + 1]], 2.0 ** (1 - SPECS[name].bias)
    dtype, inf_code = {"FP16": (np.float16, 0x7C00), "BF16": (ml_dtypes.bfloat16, 0x7F80)}[name]
    values = np.arange(1, inf_code, dtype=np.uint16).view(dtype).astype(np.float64)
    return values.tolist(), float(ml_dtypes.finfo(dtype).smallest_normal)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_value_is_a_tick() -> None:
    figure = draw_number_lines(FORMATS)
    linear, binary = (
        {key: [left for left, right in found if left == right] for key, found in spans(figure, panel).items()}
        for panel in (0, 1)
    )
    assert linear == {
        (NORMAL, -0.35, 0.35): [value / 6 for value in (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)],
        (SUBNORMAL, -0.35, 0.35): [0.5 / 6],
        (NORMAL, 0.65, 1.35): [0.5, 1.0],
    }
    assert binary[SUBNORMAL, -0.35, 0.35] == [-1.0]
    assert binary[NORMAL, 0.65, 1.35] == [0.0, 1.0]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        *("E2M1 (bias 1, max 6)", "E2M0 (bias 1, max 2)"),
    ]
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > top  # the first row is the upper one
    left, right = figure.axes[1].get_xlim()
    assert left < -1 and right > math.log2(6)


def assert_shows(drawn: list[Span], places: list[float]) -> None:
    """Assert that ticks and blocks, in order, are the places: those that would touch as blocks, the others as ticks."""
    done = 0
    for left, right in drawn:
        block = places[done : bisect.bisect_right(places, right + 1e-6)]
        assert (block[0], block[-1]) == pytest.approx((left, right))
        assert all(b - a < TOUCHING for a, b in itertools.pairwise(block))
        assert not done or block[0] - places[done - 1] >= TOUCHING
        done += len(block)
    assert done == len(places)


@pytest.mark.parametrize("name", formats)
def test_a_format_shows_every_value_in_its_place(name: str) -> None:
    values, first_normal = truth(name)
    found = spans(draw_format(formats[name]))
    low, width = math.log2(values[0]), math.log2(values[-1] / values[0])
    for color, mine in (
        (SUBNORMAL, [value for value in values if value < first_normal]),
        (NORMAL, [value for value in values if value >= first_normal]),
    ):
        for y, shares in (
            (LINEAR, [value / values[-1] for value in mine]),
            (BINARY, [(math.log2(value) - low) / width for value in mine]),
        ):
            drawn = sorted(found.get((color, y, y + SHORT), []))
            assert_shows(drawn, [LEFT + (RIGHT - LEFT) * share for share in shares])


def test_long_ticks_are_powers_of_two() -> None:
    found = spans(draw_format(formats["E3M2"]))
    powers = [(NORMAL, range(-2, 5)), (SUBNORMAL, range(-4, -2))]
    for color, exponents in powers:
        places = [LEFT + (RIGHT - LEFT) * (k + 4) / (math.log2(28) + 4) for k in exponents]
        assert [left for left, _ in found[color, BINARY, BINARY + LONG]] == pytest.approx(places)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("E4M3", ["bias 7", "subnormal", "normal", r"253 values, $2^{-9}$ to 32 apart", "max 448", "256", "$2^{-6}$"]),
        ("E0M7", ["bias 1", "subnormal", "255 values, $2^{-7}$ apart", "max 0.9921875", "$2^{-7}$"]),
        ("E7M0", ["bias 63", "normal", "253 values, $2^{-62}$ to $2^{62}$ apart", "max $2^{63}$", "$2^{-62}$"]),
        ("binary8p2sf", [r"max $1.5 \cdot 2^{31}$", "$2^{-32}$"]),
        # Its last binades are blocks, which say their spacing: 2^15 / 2^10 = 32 and so on.
        ("FP16", ["32 apart", "16 apart", "8 apart", "max 65504", "$2^{-24}$", "$2^{-14}$"]),
    ],
)
def test_limits_and_spacing_are_labeled(name: str, expected: list[str]) -> None:
    found = words(draw_format(formats[name]))
    assert set(expected) <= set(found)
    assert found.count(next(word for word in expected if word.startswith("max"))) == 2
    assert ("subnormal" in found) == (name != "E7M0") and ("normal" in found) == (name != "E0M7")
    assert any(word.endswith(" apart") and word[0] != "$" and "values" not in word for word in found) == (
        name == "FP16"
    )


@pytest.mark.parametrize(
    "fmt", [*formats.values(), FloatFormat("A-name.of_24-letters_now", 4, 3)], ids=lambda f: f.name
)
def test_no_words_cover_others_or_leave_the_picture(fmt: FloatFormat) -> None:
    figure = draw_format(fmt)
    boxes = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text()]
    for a, b in itertools.combinations(boxes, 2):
        assert not (min(a.x1, b.x1) > max(a.x0, b.x0) and min(a.y1, b.y1) > max(a.y0, b.y0))
    assert min(box.x0 for box in boxes) >= 0 and min(box.y0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width == WIDTH_IN * figure.dpi
    assert max(box.y1 for box in boxes) <= figure.bbox.height


def test_a_format_of_one_value_can_be_drawn() -> None:
    found = spans(draw_format(FloatFormat("E1M0", 1, 0, num_high_nans=0)))
    assert found[NORMAL, LINEAR, LINEAR + SHORT] == [(RIGHT, RIGHT)]
    assert found[NORMAL, BINARY, BINARY + SHORT] == [(LEFT, LEFT)]


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_the_same_figure_is_the_same_file(tmp_path: Path, suffix: str) -> None:
    for draw in (lambda: draw_number_lines(FORMATS), lambda: draw_format(FORMATS[0])):
        paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
        for path in paths:
            save_figure(draw(), path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert b"atplotlib v" not in paths[0].read_bytes()  # a version would change the bytes


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no suffix is not a figure's"):
        save_figure(draw_number_lines(FORMATS), tmp_path / "lines")
    assert not list(tmp_path.iterdir())
