import math

import numpy as np
import pytest
from scipy import stats

from altgrad.analysis.estimates import holm
from altgrad.study.runs import RunConfig
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import make_study

SEEDS = [1, 2, 3, 4, 5, 6]
BENEFIT = {  # (format, storage) -> adamw - manifold, by seed
    ("E4M3", "nearest"): [0.10, 0.12, 0.09, 0.11, 0.10, 0.13],
    ("E4M3", "master"): [0.02, -0.01, 0.01, 0.00, 0.01, -0.02],
    ("E7M0", "nearest"): [0.0] * 6,
    ("E7M0", "master"): [0.0] * 6,
}


def loss(run: RunConfig) -> float:
    """Return a loss that depends on the seed, minus the benefit of the manifold."""
    base = {"BF16": 2.0, "E4M3": 2.25, "E7M0": 2.5}[run.format] + 0.125 * run.seed
    return base - BENEFIT[run.format, run.storage][run.seed - 1] if run.update == "manifold" else base


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], dict[str, object]]:
    pipeline = Pipeline(tmp_path_factory.mktemp("results"))
    study = make_study(seeds=SEEDS, analysis={"min_seeds": 6, "min_steps": 40})
    rows = pipeline(study, loss)["comparisons"].to_dict("records")
    return {(row["estimand"], row["format"], row["update"], row["storage"]): row for row in rows}


def test_benefit_is_paired_by_seed_and_agrees_with_scipy(table: dict[tuple[str, ...], dict[str, object]]) -> None:
    row = table["benefit", "E4M3", "manifold", "nearest"]
    d = np.array(BENEFIT["E4M3", "nearest"])
    oracle = stats.ttest_1samp(d, 0.0)
    assert row["n"] == 6 and row["mean"] == pytest.approx(d.mean())
    assert (row["low"], row["high"]) == pytest.approx(tuple(oracle.confidence_interval(0.95)))
    assert row["p_t"] == pytest.approx(oracle.pvalue, rel=1e-6)
    assert row["p_sign_flip"] == 2 / 64
    assert row["verdict"] == "helps (not after Holm)"  # 2 / 64 doubled for two formats is above 0.05
    assert row["p_holm"] == pytest.approx(holm([2 / 64, 1.0])[0])


def test_did_takes_master_out(table: dict[tuple[str, ...], dict[str, object]]) -> None:
    row = table["did", "E4M3", "manifold", "nearest - master"]
    d = np.array(BENEFIT["E4M3", "nearest"]) - np.array(BENEFIT["E4M3", "master"])
    assert row["mean"] == pytest.approx(d.mean()) and row["sd"] == pytest.approx(d.std(ddof=1))
    assert math.isnan(row["lr"]) and math.isnan(row["reference_lr"])


def test_no_difference_at_all_is_the_interval_zero(table: dict[tuple[str, ...], dict[str, object]]) -> None:
    for key in (("benefit", "E7M0", "manifold", "nearest"), ("did", "E7M0", "manifold", "nearest - master")):
        row = table[key]
        assert [row[name] for name in ("mean", "low", "high", "p_t", "p_sign_flip")] == [0, 0, 0, 1, 1]
        assert row["verdict"] == "no difference shown"


def test_gap_to_the_baseline(table: dict[tuple[str, ...], dict[str, object]]) -> None:
    row = table["gap", "E4M3", "adamw", "nearest"]
    assert (row["mean"], row["low"], row["high"], row["reference"]) == (0.25, 0.25, 0.25, "BF16")
    assert row["verdict"] == "worse (not after Holm)"  # 2 / 64 for each of two formats
    assert ("gap", "BF16", "adamw", "master") not in table


def test_each_arm_has_its_own_learning_rate(pipeline: Pipeline) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"], lrs=[0.01, 0.02, 0.04])
    best = {"adamw": 0.01, "manifold": 0.02}

    def own_best(run: RunConfig) -> float:
        return 2.0 + (run.lr != best[run.update]) + 0.1 * (run.update == "adamw")

    rows = pipeline(study, own_best)["comparisons"].query("estimand == 'benefit'")
    row = rows.iloc[0]
    assert (row["lr"], row["reference_lr"], row["lr_at_edge"]) == (0.02, 0.01, True)
    assert row["mean"] == pytest.approx(0.1)


def test_pairs_are_the_seeds_of_both_and_divergence_counts(pipeline: Pipeline) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"])

    def lacking(run: RunConfig) -> float | None:
        if run.update == "manifold" and run.seed == 2:
            return math.nan
        return None if run.update == "adamw" and run.seed == 3 and run.role == "grid" else 2.0

    tables = pipeline(study, lacking)
    row = tables["comparisons"].query("estimand == 'benefit'").iloc[0]
    assert (row["n"], row["diverged"], row["verdict"]) == (2, 1, "not enough seeds")
    seeds = tables["differences"].query("estimand == 'benefit'")
    assert seeds["seed"].tolist() == [1, 3]
    assert seeds["value"].tolist() == [0.0, pytest.approx(math.log(257) - 2.0)]


def test_divergence_of_a_seed_that_is_not_compared_does_not_count(pipeline: Pipeline) -> None:
    study = make_study(formats=["E4M3"])

    def lacking(run: RunConfig) -> float | None:
        if run.update == "manifold" and run.storage == "nearest" and run.seed == 2:
            return math.nan
        return None if run.update == "adamw" and run.role == "grid" and run.seed == 2 else 2.0

    rows = pipeline(study, lacking)["comparisons"].set_index(["estimand", "update", "storage"])
    assert rows.loc[("benefit", "manifold", "nearest"), "diverged"] == 0
    assert rows.loc[("benefit", "manifold", "master"), "diverged"] == 1
    assert rows.loc[("did", "manifold", "nearest - master"), "diverged"] == 0
    assert rows.loc[("gap", "adamw", "nearest"), "diverged"] == 1


def test_short_runs_have_intervals_and_no_verdict(pipeline: Pipeline) -> None:
    study = make_study(analysis={"min_seeds": 3, "min_steps": 41}, layers=["all", "mlp"])
    tables = pipeline(study, lambda run: 2.0 - 0.1 * (run.update == "manifold") + 0.01 * run.seed)
    assert set(tables["comparisons"]["verdict"]) == {"not enough steps"}
    assert tables["comparisons"]["low"].notna().all()
    assert set(tables["sweet_spots"].query("basis == 'loss'")["verdict"]) == {"not enough steps"}


def test_one_seed_has_no_interval(pipeline: Pipeline) -> None:
    study = make_study(formats=["E4M3"], seeds=[1], analysis={"min_seeds": 1, "min_steps": 1})
    row = pipeline(study, lambda run: 2.0)["comparisons"].iloc[0]
    assert math.isnan(row["low"]) and row["verdict"] == "not enough seeds"


def test_without_runs_there_are_no_rows(pipeline: Pipeline) -> None:
    tables = pipeline(make_study(), lambda run: math.nan)
    for name in ("cells", "comparisons", "differences", "bands", "layer_rates", "failures", "sweet_spots"):
        assert tables[name].empty, name
