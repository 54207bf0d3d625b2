"""What goes with the benefit and the loss: every mark is a row of the tables, and titles are the tests' results."""

import math

import numpy as np
import pandas as pd
import pytest

from altgrad.analysis.cells import CELL
from altgrad.analysis.tables import Tables
from altgrad.figures import benefit_by_geometry, mechanism
from altgrad.figures.style import UPDATE_COLORS, draw
from tests.figures.conftest import replaced
from tests.figures.drawn import bars, make, marks, strokes, words

ADAMW, MANIFOLD, ANOTHER = UPDATE_COLORS[:3]


@pytest.fixture(scope="module")
def spread(several: Tables) -> Tables:
    """A study with two geometry-aware updates, whose weights' grids were diagnosed."""
    data = several["mechanism"]
    numbers = {
        name: np.linspace(low, high, len(data)) for name, low, high in (("ulp_spread", 0.5, 3.0), ("edq", 0.1, 0.9))
    }
    return replaced(several, mechanism=data.assign(**numbers, stall_ratio=1 - numbers["edq"] ** 2))


def benefits(tables: Tables, update: str, storage: str) -> pd.DataFrame:
    data = tables["comparisons"].query(f"estimand == 'benefit' and update == '{update}' and storage == '{storage}'")
    return data.merge(tables["mechanism"][[*CELL, "ulp_spread"]], on=CELL).sort_values("ulp_spread")


def test_benefit_stands_against_mantissa_bits_and_the_spread_of_spacings(spread: Tables) -> None:
    figure = make(benefit_by_geometry.FIGURE, spread)
    assert len(figure.axes) == 4
    for row, storage in enumerate(("nearest", "master")):
        left, right = figure.axes[2 * row : 2 * row + 2]
        data = benefits(spread, "manifold", storage)
        bits = data["format"].map({"E4M3": 3, "E7M0": 0})
        assert sorted(marks(left, MANIFOLD, "s")) == [
            pytest.approx(p) for p in sorted(zip(bits, data["mean"], strict=True))
        ]
        assert marks(right, MANIFOLD, "s") == [
            pytest.approx(p) for p in zip(data["ulp_spread"], data["mean"], strict=True)
        ]
        intervals = [
            [(x, low), (x, high)] for x, low, high in zip(data["ulp_spread"], data["low"], data["high"], strict=True)
        ]
        assert bars(right, MANIFOLD) == [[pytest.approx(p) for p in interval] for interval in intervals]
        assert left.get_title(loc="left").startswith(storage)


def test_other_updates_stand_beside_the_primary_one(spread: Tables) -> None:
    left, right = make(benefit_by_geometry.FIGURE, spread).axes[:2]
    data = benefits(spread, "another", "nearest")
    assert [x for x, _ in marks(right, ANOTHER, "^")] == pytest.approx(data["ulp_spread"].tolist())
    beside = sorted(x for x, _ in marks(left, ANOTHER, "^"))
    assert beside == pytest.approx([-0.2, 2.8])  # right of 0 and of 3, on an axis that falls
    assert left.get_xlim()[0] > left.get_xlim()[1]
    digits = [line.get_marker() for line in left.lines if "mathdefault" in str(line.get_marker())]
    assert digits == ["$\\mathdefault{0}$", "$\\mathdefault{3}$"]  # the primary update's alone


def test_an_update_that_fails_does_not_flatten_the_primary_one(spread: Tables) -> None:
    compared = spread["comparisons"]
    other = compared["update"] == "another"
    gone = compared.assign(**{end: compared[end].mask(other, -3.456) for end in ("low", "mean", "high")})
    failed, alone = (
        make(benefit_by_geometry.FIGURE, replaced(spread, comparisons=data)).axes for data in (gone, compared[~other])
    )
    for axes, own in zip(failed[:2], alone[:2], strict=True):  # under master the primary update gains exactly nothing
        (low, high), (own_low, own_high) = axes.get_ylim(), own.get_ylim()
        assert high - low <= 1.5 * (own_high - own_low) + 1e-9
        assert words(axes) == ["-3.46", "-3.46"] and not words(own)
        assert [x for x, _ in marks(axes, ANOTHER, "v")] == [x for x, _ in marks(axes, ANOTHER, "^")]


def test_formats_are_named_under_their_mantissa_bits(spread: Tables) -> None:
    axes = make(benefit_by_geometry.FIGURE, spread).axes[2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["3\nE4M3", "0\nE7M0"]


def test_grids_that_were_not_diagnosed_are_said(several: Tables) -> None:
    blind = several["mechanism"].assign(ulp_spread=math.nan)
    figure = make(benefit_by_geometry.FIGURE, replaced(several, mechanism=blind))
    assert words(figure.axes[1]) == ["the weights' grid was not diagnosed"]
    assert marks(figure.axes[0], MANIFOLD, "s")


def test_mechanism_marks_every_cell_on_the_grid(spread: Tables) -> None:
    figure = make(mechanism.FIGURE, spread)
    for axes, x in zip(figure.axes, ("edq", "stall_ratio"), strict=True):
        for update, color, marker in (("adamw", ADAMW, "o"), ("manifold", MANIFOLD, "s"), ("another", ANOTHER, "^")):
            data = spread["mechanism"].query(f"update == '{update}' and storage == 'nearest'")
            assert marks(axes, color, marker) == [pytest.approx(p) for p in zip(data[x], data["gap"], strict=True)]
        digits = [line.get_marker() for line in axes.lines if "mathdefault" in str(line.get_marker())]
        assert sorted(digits) == ["$\\mathdefault{0}$"] * 3 + ["$\\mathdefault{3}$"] * 3
    low, high = figure.axes[0].get_ylim()
    gaps = spread["mechanism"].query("storage == 'nearest'")["gap"]
    assert low < min(0.0, gaps.min()) and high > gaps.max()


def test_storages_on_the_grid_are_full_and_hollow(spread: Tables) -> None:
    data = spread["mechanism"]
    other = data[data["storage"] == "nearest"].assign(storage="stochastic")
    tables = replaced(spread, mechanism=pd.concat([data, other], ignore_index=True))
    axes = make(mechanism.FIGURE, tables).axes[0]
    squares = [line for line in axes.lines if line.get_marker() == "s"]
    assert [line.get_markerfacecolor() for line in squares] == [MANIFOLD] * 2 + ["white"] * 2
    assert "full marks are nearest storage" in mechanism.FIGURE.caption(tables)


def test_titles_are_the_correlations_of_the_table(spread: Tables) -> None:
    rows = [
        ("on the grid", "edq", "", 12, -0.8123, 0.0004),
        ("on the grid", "edq", "stall_ratio", 12, -0.7, 0.0321),
        ("on the grid", "stall_ratio", "", 12, 0.5, 0.07),
        ("on the grid", "stall_ratio", "edq", 2, math.nan, math.nan),
        ("nearest", "edq", "", 6, 0.1, 0.9),
    ]
    tests = pd.DataFrame(rows, columns=["storage", "x", "given", "n", "rho", "p"]).assign(test="?", y="gap")
    left, right = make(mechanism.FIGURE, replaced(spread, mechanism_tests=tests)).axes
    assert left.get_title().split("\n") == [
        "with the gap: rho = -0.81, p < 0.001, 12 cells",
        "given the stall ratio: rho = -0.70, p = 0.032, 12 cells",
    ]
    assert right.get_title().split("\n") == [
        "with the gap: rho = +0.50, p = 0.070, 12 cells",
        "given EDQ: no correlation (2 cells)",
    ]


def test_gaps_on_both_sides_of_0_are_drawn(spread: Tables) -> None:
    data = spread["mechanism"]
    gaps = np.where(data["format"] == "E7M0", -0.02, 3.0)
    tables = replaced(spread, mechanism=data.assign(gap=gaps))
    axes = make(mechanism.FIGURE, tables).axes[0]
    assert axes.get_ylim()[0] < -0.02 and axes.get_ylim()[1] > 3
    assert draw(mechanism.FIGURE, tables)  # warnings are errors


def test_cells_that_were_not_counted_are_said(spread: Tables) -> None:
    blind = spread["mechanism"].assign(stall_ratio=math.nan)
    figure = make(mechanism.FIGURE, replaced(spread, mechanism=blind))
    assert words(figure.axes[1]) == ["not counted"] and marks(figure.axes[0], MANIFOLD, "s")
    assert strokes(figure.axes[1], "#000000")  # the line at 0 stays
