"""Figures of learning rates: what is drawn is what tuning's tables say, or the cells table where rates were listed."""

import math

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from altgrad.analysis.cells import CELL
from altgrad.analysis.tables import Tables
from altgrad.figures import lr_basins, update_collapse
from altgrad.figures.style import UPDATE_COLORS
from altgrad.figures.trials import lr_units, trial_means
from tests.figures.conftest import Studies, replaced
from tests.figures.drawn import Points, bars, make, marks, strokes, words

ADAMW, MANIFOLD = UPDATE_COLORS[:2]
NEAREST = {"update": "manifold", "format": "E7M0", "storage": "nearest"}
E7M0_NEAREST, E7M0_MASTER = 2, 3
"""Panels of the last row of the tuned study."""


def at(data: pd.DataFrame, **place: object) -> pd.DataFrame:
    return data[(data[list(place)] == list(place.values())).all(axis=1)]


def shades(figure_axes: object, color: str) -> list[tuple[float, float]]:
    """Return from where to where each shade of a color reaches."""
    found = [c for c in figure_axes.collections if not hasattr(c, "get_segments")]  # type: ignore[attr-defined]
    paths = [c.get_paths()[0].vertices[:, 0] for c in found if to_hex(c.get_facecolor()[0]) == color.lower()]
    return [(float(x.min()), float(x.max())) for x in paths]


def test_basins_show_trials_and_their_means(studies: Studies) -> None:
    tables = studies("tuned")
    axes = make(lr_basins.FIGURE, tables).axes[E7M0_NEAREST]
    trials = at(tables["trials"], **NEAREST)
    sound = trials.groupby("lr").filter(lambda rate: not rate["diverged"].any())
    assert 0 < len(sound) < len(trials)
    (line,) = [drawn for drawn in strokes(axes, MANIFOLD)]
    means = sound.groupby("lr")["score"].mean()
    assert line == [pytest.approx(pair) for pair in means.items()]
    dots = trials[~trials["diverged"]]
    assert sorted(marks(axes, MANIFOLD, ".")) == [
        pytest.approx(p) for p in sorted(zip(dots["lr"], dots["score"], strict=True))
    ]


def test_basins_mark_divergence_the_choice_and_the_evaluation(studies: Studies) -> None:
    tables = studies("tuned")
    axes = make(lr_basins.FIGURE, tables).axes[E7M0_NEAREST]
    trials, tuning, cells = (at(tables[name], **NEAREST) for name in ("trials", "tuning", "cells"))
    crosses: Points = marks(axes, MANIFOLD, "x")
    assert [x for x, _ in crosses] == trials.loc[trials["diverged"], "lr"].tolist()
    chosen = trials[trials["chosen"]]
    assert marks(axes, MANIFOLD, "s") == [(tuning["lr"].item(), pytest.approx(chosen["score"].mean()))]
    assert marks(axes, MANIFOLD, "d") == [(cells["lr"].item(), pytest.approx(cells["mean"].item()))]
    (interval,) = bars(axes, MANIFOLD)
    assert [y for _, y in interval] == pytest.approx([cells["low"].item(), cells["high"].item()])
    assert shades(axes, MANIFOLD) == [(tuning["basin_low_lr"].item(), tuning["basin_high_lr"].item())]


def test_basins_show_the_baseline_and_say_what_is_shaded(studies: Studies) -> None:
    tables = studies("tuned")
    figure, cells = make(lr_basins.FIGURE, tables), tables["cells"]
    for axes in figure.axes:
        ((left, right),) = strokes(axes, "#000000")
        assert left[1] == right[1] == pytest.approx(at(cells, format="BF16")["mean"].item())
    caption = lr_basins.FIGURE.caption(tables)
    assert "dots are single trials" in caption and "tuning never saw them" in caption
    assert "In 0 of 9 cells" in caption


def test_basins_before_the_runs_show_the_trials_alone(studies: Studies) -> None:
    tables = studies("tuned")
    unrun = replaced(tables, runs=tables["runs"][:0], cells=tables["cells"][:0])
    axes = make(lr_basins.FIGURE, unrun).axes[E7M0_NEAREST]
    assert strokes(axes, MANIFOLD) and not marks(axes, MANIFOLD, "d") and not strokes(axes, "#000000")


def test_listed_rates_are_drawn_from_the_runs(studies: Studies) -> None:
    tables = studies("sweep")
    figure = make(lr_basins.FIGURE, tables)
    cells = at(tables["cells"], update="adamw", format="E4M3", storage="nearest", layers="all")
    axes = figure.axes[0]
    assert strokes(axes, ADAMW) == [[pytest.approx(p) for p in zip(cells["lr"], cells["mean"], strict=True)]]
    assert marks(axes, ADAMW, "o") == [(0.02, pytest.approx(cells.loc[cells["chosen"], "mean"].item()))]
    runs = at(tables["runs"], update="adamw", format="E4M3", storage="nearest")
    assert sorted(marks(axes, ADAMW, ".")) == [
        pytest.approx(p) for p in sorted(zip(runs["lr"], runs["score"], strict=True))
    ]
    assert [x for x, _ in marks(figure.axes[2], ADAMW, "x")] == [0.04]
    assert not marks(axes, ADAMW, "d") and not shades(axes, ADAMW)
    caption = lr_basins.FIGURE.caption(tables)
    assert "dots are single runs" in caption and "Shades" not in caption
    assert "In 0 of 9 cells the best stands at the edge" in caption


def rescaled(tables: Tables, unit: float) -> Tables:
    """Return the tables with all learning rates of manifold in another unit."""

    def scale(name: str, *columns: str) -> pd.DataFrame:
        data = tables[name]
        factor = (data["update"] == "manifold").map({True: unit, False: 1.0})
        return data.assign(**{column: data[column] * factor for column in columns})

    return replaced(
        tables,
        trials=scale("trials", "lr"),
        tuning=scale("tuning", "lr", "basin_low_lr", "basin_high_lr"),
        cells=scale("cells", "lr"),
    )


def test_rates_of_another_unit_are_brought_to_the_same_axis(studies: Studies) -> None:
    tables = studies("tuned")
    other = rescaled(tables, 100.0)
    assert lr_units(tables["trials"]) == {"adamw": 1.0, "manifold": 1.0}
    assert lr_units(other["trials"]) == {"adamw": 1.0, "manifold": 100.0}
    plain, brought = (make(lr_basins.FIGURE, data).axes[E7M0_NEAREST] for data in (tables, other))
    for found in (lambda axes: marks(axes, MANIFOLD, "d"), lambda axes: strokes(axes, MANIFOLD)[0]):
        assert [pytest.approx(p) for p in found(plain)] == found(brought)
    assert "Rates of manifold have another unit, and are divided by 100." in lr_basins.FIGURE.caption(other)
    assert "another unit" not in lr_basins.FIGURE.caption(tables)


def test_means_of_trials(studies: Studies) -> None:
    trials = studies("tuned")["trials"]
    means = trial_means(trials)
    row = at(means, **NEAREST).iloc[-1]
    same = at(trials, **NEAREST, lr=row["lr"])
    assert (row["n"], row["diverged"], row["chosen"]) == (3, 1, False)
    assert row["mean"] == pytest.approx(same["score"].mean())
    assert row["update_ulps"] == pytest.approx(same["update_ulps"].mean())
    assert len(means) == len(trials) / 3


@pytest.fixture(scope="module")
def probed(studies: Studies) -> Tables:
    """The tuned study with updates in ulps that no two trials have in common."""
    tables = studies("tuned")
    trials = tables["trials"]
    return replaced(
        tables, trials=trials.assign(update_ulps=0.01 * 1.02 ** pd.Series(range(len(trials)), trials.index))
    )


def test_collapse_shows_the_loss_above_the_best_of_each_cell(probed: Tables) -> None:
    figure = make(update_collapse.FIGURE, probed)
    means = trial_means(probed["trials"])
    for row, storage in enumerate(("nearest", "master")):
        for column, x in enumerate(("lr", "update_ulps")):
            drawn = strokes(figure.axes[2 * row + column], MANIFOLD)
            cells = means.query(f"update == 'manifold' and storage == '{storage}' and diverged == 0").groupby(CELL)
            expected = [list(zip(c[x], c["mean"] - c["mean"].min(), strict=True)) for _, c in cells]
            assert len(drawn) == len(expected) == 2
            assert drawn == [[pytest.approx(p, abs=1e-12) for p in cell] for cell in expected]


def test_collapse_marks_each_best_with_its_mantissa_bits(probed: Tables) -> None:
    axes = make(update_collapse.FIGURE, probed).axes[1]
    means = at(trial_means(probed["trials"]), update="manifold", storage="nearest", chosen=True)
    best = [x for x, y in marks(axes, MANIFOLD, "s") if y < 0]
    assert best == pytest.approx(means["update_ulps"].tolist())
    digits = [line.get_marker() for line in axes.lines if "mathdefault" in str(line.get_marker())]
    assert sorted(digits) == ["$\\mathdefault{0}$"] * 2 + ["$\\mathdefault{3}$"] * 2
    assert [list(line.get_xdata()) for line in axes.lines if line.get_linestyle() == ":"] == [[0.5, 0.5]]


def test_collapse_says_how_far_the_best_points_lie_apart(probed: Tables) -> None:
    means = trial_means(probed["trials"])
    means = means[(means["diverged"] == 0) & means["update"].isin(["adamw", "manifold"]) & (means["format"] != "BF16")]
    told = []
    for storage in ("nearest", "master"):
        cells = means[means["storage"] == storage].groupby(CELL)
        best = pd.DataFrame([cell.loc[cell["mean"].idxmin()] for _, cell in cells])
        lr, ulps = (math.log2(best[x].max() / best[x].min()) for x in ("lr", "update_ulps"))
        told.append(f"under {storage} {lr:.1f} octaves at the left and {ulps:.1f} at the right")
    assert f"From the lowest best to the highest it is, {'; '.join(told)}." in update_collapse.FIGURE.caption(probed)


def test_collapse_leaves_out_rates_that_diverged_and_updates_of_0(probed: Tables) -> None:
    trials = probed["trials"]
    still = trials.assign(
        update_ulps=trials["update_ulps"].mask((trials["rung"] == 1) & (trials["format"] == "E7M0"), 0.0)
    )
    axes = make(update_collapse.FIGURE, replaced(probed, trials=still)).axes
    lengths = [[len(line) for line in strokes(panel, ADAMW)] for panel in (axes[0], axes[2])]
    # Seven rungs a cell; under nearest the highest diverged once, and rung 1 of E7M0 has updates of 0.
    assert lengths == [[6, 5], [7, 6]]


def test_collapse_without_probes_says_so(probed: Tables) -> None:
    blind = probed["trials"].assign(update_ulps=float("nan"))
    figure = make(update_collapse.FIGURE, replaced(probed, trials=blind))
    assert figure.texts[0].get_text() == "No cell's learning rate was tuned with probes of its updates."


def test_panels_without_a_cell_say_so(studies: Studies) -> None:
    tables = studies("tuned")
    trials = tables["trials"]
    gone = (trials["format"] == "E7M0") & (trials["storage"] == "master")
    figure = make(lr_basins.FIGURE, replaced(tables, trials=trials[~gone]))
    assert "no runs" in words(figure.axes[E7M0_MASTER])


def test_choices_and_evaluations_are_in_sight(studies: Studies) -> None:
    tables = studies("tuned")
    cells = tables["cells"]
    worse = cells.assign(mean=cells["mean"] + 3.0 * (cells["format"] == "E7M0"))
    low, high = make(lr_basins.FIGURE, replaced(tables, cells=worse)).axes[E7M0_NEAREST].get_ylim()
    seen = [*worse.query("format == 'E7M0'")["mean"], *tables["trials"].query("format == 'E7M0' and chosen")["score"]]
    assert low < min(seen) and max(seen) < high
