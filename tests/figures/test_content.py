"""What is drawn is what the tables say: figures compute nothing."""

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from altgrad.figures import benefit, layer_heatmap, loss_by_format, loss_curves, lr_sweep, stall_and_flips
from altgrad.figures.captions import seeds_words
from altgrad.figures.style import RC, UPDATE_COLORS, Encoding, FigureSpec, number_words
from tests.figures.conftest import Studies

ADAMW, MANIFOLD = UPDATE_COLORS[:2]


def make(spec: FigureSpec, studies: Studies, study: str) -> Figure:
    with rc_context(RC):
        return spec.make(studies(study))


def lines(figure: Figure, panel: int, color: str) -> list[tuple[list[float], list[float]]]:
    """Return the data of a panel's lines of a color."""
    found = [line for line in figure.axes[panel].lines if to_hex(line.get_color()).upper() == color]
    return [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in found]


def test_loss_curves_show_mean_seeds_and_baseline(studies: Studies) -> None:
    figure = make(loss_curves.FIGURE, studies, "sweep")
    bands = studies("sweep")["bands"].query("metric == 'val_loss' and update == 'adamw'")
    cell = bands.query("format == 'E4M3' and storage == 'nearest'")
    drawn = lines(figure, 0, ADAMW)
    assert len(drawn) == 4  # three seeds and their mean
    assert drawn[-1] == (cell["step"].tolist(), pytest.approx(cell["mean"].tolist()))
    baseline = bands.query("format == 'BF16'")
    assert lines(figure, 0, "#000000") == [(baseline["step"].tolist(), pytest.approx(baseline["mean"].tolist()))]
    assert figure.axes[0].collections  # the baseline's band


def test_loss_curves_mark_divergence(studies: Studies) -> None:
    figure = make(loss_curves.FIGURE, studies, "all diverged")
    crosses = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "x"]
    assert len(crosses) == 8 and all(list(line.get_xdata()) == [20, 20, 20] for line in crosses)


def test_benefit_shows_means_intervals_and_seeds(studies: Studies) -> None:
    figure = make(benefit.FIGURE, studies, "sweep")
    rows = studies("sweep")["comparisons"].query("estimand == 'benefit' and storage == 'nearest'")
    means = [x[0] for x, _ in lines(figure, 0, MANIFOLD) if len(x) == 1]
    assert means == pytest.approx(rows["mean"].tolist())
    drawn = [path for c in figure.axes[0].collections for path in c.get_segments()]
    assert [tuple(segment[:, 0]) for segment in drawn] == [
        pytest.approx(pair) for pair in zip(rows["low"], rows["high"], strict=True)
    ]
    assert len(figure.axes) == 3  # two storages and the difference in differences


def test_benefit_without_enough_seeds_is_hollow(studies: Studies) -> None:
    figure = make(benefit.FIGURE, studies, "one seed")
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "s"]
    assert {to_hex(mark.get_markerfacecolor()) for mark in marks} == {"#ffffff"}
    assert "Hollow marks have fewer than 3 seeds" in benefit.FIGURE.caption(studies("one seed"))
    assert "Hollow" not in benefit.FIGURE.caption(studies("sweep"))


def test_loss_by_format_shows_the_chosen_cells(studies: Studies) -> None:
    figure = make(loss_by_format.FIGURE, studies, "sweep")
    cells = studies("sweep")["cells"].query("chosen and storage == 'nearest' and update == 'manifold'")
    assert lines(figure, 0, MANIFOLD)[0][1] == pytest.approx(cells["mean"].tolist())
    labels = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert labels == ["E4M3\nbias 7\nmax 448", "E7M0\nbias 63\nmax 2^63"]


def test_stall_and_flips_show_both_storages(studies: Studies) -> None:
    figure = make(stall_and_flips.FIGURE, studies, "sweep")
    assert [axes.get_title() for axes in figure.axes[:4]] == [
        "stall ratio, nearest",
        "stall ratio, master",
        "flip rate, nearest",
        "flip rate, master",
    ]
    bands = studies("sweep")["bands"].query("format == 'E4M3' and layer_type == 'all' and storage == 'nearest'")
    flips = bands.query("metric == 'flip_rate' and update == 'adamw'")
    assert lines(figure, 2, ADAMW)[0][1] == pytest.approx(flips["mean"].tolist())


def test_layer_heatmap_shows_loss_where_layer_types_stood_alone(studies: Studies) -> None:
    figure = make(layer_heatmap.FIGURE, studies, "layers")
    gaps = studies("layers")["comparisons"].query("estimand == 'gap' and storage == 'nearest' and update == 'adamw'")
    wide = gaps.query("layers != 'all'").pivot(index="layers", columns="format", values="mean")
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(image, wide.loc[["mlp", "lm_head"], ["E4M3", "E7M0"]])
    assert "that layer type alone in the format" in layer_heatmap.FIGURE.caption(studies("layers"))


def test_layer_heatmap_falls_back_to_stalls_and_says_so(studies: Studies) -> None:
    figure = make(layer_heatmap.FIGURE, studies, "one seed")
    image = figure.axes[0].images[0].get_array()
    # flips of 900 updates: 600 and, in lm_head, 300 under nearest
    np.testing.assert_allclose(image[:, 0], [1 - 600 / 900] * 3 + [1 - 300 / 900])
    assert "no runs with one layer type alone" in layer_heatmap.FIGURE.caption(studies("one seed"))


def test_lr_sweep_marks_the_chosen_rate_and_divergence(studies: Studies) -> None:
    figure = make(lr_sweep.FIGURE, studies, "sweep")
    full = [line for line in figure.axes[0].lines if line.get_markersize() == 5.0]
    assert [list(line.get_xdata()) for line in full] == [[0.02], [0.02]]
    e7m0_nearest = figure.axes[2]
    crosses = [line for line in e7m0_nearest.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in crosses] == [[0.04], [0.04]]
    assert "In 0 of 9 cells the best stands at the edge" in lr_sweep.FIGURE.caption(studies("sweep"))


def test_a_reference_format_in_a_grid_is_drawn_like_any_other(studies: Studies) -> None:
    cell = studies("reference")["bands"].query("format == 'FP16' and metric == 'val_loss'")
    figure = make(loss_curves.FIGURE, studies, "reference")
    assert lines(figure, 1, ADAMW)[-1] == (cell["step"].tolist(), pytest.approx(cell["mean"].tolist()))
    assert [text.get_text() for text in figure.axes[1].texts][:2] == ["FP16", "bias 15\nmax 65504"]
    rates = studies("reference")["cells"].query("format == 'FP16'")
    drawn = lines(make(lr_sweep.FIGURE, studies, "reference"), 1, ADAMW)
    assert (rates["lr"].tolist(), pytest.approx(rates["mean"].tolist())) in drawn


@pytest.mark.parametrize("spec", [loss_curves.FIGURE, stall_and_flips.FIGURE], ids=lambda spec: spec.name)
def test_without_color_curves_differ_by_line_style_and_marks(studies: Studies, spec: FigureSpec) -> None:
    figure = make(spec, studies, "sweep")
    for axes in figure.axes:
        curves = [line for line in axes.lines if line.get_marker() in ("o", "s")]
        assert [(line.get_marker(), line.get_linestyle()) for line in curves] == [("o", "-"), ("s", "--")]
    handles = figure.legends[0].get_lines()[:2]
    assert [(line.get_marker(), line.get_linestyle()) for line in handles] == [("o", "-"), ("s", "--")]


def test_marks_of_two_updates_stand_on_different_points(studies: Studies) -> None:
    encoding = Encoding.of(studies("sweep"))
    assert [encoding.curve(update, 60)["markevery"] for update in encoding.updates] == [(0, 10), (5, 10)]
    assert [encoding.curve(update, 3)["markevery"] for update in encoding.updates] == [(0, 1), (0, 1)]


def test_updates_keep_color_marker_and_line_style(studies: Studies) -> None:
    encoding = Encoding.of(studies("sweep"))
    assert (encoding.color("adamw"), encoding.marker("adamw")) == (ADAMW, "o")
    assert (encoding.color("manifold"), encoding.marker("manifold")) == (MANIFOLD, "s")
    assert encoding.dashes("adamw") != encoding.dashes("manifold")
    assert encoding.formats == ("E4M3", "E7M0", "BF16")


def test_words() -> None:
    assert [number_words(x) for x in (448.0, 57344.0, 2.0**32, 30.0)] == ["448", "57344", "2^32", "30"]
    assert [seeds_words(n) for n in ([1], [3, 3], [2, 6], [])] == [
        "n = 1 seed",
        "n = 3 seeds",
        "n = 2 to 6 seeds",
        "n = 0 seeds",
    ]
