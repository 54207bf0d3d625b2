import math

import pandas as pd
import pytest
from scipy import stats

from altgrad.study.runs import RunConfig
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import VOCAB, make_study


def by_lr(run: RunConfig) -> float | None:
    """Return a loss with its best at 0.02 for nearest, at the edge 0.04 for master; 0.04 diverges under nearest."""
    if run.storage == "nearest":
        return None if run.lr == 0.04 else {0.01: 2.2, 0.02: 2.0}[run.lr] + 0.01 * run.seed
    return {0.01: 2.2, 0.02: 2.1, 0.04: 2.0}[run.lr] + 0.01 * run.seed


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    pipeline = Pipeline(tmp_path_factory.mktemp("results"))
    study = make_study(formats=["E4M3"], updates=["adamw"], lrs=[0.01, 0.02, 0.04])
    return pipeline(study, by_lr)["cells"].set_index(["storage", "lr"]).drop(index="BF16", errors="ignore")


def of(cells: pd.DataFrame, storage: str, lr: float) -> pd.Series:
    rows = cells[cells["format"] == "E4M3"]
    return rows.loc[(storage, lr)]


def test_mean_and_interval_agree_with_scipy(cells: pd.DataFrame) -> None:
    row = of(cells, "nearest", 0.02)
    oracle = stats.t.interval(0.95, 2, loc=2.02, scale=stats.sem([2.01, 2.02, 2.03]))
    assert row["mean"] == pytest.approx(2.02) and row["n"] == 3
    assert (row["low"], row["high"]) == pytest.approx(oracle)


def test_the_lowest_mean_is_chosen_and_an_edge_is_flagged(cells: pd.DataFrame) -> None:
    assert of(cells, "nearest", 0.02)["chosen"] and not of(cells, "nearest", 0.02)["lr_at_edge"]
    assert of(cells, "master", 0.04)["chosen"] and of(cells, "master", 0.04)["lr_at_edge"]
    assert cells[cells["format"] == "E4M3"]["chosen"].sum() == 2
    assert of(cells, "master", 0.04)["lrs"] == 3


def test_diverged_runs_score_the_vocabulary_and_are_counted(cells: pd.DataFrame) -> None:
    row = of(cells, "nearest", 0.04)
    assert row["mean"] == pytest.approx(math.log(VOCAB)) and row["diverged"] == 3 and not row["chosen"]


def chosen(pipeline: Pipeline, losses: dict[float, dict[int, float | None]]) -> float:
    """Return the chosen learning rate of a cell with these losses, by rate and seed; a seed not named was not run."""
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"], lrs=list(losses), seeds=[1, 2, 3, 4])

    def loss(run: RunConfig) -> float | None:
        return 2.0 if run.role == "baseline" else losses[run.lr].get(run.seed, math.nan)

    cells = pipeline(study, loss)["cells"].query("format == 'E4M3'").set_index("lr")
    assert cells["n"].to_dict() == {lr: len(seeds) for lr, seeds in losses.items()}
    (lr,) = cells.index[cells["chosen"]]
    return float(lr)


def test_one_more_seed_at_a_bad_rate_does_not_take_the_cell(pipeline: Pipeline) -> None:
    assert chosen(pipeline, {0.01: {1: 2.0, 2: 2.1}, 0.02: {1: 3.0, 2: 3.1, 3: 3.2}}) == 0.01


def test_rates_are_judged_on_the_seeds_that_all_of_them_have(pipeline: Pipeline) -> None:
    # Over all of its seeds 0.02 has the lower mean; on the two that both have, 0.01 does.
    assert chosen(pipeline, {0.01: {1: 2.0, 2: 2.0}, 0.02: {1: 2.1, 2: 2.1, 3: 1.0, 4: 1.0}}) == 0.01


def test_without_a_shared_seed_the_rates_with_most_seeds_are_judged(pipeline: Pipeline) -> None:
    assert chosen(pipeline, {0.01: {1: 1.0}, 0.02: {2: 2.5, 3: 2.5}, 0.04: {3: 2.0, 4: 2.2}}) == 0.04


def test_a_rate_that_diverges_is_not_chosen_while_another_diverges_less(pipeline: Pipeline) -> None:
    # ln(257) is 5.55: with two good runs 0.02 has the lower mean all the same.
    some = {1: 1.0, 2: 1.0, 3: None}
    assert chosen(pipeline, {0.01: {1: 5.0, 2: 5.0, 3: 5.0}, 0.02: some}) == 0.01


def test_a_divergence_on_a_seed_that_is_not_shared_decides_nothing(pipeline: Pipeline) -> None:
    assert chosen(pipeline, {0.01: {1: 3.0, 2: 3.0}, 0.02: {1: 2.0, 2: 2.0, 3: None}}) == 0.02


def test_of_equal_means_the_lowest_learning_rate_is_chosen(pipeline: Pipeline) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"], lrs=[0.04, 0.01])
    cells = pipeline(study, lambda run: 2.0)["cells"].query("format == 'E4M3'").set_index("lr")
    assert cells["chosen"].to_dict() == {0.01: True, 0.04: False}
