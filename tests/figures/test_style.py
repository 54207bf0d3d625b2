"""Updates are told apart, the primary one first and foremost, and panels do not draw more than can be read."""

from itertools import combinations

import pandas as pd
import pytest

from altgrad.analysis.tables import Tables
from altgrad.figures import edq, loss_curves, lr_basins, mechanism
from altgrad.figures.curves import LAYER_COLORS, LAYER_MARKERS, MOST_UPDATES, crowded_words, first_updates
from altgrad.figures.panels import storage_title
from altgrad.figures.style import (
    BAND_COLOR,
    BASELINE_COLOR,
    STORAGE_ORDER,
    UPDATE_COLORS,
    UPDATE_DASHES,
    UPDATE_MARKERS,
    Encoding,
    FigureSpec,
    draw,
)
from tests.figures.conftest import Studies, replaced
from tests.figures.drawn import make

MANY = ("smooth", "permuted", "rung", "manifold_n0.5", "manifold_0.25", "manifold_1", "gradient")


@pytest.fixture(scope="module")
def crowded(studies: Studies) -> Tables:
    """The sweep with nine updates in every format and storage, in an order that says nothing of their roles."""
    tables = studies("sweep")

    def many(name: str) -> pd.DataFrame:
        data = tables[name]
        own = data[data["update"] == "manifold"]
        return pd.concat([*(own.assign(update=update) for update in MANY), data], ignore_index=True)

    updates = many("updates")
    runs = many("runs")
    grown = {name: many(name) for name in ("cells", "bands", "comparisons", "differences")}
    first = updates.assign(primary=updates["update"] == "manifold")
    return replaced(tables, updates=first, runs=runs, **grown)


def rgb(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def test_nine_updates_have_a_color_a_marker_and_a_line_style_each() -> None:
    for values in (UPDATE_COLORS, UPDATE_MARKERS, UPDATE_DASHES):
        assert len(set(values)) == len(values) == 9
    apart = [*UPDATE_COLORS, BASELINE_COLOR, BAND_COLOR]
    nearest = min(sum((a - b) ** 2 for a, b in zip(rgb(x), rgb(y), strict=True)) for x, y in combinations(apart, 2))
    assert nearest**0.5 > 60
    assert not set(UPDATE_COLORS) & set(LAYER_COLORS) and not set(UPDATE_MARKERS) & set(LAYER_MARKERS)


def test_adamw_and_the_primary_update_come_first(crowded: Tables) -> None:
    encoding = Encoding.of(crowded)
    assert encoding.updates == ("adamw", "manifold", *MANY) and encoding.primary == "manifold"
    assert len({encoding.color(update) for update in encoding.updates}) == 9
    assert (encoding.color("manifold"), encoding.marker("manifold")) == (UPDATE_COLORS[1], "s")


def test_the_primary_update_stands_out(crowded: Tables) -> None:
    encoding = Encoding.of(crowded)
    style = {update: encoding.curve(update, 60) for update in encoding.updates}
    others = [style[update] for update in encoding.updates if update != "manifold"]
    for key in ("linewidth", "markersize", "zorder"):
        assert style["manifold"][key] > max(other[key] for other in others)


def test_formats_stand_by_falling_mantissa_bits(studies: Studies) -> None:
    encoding = Encoding.of(studies("sweep"))
    assert encoding.formats == ("E4M3", "E7M0", "BF16")
    assert encoding.mantissa_bits == {"E4M3": 3, "E7M0": 0, "BF16": 7}
    assert encoding.finest_first(["E7M0", "E4M3", "E7M0", "BF16"]) == ["BF16", "E4M3", "E7M0"]


def test_marks_of_two_updates_stand_on_different_points(studies: Studies) -> None:
    encoding = Encoding.of(studies("sweep"))
    assert [encoding.curve(update, 60)["markevery"] for update in encoding.updates] == [(0, 10), (5, 10)]
    assert [encoding.curve(update, 3)["markevery"] for update in encoding.updates] == [(0, 1), (0, 1)]


def test_a_panel_draws_the_first_updates_that_it_has(crowded: Tables) -> None:
    cells = crowded["cells"].query("format == 'E4M3'")
    some = cells[(cells["storage"] == "nearest") | cells["update"].isin(["adamw", "gradient", "rung"])]
    drawn = first_updates(Encoding.of(crowded), some).groupby("storage")["update"].agg(set)
    assert drawn["nearest"] == {"adamw", "manifold", "smooth", "permuted", "rung"}
    assert drawn["master"] == {"adamw", "gradient", "rung"}


@pytest.mark.parametrize("spec", [edq.FIGURE, loss_curves.FIGURE, lr_basins.FIGURE], ids=lambda spec: spec.name)
def test_figures_of_curves_leave_out_what_is_too_much_and_say_so(crowded: Tables, spec: FigureSpec) -> None:
    legend = [text.get_text() for text in make(spec, crowded).legends[0].texts]
    assert legend[:5] == ["adamw", "manifold", *MANY[:3]] and not set(legend) & set(MANY[3:])
    assert spec.caption(crowded).endswith(crowded_words(crowded))
    assert crowded_words(crowded).startswith(f" A panel draws at most {MOST_UPDATES} updates")


def test_captions_say_nothing_where_nothing_is_left_out(studies: Studies) -> None:
    assert crowded_words(studies("sweep")) == ""


@pytest.mark.parametrize("spec", [lr_basins.FIGURE, mechanism.FIGURE], ids=lambda spec: spec.name)
def test_the_same_tables_give_the_same_bytes(crowded: Tables, spec: FigureSpec) -> None:
    assert draw(spec, crowded) == draw(spec, crowded)


def test_every_storage_has_words() -> None:
    assert [storage_title(storage).split("\n")[0] for storage in STORAGE_ORDER] == list(STORAGE_ORDER)
    assert STORAGE_ORDER[:2] == ("nearest", "master") and set(STORAGE_ORDER[2:]) == {"stochastic", "eco"}
    assert storage_title("eco") == "eco\n(rounding error fed back)" and storage_title("another") == "another"
