"""What stands over the formats where runs have one step each: one mark an update, wherever its runs ended."""

from types import ModuleType

import pandas as pd
import pytest

from altgrad.analysis.tables import Tables
from altgrad.figures import capacity, edq, grid_alignment, stall_and_flips
from altgrad.figures.style import UPDATE_COLORS
from tests.figures.conftest import replaced
from tests.figures.drawn import make, strokes

METRICS = [
    (capacity, "codes_used_fraction"),
    (edq, "edq"),
    (grid_alignment, "grid_alignment_mean"),
    (stall_and_flips, "stall_ratio"),
]


@pytest.mark.parametrize(("module", "metric"), METRICS)
def test_a_format_has_one_mark_where_runs_end_at_different_steps(
    distinct: Tables, module: ModuleType, metric: str
) -> None:
    last = distinct["bands"].query("step == 40")
    place = {"format": "E7M0", "storage": "nearest", "update": "adamw"}
    some = (last[list(place)] == list(place.values())).all(axis=1)
    whole = last[some].assign(n=2, complete=False)
    early = whole.assign(step=20, n=1, mean=whole["mean"] + 0.3, low=whole["low"] - 0.2)
    tables = replaced(distinct, bands=pd.concat([last[~some], whole, early], ignore_index=True))
    axes = make(module.FIGURE, tables).axes[0]
    own = last.query("layer_type == 'all' and metric == @metric and storage == 'nearest' and update == 'adamw'")
    means = own.set_index("format")["mean"]
    # Two seeds ran to the end, and one that diverged has its last value at step 20.
    ((left, right),) = strokes(axes, UPDATE_COLORS[0])
    assert left == pytest.approx((0, means["E4M3"])) and right == pytest.approx((1, means["E7M0"] + 0.3 / 3))
    assert "n = 3 seeds" in module.FIGURE.caption(tables)


def test_of_a_curve_over_steps_a_format_has_the_last(distinct: Tables) -> None:
    bands = distinct["bands"]
    mostly = bands[(bands["step"] == 40) | ((bands["format"] == "E4M3") & (bands["update"] == "adamw"))]
    drawn, last = (
        strokes(make(edq.FIGURE, replaced(distinct, bands=data)).axes[0], UPDATE_COLORS[0])
        for data in (mostly, bands.query("step == 40"))
    )
    assert drawn == last


def test_edq_ends_a_little_above_what_the_axis_follows(distinct: Tables) -> None:
    bands = distinct["bands"]
    third = bands[bands["update"] == "manifold"].assign(update="another", high=40.0)
    updates = distinct["updates"]
    known = pd.concat([updates, updates.query("update == 'manifold'").assign(update="another", primary=False)])
    tables = replaced(distinct, bands=pd.concat([bands, third], ignore_index=True), updates=known)
    top = max(1.0, bands.query("metric == 'edq' and layer_type == 'all'")["high"].max())
    assert make(edq.FIGURE, tables).axes[0].get_ylim()[1] == pytest.approx(1.08 * top, abs=0.05)
