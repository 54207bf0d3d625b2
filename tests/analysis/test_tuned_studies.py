"""A tuned study's statistics: choices, precision, the best, what is recovered, the mechanism and the hypotheses."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from altgrad.analysis.analyse import analyse_study
from altgrad.analysis.best import probability_of_best
from altgrad.analysis.mechanism import mechanism_tests_table
from altgrad.analysis.power import seeds_needed
from altgrad.analysis.tables import Tables
from altgrad.analysis.tabulate import tabulate_study
from altgrad.errors import AltGradError, ConfigError, MismatchError
from altgrad.study.config import StudyConfig
from altgrad.study.hypotheses import read_hypotheses
from altgrad.study.runs import ArmConfig, RunConfig
from tests.analysis.fabricate import CORPUS_META, fabricate, make_study
from tests.analysis.tuned import fabricate_tuning, tuned_study, tuned_tables

SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]
LOSS = {"BF16": 2.0, "E4M3": 2.2, "E7M0": 2.6}
BENEFIT = {("E4M3", "nearest"): 0.02, ("E7M0", "nearest"): 0.3, ("E4M3", "master"): 0.0, ("E7M0", "master"): 0.01}

HYPOTHESES = [
    {"id": "H1", "claim": "a", "test": "within", "bound": 0.005, "of": {"storage": "master", "formats": ["E4M3"]}},
    {"id": "H2", "claim": "b", "test": "rising", "of": {"storage": "nearest", "formats": ["E4M3", "E7M0"]}},
    {"id": "H3", "claim": "c", "test": "below", "of": {"storage": "nearest", "formats": ["E4M3", "E7M0"]}},
    {"id": "H4", "claim": "d", "test": "above", "bound": 0.02, "of": {"storage": "nearest", "formats": ["E4M3"]}},
    {"id": "H5", "claim": "e", "test": "identical", "of": {"storage": "master", "formats": ["E4M3"]}},
    {
        "id": "H6", "claim": "f", "test": "smaller", "bound": 0.5, "of": {"storage": "master", "formats": ["E7M0"]},
        "than": {"estimand": "benefit", "update": "manifold", "storage": "nearest", "formats": ["E7M0"]},
    },
    {"id": "H7", "claim": "g", "test": "within", "of": {"storage": "eco", "formats": ["E4M3"]}},
]  # fmt: skip


E7M0_MANIFOLD = "format == 'E7M0' and update == 'manifold' and storage == 'nearest'"


def noise(key: str, seed: int) -> float:
    return float(np.random.default_rng([seed, *key.encode()]).normal(0, 0.004))


def best(arm: ArmConfig) -> int:
    return 4 if arm.storage == "nearest" else 1


def score(cell: ArmConfig | RunConfig, seed: int) -> float:
    benefit = BENEFIT[cell.format, cell.storage] if cell.update == "manifold" else 0.0
    key = f"{cell.format}{cell.update}{cell.storage}"
    quiet = (cell.format, cell.storage) == ("E4M3", "master")
    return LOSS[cell.format] + 0.1 * seed - benefit + (0.0 if quiet else noise(key, seed))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("tuned")
    plan = [{**h, "of": {"estimand": "benefit", "update": "manifold", **h["of"]}} for h in HYPOTHESES]
    (folder / "plan.yaml").write_text(yaml.safe_dump({"hypotheses": plan}))
    study = tuned_study(make_study, seeds=SEEDS, analysis={"min_seeds": 6, "min_steps": 40})
    study = study.model_copy(update={"hypotheses": str(folder / "plan.yaml")})

    def trial_loss(arm: ArmConfig, lr: float, seed: int) -> float:
        assert study.tuning is not None
        octaves = math.log2(lr / study.tuning.lr(best(arm)))
        return score(arm, seed) + 0.2 * octaves**2

    return tuned_tables(study, folder, best, trial_loss, lambda run: score(run, run.seed))


def only(table: pd.DataFrame, query: str) -> pd.Series:
    rows = table.query(query)
    assert len(rows) == 1, rows
    return rows.iloc[0]


def test_a_tuned_cell_has_the_frozen_rate_and_no_other(tables: Tables) -> None:
    cells = tables["cells"].query("format == 'E4M3' and update == 'adamw'").set_index("storage")
    assert cells["lr"].to_dict() == {"nearest": 0.04, "master": 0.01414}
    assert cells["tuned"].all() and (cells["lrs"] == 7).all() and not cells["lr_at_edge"].any()
    assert not tables["comparisons"]["lr_at_edge"].any()
    assert set(tables["trials"]["seed"]) == {101, 102, 103} and not set(tables["runs"]["seed"]) & {101, 102, 103}
    chosen = tables["trials"].query("chosen")
    assert len(chosen) == 3 * len(tables["tuning"])


def test_divergence_rates_have_exact_intervals(tables: Tables) -> None:
    row = only(tables["cells"], "format == 'E4M3' and update == 'adamw' and storage == 'nearest'")
    oracle = stats.binomtest(0, 8).proportion_ci(0.95, method="exact")
    assert (row["diverged_low"], row["diverged_high"]) == pytest.approx((oracle.low, oracle.high))


def test_the_best_format_is_that_of_the_question(tables: Tables) -> None:
    best_table = tables["best"]
    did = best_table.query("estimand == 'did'").set_index("format")
    assert did["probability"].to_dict() == {"E4M3": 0.0, "E7M0": 1.0}
    loss = best_table.query("estimand == 'loss' and storage == 'nearest' and update == 'adamw'").set_index("format")
    assert loss["probability"].to_dict() == {"E4M3": 1.0, "E7M0": 0.0}
    assert loss.loc["E4M3", "mean"] == pytest.approx(np.mean([score_of("E4M3", s) for s in SEEDS]))
    benefits = tables["differences"].query("estimand == 'benefit' and storage == 'master'")
    by_format = {name: dict(zip(g["seed"], g["value"], strict=True)) for name, g in benefits.groupby("format")}
    master = best_table.query("estimand == 'benefit' and storage == 'master'").set_index("format")["probability"]
    assert master.to_dict() == pytest.approx(probability_of_best(by_format))


def score_of(name: str, seed: int) -> float:
    return LOSS[name] + 0.1 * seed + noise(f"{name}adamwnearest", seed)


def test_what_is_recovered_of_the_gap(tables: Tables) -> None:
    row = only(tables["recoveries"], "format == 'E7M0' and storage == 'nearest'")
    benefit = tables["differences"].query("estimand == 'benefit' and format == 'E7M0' and storage == 'nearest'")
    gap = tables["differences"].query("estimand == 'gap' and format == 'E7M0' and storage == 'nearest'")
    assert row["share"] == pytest.approx(benefit["value"].mean() / gap.query("update == 'adamw'")["value"].mean())
    assert row["low"] < row["share"] < row["high"] and row["n"] == 8


def test_the_plan_of_seeds_rests_on_the_tuning_seeds(tables: Tables) -> None:
    row = only(tables["precision"], "format == 'E7M0'")

    def did(name: str, seed: int) -> float:
        def benefit(storage: str) -> float:
            spread = noise(f"{name}adamw{storage}", seed) - noise(f"{name}manifold{storage}", seed)
            return BENEFIT[name, storage] + (0.0 if (name, storage) == ("E4M3", "master") else spread)

        return benefit("nearest") - benefit("master")

    sds = {name: np.std([did(name, seed) for seed in (101, 102, 103)], ddof=1) for name in ("E4M3", "E7M0")}
    assert row["tuning_n"] == 3 and row["tuning_sd"] == pytest.approx(sds["E7M0"])
    assert row["planned_sd"] == pytest.approx(math.sqrt((sds["E4M3"] ** 2 + sds["E7M0"] ** 2) / 2))
    assert row["planned_n"] == 1 + seeds_needed(row["planned_sd"], 0.01, 2, 0.95, 0.8)
    reached = np.array([did("E7M0", seed) for seed in SEEDS])
    ends = stats.t.interval(0.95, 7, loc=reached.mean(), scale=stats.sem(reached))
    assert row["n"] == 8 and row["half_width"] == pytest.approx((ends[1] - ends[0]) / 2)


def test_the_mechanism_stands_beside_the_score(tables: Tables) -> None:
    row = only(tables["mechanism"], E7M0_MANIFOLD)
    cell = only(tables["cells"], E7M0_MANIFOLD)
    gap = only(
        tables["comparisons"],
        "estimand == 'gap' and format == 'E7M0' and update == 'manifold' and storage == 'nearest'",
    )
    assert row["score"] == cell["mean"] and row["gap"] == pytest.approx(gap["mean"])
    rate = only(tables["layer_rates"].query("layer_type == 'all' and metric == 'edq'"), E7M0_MANIFOLD)
    assert row["edq"] == rate["mean"] and set(tables["mechanism"]["format"]) == {"E4M3", "E7M0"}
    tests = tables["mechanism_tests"].query("x == 'edq' and given == '' and storage == 'nearest'")
    nearest = tables["mechanism"].query("storage == 'nearest'").dropna(subset=["edq", "gap"])
    oracle = stats.spearmanr(nearest["edq"], nearest["gap"]).statistic if nearest["edq"].nunique() > 1 else math.nan
    assert tests.iloc[0]["rho"] == pytest.approx(oracle, nan_ok=True) and tests.iloc[0]["n"] == len(nearest)


def test_cells_that_are_the_same_runs_count_once_in_correlations(tables: Tables) -> None:
    twice = pd.concat([tables["mechanism"], tables["mechanism"].assign(update="another name")])
    pd.testing.assert_frame_equal(mechanism_tests_table(twice), tables["mechanism_tests"])


def test_each_hypothesis_is_judged_by_its_prediction(tables: Tables) -> None:
    verdicts = tables["hypotheses"].set_index("id")["verdict"].to_dict()
    assert verdicts == {
        "H1": "supported", "H2": "supported", "H3": "refuted", "H4": "undecided",
        "H5": "supported", "H6": "supported", "H7": "not run",
    }  # fmt: skip
    row = only(tables["hypotheses"], "id == 'H3'")
    assert row["prediction"] == "benefit of manifold, nearest is below 0 nats: E4M3, E7M0"
    first, second = row["result"].split("; ")
    assert first.startswith("E4M3 +0.0") and first.endswith("] (refuted)") and row["n"] == 8
    assert second.startswith("E7M0 ") and second.endswith(")")


def test_too_few_seeds_give_no_verdict_on_a_hypothesis(tmp_path: Path) -> None:
    plan = {"id": "H", "claim": "c", "test": "below"}
    of = {"estimand": "benefit", "update": "manifold", "storage": "nearest", "formats": ["E4M3"]}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({"hypotheses": [{**plan, "of": of}]}))
    study = tuned_study(make_study, seeds=[1, 2, 3], analysis={"min_seeds": 6, "min_steps": 40})
    study = study.model_copy(update={"hypotheses": str(tmp_path / "plan.yaml")})
    tables = tuned_tables(study, tmp_path, best, lambda arm, lr, seed: 2.0, lambda run: score(run, run.seed))
    assert tables["hypotheses"]["verdict"].tolist() == ["not enough seeds"]
    assert not tables["hypotheses"]["result"].str.contains(r"\(").any()  # nor one for a single format


def test_a_hypothesis_that_cannot_be_judged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("hypotheses: [{id: H1, claim: c, test: sideways}]")
    with pytest.raises(ConfigError, match=r"plan\.yaml: hypotheses\.0\.test: 'sideways' is given"):
        read_hypotheses(path, make_study())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"update": "manifoldd"}, "H: update 'manifoldd' is none of it. Choose from adamw, manifold"),
        ({"storage": "nearest - master"}, "H: storage 'nearest - master' is none of it. Choose from master, nearest"),
        ({"estimand": "did"}, "H: storage 'nearest' is none of it. Choose from nearest - master"),
        ({"formats": ["E4M4"]}, "'E4M4' is not a format"),
    ],
)
def test_a_hypothesis_about_no_run_of_any_study_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    of = {"estimand": "benefit", "update": "manifold", "storage": "nearest", "formats": ["E4M3"], **change}
    (tmp_path / "plan.yaml").write_text(
        yaml.safe_dump({"hypotheses": [{"id": "H", "claim": "c", "test": "below", "of": of}]})
    )
    with pytest.raises(AltGradError, match=re.escape(message)):
        read_hypotheses(tmp_path / "plan.yaml", make_study())


def test_a_share_of_no_benefit_is_undecided(tmp_path: Path) -> None:
    """Where nothing is gained under nearest rounding, less of it under another storage says nothing."""
    of = {"estimand": "benefit", "update": "manifold", "formats": ["E4M3"]}
    entry = {"id": "H", "claim": "c", "test": "smaller", "bound": 0.5}
    plan = {**entry, "of": {**of, "storage": "master"}, "than": {**of, "storage": "nearest"}}
    (tmp_path / "plan.yaml").write_text(json.dumps({"hypotheses": [plan]}))
    study = tuned_study(make_study, seeds=SEEDS, analysis={"min_seeds": 6, "min_steps": 40})
    study = study.model_copy(update={"hypotheses": str(tmp_path / "plan.yaml")})

    def hurts(run: RunConfig) -> float:
        lost = {"nearest": 0.05, "master": 0.2}[run.storage] if run.update == "manifold" else 0.0
        return LOSS[run.format] + 0.1 * run.seed + lost

    tables = tuned_tables(study, tmp_path, best, lambda arm, lr, seed: 2.0, hurts)
    assert tables["hypotheses"]["verdict"].tolist() == ["undecided"]


def test_a_format_with_few_seeds_takes_nothing_from_the_others(tmp_path: Path) -> None:
    study = make_study(seeds=SEEDS, formats=["E4M3"], analysis={"min_seeds": 6, "min_steps": 40})
    few = {**study.grids[0].model_dump(), "formats": ["E7M0"], "seeds": [1, 2]}
    study = StudyConfig.model_validate({**study.model_dump(), "grids": [study.grids[0].model_dump(), few]})
    frames = tabulate_study(study, fabricate(study, tmp_path, lambda run: LOSS[run.format]), corpus_meta=CORPUS_META)
    found = analyse_study(Tables.of(frames))["best"].query("estimand == 'loss' and storage == 'nearest'")
    assert (
        found.query("format == 'E4M3'")["probability"].eq(1.0).all()
        and found.query("format == 'E4M3'")["n"].eq(8).all()
    )
    assert found.query("format == 'E7M0'")["probability"].isna().all()


def test_a_rate_from_another_corpus_is_refused(tmp_path: Path) -> None:
    study = tuned_study(make_study, seeds=[1, 2])
    fabricate_tuning(study, tmp_path / "tuning", best, lambda arm, lr, seed: 2.0)
    for path in (tmp_path / "tuning").iterdir():
        path.write_text(json.dumps({**json.loads(path.read_text()), "corpus_fingerprint": "0" * 16}))
    with pytest.raises(MismatchError, match="it was tuned on other tokens than the corpus given"):
        tuned_tables_from(study, tmp_path)


def tuned_tables_from(study: object, folder: Path) -> None:
    tabulate_study(study, [], tuning=folder / "tuning", corpus_meta=CORPUS_META)  # type: ignore[arg-type]
