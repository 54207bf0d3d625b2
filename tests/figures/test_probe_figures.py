"""What figures of probes draw is what the tables say; every row of these tables has a value of its own."""

import json
import math
from itertools import product
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from altgrad.analysis.tables import Tables, frame
from altgrad.figures import (
    capacity,
    edq,
    gradient_quality,
    grid_alignment,
    hessian_density,
    rank_trends,
    stall_and_flips,
    stiffness_field,
    ulp_histograms,
)
from altgrad.figures.style import RC, UPDATE_COLORS, FigureSpec, draw
from tests.figures.conftest import Studies, replaced

FORMATS, STORAGES, UPDATES = ("E4M3", "E7M0"), ("nearest", "master"), ("adamw", "manifold")
KINDS = ("attention", "mlp", "embedding", "lm_head")

Drawn = list[tuple[list[float], list[float]]]


def make(spec: FigureSpec, tables: Tables) -> Figure:
    with rc_context(RC):
        return spec.make(tables)


def grid(figure: Figure, columns: int) -> list[list[Axes]]:
    """Return the panels by row and column."""
    return [figure.axes[start : start + columns] for start in range(0, columns * len(FORMATS), columns)]


def curves(axes: Axes, color: str) -> Drawn:
    """Return the data of a panel's curves of a color; straight reference lines are none."""
    found = [line for line in axes.lines if to_hex(line.get_color()) == color.lower() and line.get_marker() != "v"]
    return [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in found]


def colors(figure: Figure) -> dict[str, str]:
    """Return each label's color in the legend."""
    lines = figure.legends[0].get_lines()
    return {
        text.get_text(): to_hex(line.get_color()) for text, line in zip(figure.legends[0].texts, lines, strict=True)
    }


def at(data: pd.DataFrame, **place: object) -> pd.DataFrame:
    """Return the rows whose columns have these values."""
    return data[(data[list(place)] == list(place.values())).all(axis=1)]


def expected(rows: pd.DataFrame, x: str, y: str) -> Drawn:
    assert len(rows)
    return [(rows[x].tolist(), pytest.approx(rows[y].tolist()))]


def shade(axes: Axes, number: int) -> tuple[float, float]:
    """Return how far down and up a panel's shade reaches."""
    y = axes.collections[number].get_paths()[0].vertices[:, 1]
    return float(y.min()), float(y.max())


@pytest.mark.parametrize(
    ("module", "metric", "line", "label"),
    [(edq, "edq", 1.0, "EDQ"), (grid_alignment, "grid_alignment_mean", 0.25, "|W - q(W)| (ulp)")],
)
def test_one_metric_by_format_storage_and_update(
    distinct: Tables, module: object, metric: str, line: float, label: str
) -> None:
    figure = make(module.FIGURE, distinct)  # type: ignore[attr-defined]
    bands = at(distinct["bands"], metric=metric, layer_type="all")
    for (f, name), (s, storage) in product(enumerate(FORMATS), enumerate(STORAGES)):
        axes = grid(figure, 2)[f][s]
        for number, update in enumerate(UPDATES):
            rows = at(bands, format=name, storage=storage, update=update)
            if module is edq:  # a window's value holds from the end of the one before
                rows = pd.concat([rows.iloc[:1].assign(step=0), rows])
            assert curves(axes, UPDATE_COLORS[number]) == expected(rows, "step", "mean")
            assert shade(axes, number) == pytest.approx((rows["low"].min(), rows["high"].max()))
        assert [list(a.get_ydata()) for a in axes.lines if a.get_linestyle() == ":"] == [[line, line]]
    assert [row[0].get_ylabel() for row in grid(figure, 2)] == [label, label]
    assert {axes.get_xlabel() for axes in grid(figure, 2)[-1]} == {"step"}
    assert list(colors(figure)) == list(UPDATES)


def test_edq_keeps_0_1_and_every_seed_in_sight(distinct: Tables) -> None:
    bands = distinct["bands"]
    wide = bands.assign(low=bands["low"] - 1, high=bands["high"] + 2)
    for tables, inside in ((distinct, (0.0, 1.0)), (replaced(distinct, bands=wide), (-0.9, 2.5))):
        low, high = make(edq.FIGURE, tables).axes[0].get_ylim()
        assert low < inside[0] and high > inside[1]


def test_capacity_shows_codes_and_entropy(distinct: Tables) -> None:
    figure = make(capacity.FIGURE, distinct)
    columns = list(product(("codes_used_fraction", "code_entropy_bits"), STORAGES))
    bands = distinct["bands"].query("layer_type == 'all'")
    for (f, name), (c, (metric, storage)) in product(enumerate(FORMATS), enumerate(columns)):
        for number, update in enumerate(UPDATES):
            rows = at(bands, format=name, metric=metric, storage=storage, update=update)
            assert curves(grid(figure, 4)[f][c], UPDATE_COLORS[number]) == expected(rows, "step", "mean")
    assert [axes.get_ylabel() for axes in figure.axes[:4]] == ["share of codes", "", "bits", ""]
    assert [axes.get_title() for axes in figure.axes[:2]] == ["codes used, nearest", "codes used, master"]
    limits = [axes.get_ylim() for axes in figure.axes[:4]]
    assert all(low <= 0 and high >= top for (low, high), top in zip(limits, (1, 1, 8, 8), strict=True))


def test_gradient_quality_shows_layer_types_of_one_update(distinct: Tables) -> None:
    figure = make(gradient_quality.FIGURE, distinct)
    bands = distinct["bands"].query("update == 'adamw'")
    columns = list(product(("cosine", "snr_db"), STORAGES))
    legend = colors(figure)
    assert list(legend) == list(KINDS) and not set(legend.values()) & {color.lower() for color in UPDATE_COLORS}
    for (f, name), (c, (metric, storage)), kind in product(enumerate(FORMATS), enumerate(columns), KINDS):
        rows = at(bands, format=name, metric=metric, storage=storage, layer_type=kind)
        assert curves(grid(figure, 4)[f][c], legend[kind]) == expected(rows, "step", "mean")
    assert [axes.get_ylabel() for axes in figure.axes[:4]] == ["cosine", "", "SNR (dB)", ""]
    assert "Shown: adamw." in gradient_quality.FIGURE.caption(distinct)


def test_a_gradient_without_noise_is_said_and_not_drawn(distinct: Tables) -> None:
    bands = distinct["bands"]
    exact = (bands["metric"] == "snr_db") & (bands["storage"] == "nearest")
    infinite = bands.mask(exact & (bands["format"] == "E4M3"), bands.assign(mean=math.inf, low=math.inf, high=math.inf))
    tables = replaced(distinct, bands=infinite)
    axes = grid(make(gradient_quality.FIGURE, tables), 4)[0][2]
    assert not axes.lines and axes.texts[0].get_text() == "no noise"
    assert draw(gradient_quality.FIGURE, tables)  # warnings are errors
    everywhere = bands.mask(exact | (bands["metric"] == "snr_db"), bands.assign(mean=math.inf, low=math.inf))
    assert draw(gradient_quality.FIGURE, replaced(distinct, bands=everywhere))


def test_rank_trends_show_ranks_of_both_updates(distinct: Tables) -> None:
    figure = make(rank_trends.FIGURE, distinct)
    bands = distinct["bands"].query("storage == 'nearest'")
    columns = list(product(("stable_rank", "effective_rank", "entropy_rank"), UPDATES))
    legend = colors(figure)
    assert list(legend) == list(KINDS)
    for (f, name), (c, (metric, update)), kind in product(enumerate(FORMATS), enumerate(columns), KINDS):
        rows = at(bands, format=name, metric=metric, update=update, layer_type=kind)
        assert curves(grid(figure, 6)[f][c], legend[kind]) == expected(rows, "step", "mean")
    assert figure.axes[1].get_title() == "stable rank\nmanifold"
    assert "Shown: nearest." in rank_trends.FIGURE.caption(distinct)


def warning(run: str, step: int, kind: str, metric: str) -> dict[str, object]:
    detail = json.dumps({"metric": metric, "value": 2.0, "reference": 4.0, "slope": -0.1})
    place = {"run_id": run, "step": step, "tensor": f"{kind}.weight", "layer_type": kind}
    return {**place, "event": "rank_warning", "detail": detail}


def test_rank_warnings_stand_in_their_panel(distinct: Tables) -> None:
    lr = distinct["cells"].query("chosen and format == 'E7M0' and storage == 'nearest' and update == 'manifold'")["lr"]
    run = f"E7M0-manifold-{{}}-all-lr{lr.item()}-s1"
    assert run.format("nearest") in set(distinct["runs"]["run_id"])
    rows = [
        warning(run.format("nearest"), 20, "mlp", "effective_rank"),
        warning(run.format("nearest"), 40, "mlp", "effective_rank"),
        warning(run.format("nearest"), 40, "lm_head", "stable_rank"),
        warning(run.format("master"), 20, "mlp", "stable_rank"),  # another storage
        warning("E7M0-manifold-nearest-all-lr0.04-s1", 20, "mlp", "stable_rank"),  # not the chosen learning rate
        {**warning(run.format("nearest"), 20, "mlp", "stable_rank"), "event": "mantissa_shift"},
    ]
    tables = replaced(distinct, events=frame("events", rows))
    figure = make(rank_trends.FIGURE, tables)
    legend = colors(figure)
    marks = {
        (number, to_hex(line.get_color())): list(line.get_xdata())
        for number, axes in enumerate(figure.axes)
        for line in axes.lines
        if line.get_marker() == "v"
    }
    assert marks == {(6 + 3, legend["mlp"]): [20, 40], (6 + 1, legend["lm_head"]): [40]}
    assert "early warning" in legend
    assert "Triangles at the upper edge" in rank_trends.FIGURE.caption(tables)


BY_FORMAT = {
    capacity: [*product(("codes_used_fraction", "code_entropy_bits"), STORAGES)],
    edq: [*product(("edq",), STORAGES)],
    grid_alignment: [*product(("grid_alignment_mean",), STORAGES)],
    stall_and_flips: [*product(("stall_ratio", "flip_rate"), STORAGES)],
}


@pytest.mark.parametrize("module", BY_FORMAT, ids=lambda module: module.__name__)
def test_where_runs_have_one_step_formats_stand_in_place_of_steps(distinct: Tables, module: ModuleType) -> None:
    last = replaced(distinct, bands=distinct["bands"].query("step == 40"))
    figure = make(module.FIGURE, last)
    bands = at(last["bands"], layer_type="all").set_index("format")
    assert len(figure.axes) == len(BY_FORMAT[module])
    for axes, (metric, storage) in zip(figure.axes, BY_FORMAT[module], strict=True):
        for number, update in enumerate(UPDATES):
            means = at(bands, metric=metric, storage=storage, update=update)["mean"]
            assert curves(axes, UPDATE_COLORS[number]) == [([0, 1], pytest.approx([means["E4M3"], means["E7M0"]]))]
        assert axes.get_xlabel() == "format"
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["E4M3", "E7M0"]
    assert "formats stand in place of steps" in module.FIGURE.caption(last)
    bands = distinct["bands"]
    mostly = bands[(bands["step"] == 40) | ((bands["format"] == "E4M3") & (bands["update"] == "adamw"))]
    assert "formats stand in place of steps" in module.FIGURE.caption(replaced(distinct, bands=mostly))
    assert "formats stand" not in module.FIGURE.caption(distinct)


@pytest.mark.parametrize("module", [gradient_quality, rank_trends], ids=lambda module: module.__name__)
def test_so_do_they_for_layer_types(distinct: Tables, module: ModuleType) -> None:
    last = replaced(distinct, bands=distinct["bands"].query("step == 40"))
    figure = make(module.FIGURE, last)
    metric, place = next(iter(module.METRICS)), {"storage": "nearest", "update": "adamw"}
    legend = colors(figure)
    for kind in KINDS:
        means = at(last["bands"], metric=metric, layer_type=kind, **place).set_index("format")["mean"]
        assert curves(figure.axes[0], legend[kind]) == [([0, 1], pytest.approx([means["E4M3"], means["E7M0"]]))]
    assert "early warning" not in legend and "formats stand in place of steps" in module.FIGURE.caption(last)


def test_ulp_histograms_show_the_last_probe(distinct: Tables) -> None:
    figure = make(ulp_histograms.FIGURE, distinct)
    data = distinct["distribution_bands"].query("metric == 'update_ulp' and layer_type == 'all' and step == 40")
    for (f, name), (s, storage) in product(enumerate(FORMATS), enumerate(STORAGES)):
        axes = grid(figure, 2)[f][s]
        for number, update in enumerate(UPDATES):
            rows = at(data, format=name, storage=storage, update=update)
            low, between, top = (rows.loc[rows["bin"] == k, "share"].item() for k in (-3, -1, 1))
            drawn = curves(axes, UPDATE_COLORS[number])
            # bins from one below the lowest to one above the highest, drawn at their middle; those without a row are 0
            assert drawn == [([k + 0.5 for k in range(-4, 3)], pytest.approx([0, low, 0, between, 0, top, 0]))]
        half = [line for line in axes.lines if line.get_linestyle() == ":"]
        assert [2.0 ** line.get_xdata()[0] for line in half] == [0.5]
        assert all(line.get_drawstyle() == "steps-mid" for line in axes.lines if line not in half)
    assert figure.axes[2].get_xlabel() == "|intended update| (ulp)"
    assert figure.axes[0].get_ylabel() == "share of updates"
    assert "(step 40)" in ulp_histograms.FIGURE.caption(distinct)


def test_ulp_labels_name_half_an_ulp(distinct: Tables) -> None:
    figure = make(ulp_histograms.FIGURE, distinct)
    figure.canvas.draw()
    ticks = {text.get_text(): text.get_position()[0] for text in figure.axes[2].get_xticklabels()}
    assert ticks["$2^{-1}$"] == -1 and all(label == f"$2^{{{int(x)}}}$" for label, x in ticks.items())


def test_a_cell_that_diverged_shows_its_own_last_probe(distinct: Tables) -> None:
    data = distinct["distribution_bands"]
    tables = replaced(distinct, distribution_bands=data[(data["step"] < 40) | (data["format"] == "E4M3")])
    rows = data.query(
        "metric == 'update_ulp' and layer_type == 'all' and step == 20 and format == 'E7M0'"
        " and storage == 'nearest' and update == 'adamw'"
    )
    shares = curves(grid(make(ulp_histograms.FIGURE, tables), 2)[1][0], UPDATE_COLORS[0])[0][1]
    assert [share for share in shares if share] == pytest.approx(rows["share"].tolist())
    assert "(steps 20 to 40)" in ulp_histograms.FIGURE.caption(tables)


def test_stiffness_field_shows_shares_by_layer_type(distinct: Tables) -> None:
    figure = make(stiffness_field.FIGURE, distinct)
    data = distinct["distribution_bands"].query("metric == 'stiffness' and storage == 'nearest' and update == 'adamw'")
    columns = ("all", *KINDS)
    assert [axes.get_title() for axes in figure.axes[:5]] == list(columns)
    for (f, name), (c, kind) in product(enumerate(FORMATS), enumerate(columns)):
        rows = at(data, format=name, layer_type=kind)
        (mesh,) = grid(figure, 5)[f][c].collections
        for k, step in product((-11, -10), (20, 40)):
            share = at(rows, bin=k, step=step)["share"].item()
            assert mesh.get_array()[k + 11, step // 20 - 1] == pytest.approx(share)
        corners = mesh.get_coordinates()
        assert corners[0, :, 0].tolist() == [10, 30, 50] and corners[:, 0, 1].tolist() == [-11, -10, -9]
        assert (mesh.norm.vmin, mesh.norm.vmax) == (1e-3, 1.0)
    assert figure.axes[0].get_ylabel() == "log2 S" and figure.axes[-1].get_xlabel() == "share of weights"
    assert "Shown: adamw, nearest." in stiffness_field.FIGURE.caption(distinct)


def test_stiffness_field_leaves_white_what_is_rare_or_between(distinct: Tables) -> None:
    data = distinct["distribution_bands"]
    rare = data["bin"].isin([-10]) & (data["step"] == 20)
    moved = data.assign(share=data["share"].mask(rare, 5e-4), bin=data["bin"].replace(-11, -13))
    mesh = make(stiffness_field.FIGURE, replaced(distinct, distribution_bands=moved)).axes[0].collections[0]
    white = np.ma.getmaskarray(mesh.get_array())
    assert white.tolist() == [[False, False], [True, True], [True, True], [True, False]]


def test_stiffness_field_of_one_probe_stands_around_it(studies: Studies) -> None:
    mesh = make(stiffness_field.FIGURE, studies("all diverged")).axes[0].collections[0]
    assert mesh.get_coordinates()[0, :, 0].tolist() == [10, 30]


def test_hessian_density_shows_first_and_last_probe_over_the_baseline(distinct: Tables) -> None:
    figure = make(hessian_density.FIGURE, distinct)
    data = distinct["hessian_bands"]
    columns = list(product(STORAGES, (20, 40)))
    for (f, name), (c, (storage, step)) in product(enumerate(FORMATS), enumerate(columns)):
        axes = grid(figure, 4)[f][c]
        for number, update in enumerate(UPDATES):
            rows = at(data, format=name, storage=storage, update=update, step=step)
            ((x, y),) = curves(axes, UPDATE_COLORS[number])
            assert x == rows["eigenvalue"].tolist() and y == rows["density"].tolist()
        reference = at(data, format="BF16", step=step)
        assert curves(axes, "#000000") == expected(reference, "eigenvalue", "density")
        assert axes.get_yscale() == "log" and axes.get_ylim() == pytest.approx((1e-9, 10.0))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["nearest, first probe", "nearest, last probe"]
    assert list(colors(figure)) == [*UPDATES, "BF16 baseline"]
    assert "first (step 20) and last (step 40)" in hessian_density.FIGURE.caption(distinct)


def test_hessian_density_of_one_probe_has_no_first(studies: Studies) -> None:
    figure = make(hessian_density.FIGURE, studies("all diverged"))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["nearest, last probe", "master, last probe"]
    assert "Probes are each cell's last (step 20)." in hessian_density.FIGURE.caption(studies("all diverged"))


@pytest.mark.parametrize("spec", [gradient_quality.FIGURE, rank_trends.FIGURE], ids=lambda spec: spec.name)
def test_without_color_layer_types_differ_by_line_style_and_marks(distinct: Tables, spec: FigureSpec) -> None:
    figure = make(spec, distinct)
    for axes in figure.axes:
        assert len({(line.get_linestyle(), line.get_marker()) for line in axes.lines}) == len(KINDS)
        assert len({line.get_marker() for line in axes.lines}) == len(KINDS)


READS = {
    **dict.fromkeys((capacity, edq, gradient_quality, grid_alignment, rank_trends), "bands"),
    **dict.fromkeys((stiffness_field, ulp_histograms), "distribution_bands"),
    hessian_density: "hessian_bands",
}


@pytest.mark.parametrize(
    ("spec", "table"), [(m.FIGURE, t) for m, t in READS.items()], ids=lambda x: getattr(x, "name", x)
)
def test_rows_of_the_baseline_or_of_single_layer_types_alone_are_nothing_to_draw(
    distinct: Tables, spec: FigureSpec, table: str
) -> None:
    data = distinct[table]
    single = pd.concat([data[data["format"] == "BF16"], data[data["format"] != "BF16"].assign(layers="mlp")])
    figure = make(spec, replaced(distinct, **{table: single}))
    assert not figure.axes and figure.texts[0].get_text().startswith("No run with every layer in a format has")
