"""Tables of probes, from rows that stand here."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from altgrad.analysis.probe_bands import distribution_bands_table, hessian_bands_table
from altgrad.analysis.tabulate import tabulate_study
from altgrad.analysis.telemetry_tables import TelemetryTables, telemetry_tables
from altgrad.study.grid import study_runs
from altgrad.study.runs import RunConfig
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import Rates, make_study, write_run

Given = tuple[int, str, str, str, float]
STUDY = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"], seeds=[1, 2])
WTE, HEAD, FC = "wte.weight", "lm_head.weight", "blocks.0.mlp.c_fc.weight"


def tables(rows: list[Given], run: RunConfig | None = None) -> TelemetryTables:
    """Return the tables of one run's rows: step, scope, tensor, metric and value."""
    run = run or study_runs(STUDY)[-1]
    names = ["step", "scope", "tensor", "metric", "value"]
    return telemetry_tables({run.run_id: run}, pd.DataFrame(rows, columns=names).assign(run_id=run.run_id))


def sizes(**elements: float) -> list[Given]:
    names = {"wte": WTE, "head": HEAD, "fc": FC}
    return [(10, "weight", names[name], "elements", 10 * size) for name, size in elements.items()]


def shares(made: TelemetryTables, kind: str, metric: str = "stiffness") -> dict[int, float]:
    rows = made.distributions[(made.distributions["layer_type"] == kind) & (made.distributions["metric"] == metric)]
    return dict(zip(rows["bin"], rows["share"], strict=True))


def test_probes_keep_their_scope_and_leave_counters_and_histograms_out() -> None:
    rows = [
        *sizes(wte=100, fc=100),
        (10, "gradient", WTE, "cosine", 0.5),
        (10, "gradient", WTE, "l2_norm", 9.0),
        (10, "weight", WTE, "stable_rank", math.nan),
        (10, "weight", WTE, "stiffness_bin_-3", 1.0),
        (10, "update", WTE, "ulp_median", 0.25),
        (10, "input", FC, "dead_fraction", 0.125),
        (10, "input", FC, "amax", 3.0),
    ]
    found = tables(rows).probes[["scope", "tensor", "layer_type", "metric", "value"]].to_numpy().tolist()
    assert found[0] == ["gradient", WTE, "embedding", "cosine", 0.5]
    assert found[1][:4] == ["weight", WTE, "embedding", "stable_rank"] and math.isnan(found[1][4])
    assert found[2:] == [
        ["update", WTE, "embedding", "ulp_median", 0.25],
        ["input", FC, "mlp", "dead_fraction", 0.125],
    ]


def test_probes_are_of_tensors_in_the_runs_format() -> None:
    run = study_runs(make_study(formats=["E4M3"], layers=["mlp"], seeds=[1]))[-1]
    rows = [*sizes(wte=10, fc=10)]
    rows += [(10, "weight", name, metric, 1.0) for name in (WTE, FC) for metric in ("stable_rank", "stiffness_bin_0")]
    made = tables(rows, run)
    assert set(made.probes["tensor"]) == {FC}
    assert set(made.distributions["layer_type"]) == {"all", "mlp"}


def test_a_layer_types_histogram_weighs_tensors_by_size() -> None:
    rows = [
        *sizes(wte=300, head=100),
        (10, "weight", WTE, "stiffness_bin_-12", 1.0),
        (10, "weight", HEAD, "stiffness_bin_-12", 0.25),
        (10, "weight", HEAD, "stiffness_bin_3", 0.75),
    ]
    made = tables(rows)
    assert shares(made, "all") == {-12: 0.8125, 3: 0.1875}
    assert shares(made, "embedding") == {-12: 1.0}
    assert shares(made, "lm_head") == {-12: 0.25, 3: 0.75}


def test_a_tensor_without_updates_is_in_no_bin_but_in_the_whole() -> None:
    rows = [
        *sizes(wte=100, head=100),
        (10, "update", WTE, "ulp_bin_-2", 0.5),
        (10, "update", WTE, "ulp_zero_fraction", 0.5),
        (10, "update", HEAD, "ulp_zero_fraction", 1.0),
    ]
    made = tables(rows)
    assert shares(made, "all", "update_ulp") == {-2: 0.25}
    assert shares(made, "lm_head", "update_ulp") == {}


def test_a_histogram_that_is_no_number_is_left_out() -> None:
    rows = [
        *sizes(wte=100, head=100),
        (10, "weight", WTE, "stiffness_bin_0", 1.0),
        (10, "weight", HEAD, "stiffness_bin_0", math.nan),
        (10, "weight", HEAD, "stiffness_bin_1", 0.5),
    ]
    made = tables(rows)
    assert shares(made, "all") == {0: 1.0} and shares(made, "lm_head") == {}


def test_a_tensor_of_unknown_size_has_no_weight() -> None:
    made = tables([*sizes(wte=0), (10, "weight", WTE, "stiffness_bin_0", 1.0)])
    assert made.distributions.empty
    assert tables(sizes(wte=3)).distributions.empty


def nodes(step: int, *vectors: dict[float, float]) -> list[Given]:
    """Return rows of a Hessian: eigenvalue and weight of each node of each vector."""
    return [
        (step, "run", "", f"hessian_{kind}_{v}_{j}", value)
        for v, vector in enumerate(vectors, 1)
        for j, pair in enumerate(vector.items(), 1)
        for kind, value in zip(("node", "weight"), pair, strict=True)
    ]


def test_the_hessians_density_has_the_mass_and_mean_of_its_nodes() -> None:
    rows = [*nodes(10, {-1.0: 0.5, 3.0: 0.5}, {0.0: 0.25, 1.0: 0.25, 2.0: 0.5}), (10, "run", "", "hessian_top_1", 3.0)]
    made = tables([*sizes(wte=10), *rows])
    grid, density = (made.hessian[name].to_numpy() for name in ("eigenvalue", "density"))
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=1e-6)
    assert np.trapezoid(density * grid, grid) == pytest.approx((1.0 + 1.25) / 2, abs=1e-6)
    assert made.curves["metric"].tolist() == ["hessian_top_1"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["node", "weight"])
def test_a_hessian_that_is_not_finite_has_no_density(kind: str, value: float) -> None:
    good = nodes(20, {1.0: 0.5, 2.0: 0.5})
    bad = [(10, *row[1:4], value if row[3] == f"hessian_{kind}_1_2" else row[4]) for row in good]
    made = tables([*sizes(wte=10), *bad, *good])
    assert set(made.hessian["step"]) == {20}
    assert tables([*sizes(wte=10), *bad]).hessian.empty


def chosen(runs: list[str]) -> pd.DataFrame:
    place = {"format": "E4M3", "update": "adamw", "storage": "nearest", "layers": "all", "lr": 0.01}
    return pd.DataFrame([{"run_id": run, **place} for run in runs])


def test_hessian_bands_are_the_mean_of_straight_lines() -> None:
    # A triangle from 0 over (1, 1) to 2, and lines from (1, 0.25) over (3, 0.5) to 5; beyond its grid a density is 0.
    hessian = pd.DataFrame(
        [("a", 10, x, y) for x, y in ((0.0, 0.0), (1.0, 1.0), (2.0, 0.0))]
        + [("b", 10, x, y) for x, y in ((5.0, 0.0), (3.0, 0.5), (1.0, 0.25))],
        columns=["run_id", "step", "eigenvalue", "density"],
    )
    bands = hessian_bands_table(chosen(["a", "b"]), hessian)
    assert bands[["eigenvalue", "n", "density"]].to_numpy().tolist() == [
        [0.0, 2, 0.0],
        [1.0, 2, 0.625],
        [2.0, 2, 0.1875],
        [3.0, 2, 0.25],
        [5.0, 2, 0.0],
    ]
    assert hessian_bands_table(chosen(["c"]), hessian).empty


def test_distribution_bands_count_a_seed_without_a_bin_as_0() -> None:
    data = pd.DataFrame(
        [
            ("a", 10, "all", "stiffness", -3, 1.0),
            ("b", 10, "all", "stiffness", -3, 0.5),
            ("b", 10, "all", "stiffness", 2, 0.5),
        ],
        columns=["run_id", "step", "layer_type", "metric", "bin", "share"],
    )
    bands = distribution_bands_table(chosen(["a", "b", "c"]), data)
    assert bands[["bin", "n", "share"]].to_numpy().tolist() == [[-3, 2, 0.75], [2, 2, 0.25]]
    assert distribution_bands_table(chosen([]).reindex(columns=chosen(["a"]).columns), data).empty


def test_bands_have_the_probes_mean_over_tensors_and_seeds(pipeline: Pipeline) -> None:
    bands = pipeline(STUDY, lambda run: 2.0 + run.seed)["bands"].query("format == 'E4M3'")
    found = bands.set_index(["metric", "layer_type", "step"])
    assert found.loc[("cosine", "all", 40), ["n", "mean"]].tolist() == [2, pytest.approx(0.9)]
    assert found.loc[("dead_fraction", "mlp", 20), "mean"] == 0.125
    assert found.loc[("dead_fraction", "all", 20), "mean"] == 0.125
    assert ("dead_fraction", "lm_head", 20) not in found.index
    assert found.loc[("edq", "all", 10), "mean"] == pytest.approx(100 / 1000)


def test_events_keep_what_they_say(tmp_path: Path) -> None:
    events = [
        {"step": 12, "event": "nonfinite", "kind": "gradient"},
        {"step": 20, "event": "rank_warning", "tensor": HEAD, "metric": "stable_rank", "value": 1.5, "slope": -0.25},
    ]
    run = study_runs(STUDY)[-1]
    folder = write_run(run, tmp_path, 2.0, lambda *_: Rates(), events=events)
    rows = tabulate_study(STUDY, [folder])["events"]
    assert rows[["run_id", "step", "event", "tensor", "layer_type"]].to_numpy().tolist() == [
        [run.run_id, 12, "nonfinite", "", "all"],
        [run.run_id, 20, "rank_warning", HEAD, "lm_head"],
    ]
    assert [json.loads(text) for text in rows["detail"]] == [
        {"kind": "gradient"},
        {"metric": "stable_rank", "value": 1.5, "slope": -0.25},
    ]
