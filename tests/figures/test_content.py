"""What is drawn is what the tables say: figures compute nothing."""

import math
from dataclasses import replace
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from altgrad.analysis.cells import CELL, chosen_runs
from altgrad.analysis.study_info import to_frame
from altgrad.analysis.tables import Tables
from altgrad.figures import layer_heatmap, loss_by_format, loss_curves, lr_basins, stall_and_flips
from altgrad.figures.captions import seeds_words
from altgrad.figures.style import UPDATE_COLORS, FigureSpec, number_words, study_of
from tests.figures.conftest import Studies, replaced
from tests.figures.drawn import Points, bars, make, marks, strokes, words

ADAMW, MANIFOLD = UPDATE_COLORS[:2]


def curves(tables: Tables, metric: str = "train_loss", **place: str) -> pd.DataFrame:
    """Return losses of the runs at the chosen learning rate of some cells, by step and seed."""
    runs = chosen_runs(tables["runs"], tables["cells"])
    runs = runs[(runs[list(place)] == list(place.values())).all(axis=1)]
    losses = tables["curves"].query("metric == @metric").merge(runs[["run_id", "seed"]], on="run_id")
    return losses.pivot(index="step", columns="seed", values="value")


def line(values: pd.Series) -> Points:
    return [pytest.approx(pair) for pair in values.items()]


def windows(values: pd.Series) -> Points:
    """Return the points of a curve whose windows end at the given steps; the first begins at 0."""
    return line(pd.concat([pd.Series({0: values.iloc[0]}), values]))


def test_loss_curves_show_each_seed_above_the_baseline(studies: Studies) -> None:
    tables = studies("sweep")
    figure = make(loss_curves.FIGURE, tables)
    above = curves(tables, format="E4M3", storage="nearest", update="manifold") - curves(tables, format="BF16")
    assert above.shape == (4, 3) and above.to_numpy().std() > 0
    drawn = strokes(figure.axes[0], MANIFOLD)
    assert drawn == [*(line(above[seed]) for seed in (1, 2, 3)), line(above.mean(axis=1))]
    ((left, right),) = strokes(figure.axes[0], "#000000")
    assert left[1] == right[1] == 0
    assert figure.axes[0].get_ylabel() == "gap (nats)"
    assert loss_curves.FIGURE.caption(tables).startswith("Training loss, the mean of a window of steps,")


def test_loss_curves_are_of_validation_where_it_was_often_enough(studies: Studies) -> None:
    tables = studies("sweep")
    often = tables["curves"].query("metric == 'train_loss'").assign(metric="val_loss")
    often["value"] *= 1 + often["step"] / 40  # other numbers than those of training
    known = replaced(tables, curves=pd.concat([tables["curves"].query("metric == 'train_loss'"), often]))
    figure = make(loss_curves.FIGURE, known)
    above = curves(known, "val_loss", format="E4M3", storage="nearest", update="manifold")
    above -= curves(known, "val_loss", format="BF16")
    assert strokes(figure.axes[0], MANIFOLD)[-1] == line(above.mean(axis=1))
    assert loss_curves.FIGURE.caption(known).startswith("Validation loss through the quantized weights minus")
    seldom = known["curves"][(known["curves"]["metric"] == "train_loss") | (known["curves"]["step"] > 10)]
    assert "Training loss" in loss_curves.FIGURE.caption(replaced(known, curves=seldom))


def test_training_losses_are_compared_over_the_same_window(studies: Studies) -> None:
    tables = studies("sweep")
    data = tables["curves"]
    baseline = set(tables["runs"].query("format == 'BF16'")["run_id"])
    half = data[~data["run_id"].isin(baseline) | data["step"].isin([20, 40])]  # as from an archive: longer windows
    assert "there is no baseline to compare it with step by step" in loss_curves.FIGURE.caption(
        replaced(tables, curves=half)
    )
    alike = data[data["step"].isin([20, 40])]
    assert "minus that of the BF16 baseline" in loss_curves.FIGURE.caption(replaced(tables, curves=alike))


def test_loss_curves_without_a_baseline_show_the_loss_itself(studies: Studies) -> None:
    tables = studies("sweep")
    runs = tables["runs"]
    figure = make(loss_curves.FIGURE, replaced(tables, runs=runs[runs["format"] != "BF16"]))
    losses = curves(tables, format="E4M3", storage="nearest", update="adamw")
    assert strokes(figure.axes[0], ADAMW)[-1] == line(losses.mean(axis=1))
    assert not strokes(figure.axes[0], "#000000")
    assert figure.axes[0].get_ylabel() == "train. loss (nats)"


def test_means_end_where_the_first_seed_ends(studies: Studies) -> None:
    tables = studies("sweep")
    runs, losses = chosen_runs(tables["runs"], tables["cells"]), tables["curves"]
    short = runs.query("format == 'E4M3' and storage == 'nearest' and update == 'adamw' and seed == 2")["run_id"].item()
    cut = losses[(losses["run_id"] != short) | (losses["step"] < 40)]
    drawn = strokes(make(loss_curves.FIGURE, replaced(tables, curves=cut)).axes[0], ADAMW)
    assert [[x for x, _ in curve] for curve in drawn] == [
        [10, 20, 30, 40],
        [10, 20, 30],
        [10, 20, 30, 40],
        [10, 20, 30],
    ]


def with_a_third(tables: Tables, by: float) -> Tables:
    """Return the tables with a copy of every manifold run as update `another`, whose losses are higher."""
    runs, lost, cells = tables["runs"], tables["curves"], tables["cells"]
    own = runs[runs["update"] == "manifold"]
    named = own.assign(update="another", run_id=own["run_id"] + "-another")
    curves = lost[lost["run_id"].isin(own["run_id"])]
    curves = curves.assign(run_id=curves["run_id"] + "-another", value=curves["value"] + by)
    copied = cells[cells["update"] == "manifold"].assign(update="another")
    updates = tables["updates"]
    return replaced(
        tables,
        runs=pd.concat([runs, named.assign(score=named["score"] + by)], ignore_index=True),
        curves=pd.concat([lost, curves], ignore_index=True),
        cells=pd.concat([cells, copied.assign(mean=copied["mean"] + by)], ignore_index=True),
        updates=pd.concat([updates, updates.query("update == 'manifold'").assign(update="another", primary=False)]),
    )


@pytest.mark.parametrize("module", [loss_curves, loss_by_format, lr_basins])
def test_a_third_update_that_fails_widens_the_axis_modestly(studies: Studies, module: ModuleType) -> None:
    tables = studies("sweep")
    alone, near, far = (
        [axes.get_ylim() for axes in make(module.FIGURE, data).axes]
        for data in (tables, with_a_third(tables, 0.0), with_a_third(tables, 1e5))
    )
    assert near == alone
    for (low, high), (own_low, own_high) in zip(far, alone, strict=True):
        assert low == pytest.approx(own_low, abs=0.2 * (own_high - own_low)), "it fails upwards"
        assert own_high < high and high - low <= 2 * (own_high - own_low)


def test_loss_curves_mark_divergence(studies: Studies) -> None:
    figure = make(loss_curves.FIGURE, studies("all diverged"))
    crosses = [cross for axes in figure.axes for cross in axes.lines if cross.get_marker() == "x"]
    assert len(crosses) == 8 and all(list(cross.get_xdata()) == [20, 20, 20] for cross in crosses)


def test_loss_by_format_shows_means_intervals_and_seeds(studies: Studies) -> None:
    tables = studies("tuned")
    figure = make(loss_by_format.FIGURE, tables)
    cells = tables["cells"].query("storage == 'nearest' and update == 'manifold'").set_index("format")
    cells = cells.loc[["E4M3", "E7M0"]]
    axes = figure.axes[0]
    means = marks(axes, MANIFOLD, "s")
    assert [y for _, y in means] == pytest.approx(cells["mean"].tolist())
    assert strokes(axes, MANIFOLD) == [means]
    ends = [(low[1], high[1]) for low, high in bars(axes, MANIFOLD)]
    assert ends == [pytest.approx(pair) for pair in zip(cells["low"], cells["high"], strict=True)]
    seeds = tables["runs"].query("storage == 'nearest' and update == 'manifold'")["score"]
    assert sorted(y for _, y in marks(axes, MANIFOLD, ".")) == pytest.approx(sorted(seeds))
    labels = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert labels == ["E4M3\nbias 7\nmax 448", "E7M0\nbias 63\nmax 2^63"]


def test_loss_by_format_shows_the_baseline_with_its_interval(studies: Studies) -> None:
    tables = studies("tuned")
    baseline = tables["cells"].query("format == 'BF16'")
    for axes in make(loss_by_format.FIGURE, tables).axes:
        (band,) = axes.patches
        assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx(
            (baseline["low"].item(), baseline["high"].item())
        )
        assert [end[1] for end in strokes(axes, "#000000")[0]] == [pytest.approx(baseline["mean"].item())] * 2
    assert "they were chosen on the seeds" not in loss_by_format.FIGURE.caption(tables)
    assert "they were chosen on the seeds" in loss_by_format.FIGURE.caption(studies("sweep"))


@pytest.mark.parametrize("module", [loss_by_format, lr_basins])
def test_bigrams_are_a_dotted_line_in_every_panel(studies: Studies, module: ModuleType) -> None:
    tables, figure = studies("sweep"), module.FIGURE
    info = replace(study_of(tables), bigram_loss=2.75)
    known, unknown = (make(figure, t) for t in (replaced(tables, study=to_frame(info)), tables))
    assert known.axes
    for axes in known.axes:
        assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [2.75]
    assert all(line.get_linestyle() != ":" for axes in unknown.axes for line in axes.lines)
    assert "(2.750 nats)" in figure.caption(replaced(tables, study=to_frame(info)))
    assert "dotted" not in figure.caption(tables)


def test_a_format_that_failed_does_not_flatten_the_others(studies: Studies) -> None:
    tables = studies("tuned")
    cells = tables["cells"]
    failed = (cells["format"] == "E7M0") & (cells["update"] == "adamw") & (cells["storage"] == "nearest")
    lost = cells.assign(mean=cells["mean"].mask(failed, 123.456))
    axes = make(loss_by_format.FIGURE, replaced(tables, cells=lost)).axes[0]
    assert axes.get_ylim()[1] < 10
    assert words(axes) == ["123.46"]
    assert [y for _, y in marks(axes, ADAMW, "^")] == [0.88]  # a share of the panel's height


def test_loss_by_format_marks_diverged_runs_at_the_edge(studies: Studies) -> None:
    tables = studies("tuned")
    runs = tables["runs"]
    first = runs.query("format == 'E4M3' and storage == 'nearest' and update == 'adamw'")["run_id"].iloc[0]
    lost = runs.assign(status=runs["status"].mask(runs["run_id"] == first, "diverged"))
    axes = make(loss_by_format.FIGURE, replaced(tables, runs=lost)).axes[0]
    ((x, _),) = marks(axes, ADAMW, "x")
    assert x == marks(axes, ADAMW, "o")[0][0] and len(marks(axes, ADAMW, ".")) == 5


def test_stall_and_flips_show_both_storages(studies: Studies) -> None:
    figure = make(stall_and_flips.FIGURE, studies("sweep"))
    assert [axes.get_title() for axes in figure.axes[:4]] == [
        "stall ratio, nearest",
        "stall ratio, master",
        "flip rate, nearest",
        "flip rate, master",
    ]
    bands = studies("sweep")["bands"].query("format == 'E4M3' and layer_type == 'all' and storage == 'nearest'")
    flips = bands.query("metric == 'flip_rate' and update == 'adamw'")
    assert strokes(figure.axes[2], ADAMW) == [windows(flips.set_index("step")["mean"])]
    every = studies("sweep")["bands"]
    own = (every["format"] == "E4M3") & (every["storage"] == "nearest") & (every["update"] == "adamw")
    whole = every[(every["step"] == 40) | ~own]
    (drawn,) = strokes(make(stall_and_flips.FIGURE, replaced(studies("sweep"), bands=whole)).axes[2], ADAMW)
    assert [x for x, _ in drawn] == [0, 40], "a single window is a level line over all of the run"


KINDS, FORMATS = ["mlp", "lm_head"], ["E4M3", "E7M0"]


def test_layer_heatmap_shows_gap_and_benefit_where_layer_types_stood_alone(studies: Studies) -> None:
    tables = studies("layers")
    figure = make(layer_heatmap.FIGURE, tables)
    single = tables["comparisons"].query("storage == 'nearest' and layers != 'all'")
    panels = [("gap", "adamw"), ("gap", "manifold"), ("benefit", "manifold")]
    for axes, (estimand, update) in zip(figure.axes, panels, strict=False):
        rows = single.query(f"estimand == '{estimand}' and update == '{update}'").set_index(["layers", "format"])
        values = rows["mean"].unstack().loc[KINDS, FORMATS].to_numpy()
        np.testing.assert_allclose(axes.images[0].get_array(), values)
        assert words(axes)[:4] == [f"{value + 0.0:.3f}" for value in values.ravel().round(3)]
        assert words(axes)[4] == f"{estimand}\n{update}"
        excluded = ((rows["low"] > 0) | (rows["high"] < 0)).unstack().loc[KINDS, FORMATS].to_numpy().ravel()
        assert [text.get_fontweight() == "bold" for text in axes.texts[:4]] == excluded.tolist()
    assert [axes.get_xlabel().split(" (")[0] for axes in figure.axes[3:]] == [
        "gap to the baseline",
        "benefit over adamw",
    ]
    assert "Runs with one layer type alone in the format" in layer_heatmap.FIGURE.caption(tables)


def test_the_benefit_is_colored_around_0(studies: Studies) -> None:
    figure = make(layer_heatmap.FIGURE, studies("layers"))
    low, high = figure.axes[2].images[0].get_clim()
    assert low == -high < 0


def test_layer_heatmap_falls_back_to_stalls_and_says_so(studies: Studies) -> None:
    figure = make(layer_heatmap.FIGURE, studies("one seed"))
    image = figure.axes[0].images[0].get_array()
    # flips of 900 updates: 600 and, in lm_head, 300 under nearest
    np.testing.assert_allclose(image[:, 0], [1 - 600 / 900] * 3 + [1 - 300 / 900])
    assert "no runs with one layer type alone" in layer_heatmap.FIGURE.caption(studies("one seed"))


def test_layer_heatmap_says_nothing_of_layer_types_without_a_loss(studies: Studies) -> None:
    tables = studies("layers")
    compared = tables["comparisons"]
    gone = compared["mean"].mask((compared["layers"] == "mlp") & (compared["format"] == "E7M0"), math.nan)
    axes = make(layer_heatmap.FIGURE, replaced(tables, comparisons=compared.assign(mean=gone))).axes[0]
    assert words(axes)[1] == "-"


def test_a_reference_format_in_a_grid_is_drawn_like_any_other(studies: Studies) -> None:
    tables = studies("reference")
    above = curves(tables, format="FP16") - curves(tables, format="BF16")
    figure = make(loss_curves.FIGURE, tables)
    assert strokes(figure.axes[1], ADAMW)[-1] == line(above.mean(axis=1))
    assert words(figure.axes[1])[:2] == ["FP16", "bias 15\nmax 65504"]
    rates = tables["cells"].query("format == 'FP16'").set_index("lr")["mean"]
    assert strokes(make(lr_basins.FIGURE, tables).axes[1], ADAMW) == [line(rates)]


@pytest.mark.parametrize("spec", [loss_curves.FIGURE, stall_and_flips.FIGURE], ids=lambda spec: spec.name)
def test_without_color_curves_differ_by_line_style_and_marks(studies: Studies, spec: FigureSpec) -> None:
    figure = make(spec, studies("sweep"))
    for axes in figure.axes:
        drawn = [curve for curve in axes.lines if curve.get_marker() in ("o", "s")]
        assert [(curve.get_marker(), curve.get_linestyle()) for curve in drawn] == [("o", "-"), ("s", "--")]
        assert drawn[0].get_linewidth() < drawn[1].get_linewidth()  # the primary update stands out
    handles = figure.legends[0].get_lines()[:2]
    assert [(curve.get_marker(), curve.get_linestyle()) for curve in handles] == [("o", "-"), ("s", "--")]


def test_every_cell_of_the_tuned_study_has_its_own_mean(studies: Studies) -> None:
    cells = studies("tuned")["cells"]
    assert cells["tuned"].all() and cells["mean"].round(9).nunique() == len(cells) == len(cells[CELL].drop_duplicates())


def test_words() -> None:
    assert [number_words(x) for x in (448.0, 57344.0, 2.0**32, 30.0)] == ["448", "57344", "2^32", "30"]
    assert [seeds_words(n) for n in ([1], [3, 3], [2, 6], [])] == [
        "n = 1 seed",
        "n = 3 seeds",
        "n = 2 to 6 seeds",
        "n = 0 seeds",
    ]
