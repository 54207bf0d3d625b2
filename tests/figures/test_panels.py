"""What panels and captions have in common: which storages are drawn, and words for steps and for what is shown."""

import pandas as pd
import pytest
from matplotlib import rc_context

from altgrad.analysis.tables import Tables
from altgrad.figures import capacity, gradient_quality, stall_and_flips
from altgrad.figures.captions import shown_words, steps_words
from altgrad.figures.panels import fullest, log_axis
from altgrad.figures.style import RC, FigureSpec, draw, new_figure
from tests.figures.conftest import replaced

BY_STORAGE = [capacity.FIGURE, gradient_quality.FIGURE, stall_and_flips.FIGURE]


@pytest.mark.parametrize("spec", BY_STORAGE, ids=lambda spec: spec.name)
def test_a_third_storage_leaves_no_trace_where_two_fit(distinct: Tables, spec: FigureSpec) -> None:
    bands = distinct["bands"]
    third = bands[bands["format"] == "E4M3"].assign(storage="stochastic", n=7)
    others = bands[bands["format"] != "E4M3"]
    with_third, without = (replaced(distinct, bands=pd.concat(b)) for b in ([third, others], [others]))
    assert draw(spec, with_third) == draw(spec, without)
    assert spec.caption(with_third) == spec.caption(without)


@pytest.mark.parametrize("spec", BY_STORAGE, ids=lambda spec: spec.name)
def test_a_storage_that_no_order_names_is_drawn_last(distinct: Tables, spec: FigureSpec) -> None:
    bands = distinct["bands"].replace({"storage": {"nearest": "another"}})
    with rc_context(RC):
        figure = spec.make(replaced(distinct, bands=bands))
    assert [axes.get_title().split(", ")[1] for axes in figure.axes[:4]] == ["master", "another"] * 2


def test_the_fullest_value_is_shown_and_of_equals_the_first() -> None:
    data = pd.DataFrame({"format": ["A", "A", "B", "B", "A"], "storage": ["x", "y", "y", "z", "z"]})
    assert fullest(data, "storage", ["x", "z", "y"]) == "z"
    assert fullest(data[data["storage"] != "z"], "storage", ["x", "z", "y"]) == "y"


@pytest.mark.parametrize(
    ("values", "sparse", "expected"),
    [
        ([0.001, 0.02], False, [0.001, 0.003, 0.01]),
        ([0.001, 0.02], True, [0.001, 0.01]),
        ([0.002, 0.04], True, [0.003, 0.01, 0.03]),  # one power of ten would name no distance
        ([0.004, 0.006, 0.004], False, [0.004, 0.006]),
    ],
)
def test_logarithmic_axes_name_round_values(values: list[float], sparse: bool, expected: list[float]) -> None:
    axes = new_figure(2).subplots()
    axes.plot(values, values)
    log_axis(axes, pd.Series(values), sparse=sparse)
    axes.figure.canvas.draw()
    assert list(axes.get_xticks()) == pytest.approx(expected)
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"{value:g}" for value in expected]
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))


def test_words_of_captions() -> None:
    steps = [pd.Series(values, dtype=int) for values in ([40, 40], [40, 20], [])]
    assert [steps_words(s) for s in steps] == ["step 40", "steps 20 to 40", "no step"]
    places = pd.DataFrame({"update": ["adamw", "adamw"], "storage": ["nearest", "nearest"]})
    assert [shown_words(data, "update", "storage") for data in (places, places[:0])] == [" Shown: adamw, nearest.", ""]
