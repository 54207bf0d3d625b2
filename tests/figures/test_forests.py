"""Forest plots: every row is a format and update of the table, with its intervals, seeds, n and verdict."""

import math
from itertools import combinations

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from altgrad.analysis.tables import Tables
from altgrad.figures import benefit, did_forest
from altgrad.figures.style import UPDATE_COLORS, FigureSpec
from tests.figures.conftest import Studies, replaced
from tests.figures.drawn import bars, make, marks, strokes, words

MANIFOLD, ANOTHER = UPDATE_COLORS[1:3]


def rows(tables: Tables, update: str, **place: str) -> pd.DataFrame:
    data = tables["comparisons"].query("layers == 'all' and update == @update")
    return data[(data[list(place)] == list(place.values())).all(axis=1)]


def ends(data: pd.DataFrame, low: str, high: str) -> list[tuple[float, float]]:
    return [pytest.approx(pair) for pair in zip(data[low], data[high], strict=True)]


def test_the_did_shows_means_and_t_intervals(several: Tables) -> None:
    (axes,) = make(did_forest.FIGURE, several).axes
    for update, color, marker in (("manifold", MANIFOLD, "s"), ("another", ANOTHER, "^")):
        data = rows(several, update, estimand="did")
        assert len(data) == 2
        assert [x for x, _ in marks(axes, color, marker)] == pytest.approx(data["mean"].tolist())
        assert [(a[0], b[0]) for a, b in bars(axes, color)] == ends(data, "low", "high")


def test_sign_flip_intervals_are_drawn_where_they_are_finite(several: Tables) -> None:
    (axes,) = make(did_forest.FIGURE, several).axes
    data = rows(several, "manifold", estimand="did")
    assert math.isinf(data.set_index("format").loc["E7M0", "flip_high"])
    flips = [(a[0], b[0]) for a, b in strokes(axes, MANIFOLD)]
    assert flips == ends(data[data["format"] == "E4M3"], "flip_low", "flip_high")


def test_single_seeds_stand_on_their_row(several: Tables) -> None:
    (axes,) = make(did_forest.FIGURE, several).axes
    seeds = several["differences"].query("estimand == 'did' and update == 'another' and format == 'E7M0'")
    drawn = marks(axes, ANOTHER, ".")
    assert [x for x, _ in drawn[-3:]] == pytest.approx(seeds["value"].tolist())
    means = marks(axes, ANOTHER, "^")
    assert {y for _, y in drawn[-3:]} == {means[1][1]}


def test_rows_stand_by_mantissa_bits_and_the_primary_update_first(several: Tables) -> None:
    (axes,) = make(did_forest.FIGURE, several).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["E4M3", "another", "E7M0", "another"]
    places = {color: [y for _, y in marks(axes, color, marker)] for color, marker in ((MANIFOLD, "s"), (ANOTHER, "^"))}
    assert places[MANIFOLD][0] < places[ANOTHER][0] < places[MANIFOLD][1] < places[ANOTHER][1]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is the upper one
    sizes = [next(x for x in axes.lines if x.get_marker() == marker).get_markersize() for marker in ("s", "^")]
    assert sizes[0] > sizes[1]


def test_finer_mantissas_stand_above_whatever_the_order_of_formats(several: Tables) -> None:
    formats = several["formats"]
    swapped = formats.assign(mantissa_bits=formats["mantissa_bits"].replace({3: 0, 0: 3}))
    (axes,) = make(did_forest.FIGURE, replaced(several, formats=swapped)).axes
    assert [label.get_text() for label in axes.get_yticklabels()][::2] == ["E7M0", "E4M3"]


def test_n_and_verdict_stand_at_the_right(several: Tables) -> None:
    (axes,) = make(did_forest.FIGURE, several).axes
    assert words(axes)[:2] == ["n", "verdict"]
    expected = rows(several, "another", estimand="did"), rows(several, "manifold", estimand="did")
    beside = [word for data in expected for n, verdict in zip(data["n"], data["verdict"], strict=True)
              for word in (str(n), verdict)]  # fmt: skip
    assert sorted(words(axes)[2:]) == sorted(beside)


def test_the_words_of_the_forest_do_not_overlap(several: Tables) -> None:
    figure = make(did_forest.FIGURE, several)
    figure.canvas.draw()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in [*axes.texts, *axes.get_yticklabels()]]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_a_format_without_the_primary_update_names_its_own(several: Tables) -> None:
    compared = several["comparisons"]
    rest = compared[(compared["format"] != "E7M0") | (compared["update"] != "manifold")]
    (axes,) = make(did_forest.FIGURE, replaced(several, comparisons=rest)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["E4M3", "another", "E7M0 another"]


def test_without_a_verdict_marks_are_hollow(studies: Studies) -> None:
    tables = studies("one seed")
    for spec in (benefit.FIGURE, did_forest.FIGURE):
        full, few = make(spec, studies("sweep")), make(spec, tables)
        fills = [
            {to_hex(x.get_markerfacecolor()) for x in f.axes[0].lines if x.get_marker() == "s"} for f in (full, few)
        ]
        assert fills == [{MANIFOLD.lower()}, {"#ffffff"}]
        assert "Hollow marks have fewer than 3 seeds" in spec.caption(tables)
        assert "Hollow" not in spec.caption(studies("sweep"))


def test_benefit_shows_one_column_a_storage(several: Tables) -> None:
    figure = make(benefit.FIGURE, several)
    titles = ["nearest\n(in the format)", "master\n(FP32 beside the format)"]
    assert [axes.get_title() for axes in figure.axes] == titles
    for axes, storage in zip(figure.axes, ("nearest", "master"), strict=True):
        for update, color, marker in (("manifold", MANIFOLD, "s"), ("another", ANOTHER, "^")):
            data = rows(several, update, estimand="benefit", storage=storage)
            assert [x for x, _ in marks(axes, color, marker)] == pytest.approx(data["mean"].tolist())
            assert [(a[0], b[0]) for a, b in bars(axes, color)] == ends(data, "low", "high")
            seeds = several["differences"].query("estimand == 'benefit' and update == @update and storage == @storage")
            assert [x for x, _ in marks(axes, color, ".")] == pytest.approx(seeds["value"].tolist())


@pytest.mark.parametrize(("spec", "estimand"), [(benefit.FIGURE, "benefit"), (did_forest.FIGURE, "did")])
def test_means_and_seeds_of_the_primary_update_are_in_sight(several: Tables, spec: FigureSpec, estimand: str) -> None:
    figure = make(spec, several)
    low, high = min(a.get_xlim()[0] for a in figure.axes), max(a.get_xlim()[1] for a in figure.axes)
    own = f"estimand == '{estimand}' and update == 'manifold'"
    means, seeds = (several[name].query(own) for name in ("comparisons", "differences"))
    seen = [*means["mean"], *seeds["value"]]
    assert low < min(seen) and max(seen) < high


@pytest.mark.parametrize("spec", [benefit.FIGURE, did_forest.FIGURE], ids=lambda spec: spec.name)
def test_an_update_that_fails_is_written_at_the_edge(several: Tables, spec: FigureSpec) -> None:
    compared, differences = several["comparisons"], several["differences"]
    other = {name: several[name]["update"] == "another" for name in ("comparisons", "differences")}
    failed = replaced(
        several,
        comparisons=compared.assign(mean=compared["mean"].mask(other["comparisons"], -3.456)),
        differences=differences.assign(value=differences["value"].mask(other["differences"], -3.456)),
    )
    own = replaced(
        several,
        comparisons=compared[~other["comparisons"]],
        differences=differences[~other["differences"]],
    )
    for axes, alone in zip(make(spec, failed).axes, make(spec, own).axes, strict=True):
        (low, high), (own_low, own_high) = axes.get_xlim(), alone.get_xlim()
        assert high - low <= 1.5 * (own_high - own_low) + 1e-9
        assert words(axes).count("-3.46") == 2 and "-3.46" not in words(alone)
        arrows = marks(axes, ANOTHER, "<")
        assert [y for _, y in arrows] == [y for _, y in marks(axes, ANOTHER, "^")]
