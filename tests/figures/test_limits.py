"""How far axes reach, and what is said of values beyond."""

import math

import pandas as pd
import pytest
from matplotlib.axes import Axes

from altgrad.analysis.tables import Tables
from altgrad.figures.limits import leading, led_range, mark_beyond
from altgrad.figures.style import Encoding, new_figure
from tests.figures.drawn import marks, words


@pytest.mark.parametrize(
    ("first", "others", "expected"),
    [
        ([0.0, 1.0], [], (0.0, 1.0)),
        ([0.0, 1.0], [0.5], (0.0, 1.0)),
        ([0.0, 1.0], [-0.25, 1.25], (-0.25, 1.25)),
        ([0.0, 1.0], [-1e5, 1e5], (-0.5, 1.5)),  # twice the range, at the most
        ([0.0, 1.0, math.inf], [math.nan], (0.0, 1.0)),
        ([2.0], [1.0, 7.0], (1.0, 7.0)),  # no range to take a share of
        ([], [3.0, 4.0], (3.0, 4.0)),
    ],
)
def test_others_widen_a_range_by_half_of_it(
    first: list[float], others: list[float], expected: tuple[float, float]
) -> None:
    assert led_range(first, others) == expected


def test_adamw_and_the_primary_update_lead_or_all_where_neither_is(several: Tables) -> None:
    encoding = Encoding.of(several)
    data = pd.DataFrame({"update": ["another", "manifold", "adamw"]})
    assert leading(encoding, data).tolist() == [False, True, True]
    assert leading(encoding, data[:1]).tolist() == [True]


@pytest.fixture
def axes() -> Axes:
    axes = new_figure(2).subplots()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 1)
    return axes


@pytest.mark.parametrize(("value", "marker"), [(1.254, "^"), (-3.456, "v")])
def test_a_value_beyond_is_written_at_its_edge(axes: Axes, value: float, marker: str) -> None:
    mark_beyond(axes, 4.0, value, "#123456")
    ((x, height),) = marks(axes, "#123456", marker)
    assert x == 4.0 and (height > 0.5) == (value > 1)
    assert words(axes) == [f"{value:.2f}"]


@pytest.mark.parametrize(("value", "marker"), [(12.0, ">"), (-3.456, "<")])
def test_so_is_one_beyond_a_horizontal_axis(axes: Axes, value: float, marker: str) -> None:
    mark_beyond(axes, 0.25, value, "#123456", sideways=True)
    ((width, y),) = marks(axes, "#123456", marker)
    assert y == 0.25 and (width > 0.5) == (value > 10)
    assert words(axes) == [f"{value:.2f}"]


def test_a_value_in_sight_is_not_written(axes: Axes) -> None:
    mark_beyond(axes, 4.0, 0.5, "#123456")
    mark_beyond(axes, 0.25, 5.0, "#123456", sideways=True)
    assert not words(axes) and not axes.lines
