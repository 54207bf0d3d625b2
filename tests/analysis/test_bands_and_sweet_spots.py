import math

import pytest

from altgrad.study.runs import RunConfig
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import VOCAB, Rates, make_study

START = math.log(VOCAB)


def test_bands_are_over_the_seeds_at_the_chosen_learning_rate(pipeline: Pipeline) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"], lrs=[0.01, 0.02])
    tables = pipeline(study, lambda run: 2.0 + 0.1 * run.seed + (run.lr == 0.02))
    rows = tables["bands"].query("format == 'E4M3' and metric == 'val_loss'").set_index("step")
    assert set(rows["lr"]) == {0.01} and list(rows.index) == [20, 40]
    assert rows.loc[40, ["n", "mean", "low", "high"]].tolist() == [3, pytest.approx(2.2), 2.1, 2.3]
    # Half way the fabricated loss is still a quarter of the way up to where it began.
    assert rows.loc[20, "mean"] == pytest.approx(2.2 + (START - 2.2) / 4)
    assert rows["complete"].all()


def test_bands_say_where_a_seed_has_ended(pipeline: Pipeline) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"])
    tables = pipeline(study, lambda run: None if run.role == "grid" and run.seed == 1 else 2.0)
    rows = tables["bands"].query("format == 'E4M3' and metric == 'flip_rate' and layer_type == 'all'")
    assert rows.set_index("step")["n"].to_dict() == {10: 3, 20: 3, 30: 2, 40: 2}
    assert rows.set_index("step")["complete"].to_dict() == {10: True, 20: True, 30: False, 40: False}


def test_layer_rates_and_diagnostics_by_layer_type(pipeline: Pipeline) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"])

    def rising(run: RunConfig, tensor: str) -> Rates:
        return Rates(flips=100 * run.seed if tensor == "lm_head.weight" else 0)

    rows = pipeline(study, lambda run: 2.0, rising)["layer_rates"].query("format == 'E4M3'")
    found = rows.set_index(["layer_type", "metric"])
    assert found.loc[("lm_head", "flip_rate"), ["n", "mean", "low", "high"]].tolist() == [
        3,
        pytest.approx(0.2),
        0.1,
        0.3,
    ]
    assert found.loc[("all", "flip_rate"), "mean"] == pytest.approx(0.02)
    assert found.loc[("mlp", "code_entropy_bits"), "mean"] == 5.0


def test_sweet_spots_by_loss_rank_formats_within_a_layer_type(pipeline: Pipeline) -> None:
    study = make_study(layers=["mlp", "lm_head"], updates=["adamw"], storages=["nearest"])
    cost = {("E4M3", "mlp"): 0.1, ("E7M0", "mlp"): 0.3, ("E4M3", "lm_head"): 0.2, ("E7M0", "lm_head"): 0.2}

    def loss(run: RunConfig) -> float:
        wobble = 0.01 * run.seed * (run.format == "E7M0") * (-1) ** run.seed
        return 2.0 + cost.get((run.format, run.layers), 0.0) + wobble

    rows = pipeline(study, loss)["sweet_spots"].query("basis == 'loss'")
    found = {(r.layer_type, r.format): (r.rank, r.verdict) for r in rows.itertuples()}
    assert found["mlp", "E4M3"] == (1, "best")
    assert found["mlp", "E7M0"] == (2, "worse than the best")
    assert {found["lm_head", "E4M3"][1], found["lm_head", "E7M0"][1]} == {"best", "not told apart from the best"}
    assert rows.set_index(["layer_type", "format"]).loc[("mlp", "E4M3"), "mean"] == pytest.approx(0.1)


def test_sweet_spots_with_few_seeds_say_so(pipeline: Pipeline) -> None:
    study = make_study(layers=["mlp"], updates=["adamw"], storages=["nearest"], analysis={"min_seeds": 4})
    rows = pipeline(study, lambda run: 2.0)["sweet_spots"]
    assert set(rows.query("basis == 'loss'")["verdict"]) == {"not enough seeds"}


def test_sweet_spots_fall_back_to_counters(pipeline: Pipeline) -> None:
    study = make_study(updates=["adamw"])

    def stalling(run: RunConfig, tensor: str) -> Rates:
        stuck = run.format == "E7M0" and tensor == "lm_head.weight"
        return Rates(flips=10 if stuck else 100, updates=500, underflow=20 if run.format == "E4M3" else 0)

    rows = pipeline(study, lambda run: 2.0, stalling)["sweet_spots"].query("basis == 'counters'")
    found = {(r.layer_type, r.storage, r.format): (r.metric, r.rank, r.mean) for r in rows.itertuples()}
    assert found["lm_head", "nearest", "E4M3"] == ("stall_ratio", 1, pytest.approx(0.8))
    assert found["lm_head", "nearest", "E7M0"] == ("stall_ratio", 2, pytest.approx(0.98))
    assert found["mlp", "nearest", "E7M0"][1] == found["mlp", "nearest", "E4M3"][1] == 1
    assert found["mlp", "master", "E7M0"] == ("underflow_rate", 1, 0.0)
    assert set(rows["verdict"]) == {"counters only"}
