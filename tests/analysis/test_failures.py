import pandas as pd
import pytest

from altgrad.study.config import RunConfig
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import Rates, make_study

STUDY = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest", "stochastic", "master"], seeds=[1])


def first(failures: pd.DataFrame, storage: str) -> pd.Series:
    rows = failures[(failures["format"] == "E4M3") & (failures["storage"] == storage) & failures["first"]]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_stall_is_a_failure_only_where_it_loses_updates(pipeline: Pipeline) -> None:
    tables = pipeline(STUDY, lambda run: 2.0, lambda run, tensor: Rates(flips=1, updates=1000, update_underflow=0))
    row = first(tables["failures"], "nearest")
    assert (row["stage"], row["metric"], row["step"], row["threshold"]) == ("optimizer", "stall_ratio", 10, 0.95)
    assert row["value"] == pytest.approx(0.999)
    for storage in ("stochastic", "master"):
        assert first(tables["failures"], storage)[["stage", "step"]].tolist() == ["none", -1]


def test_only_the_layer_type_that_fails_is_named(pipeline: Pipeline) -> None:
    def vanishing(_run: RunConfig, tensor: str) -> Rates:
        return Rates(underflow=60 if tensor == "lm_head.weight" else 10)

    failures = pipeline(STUDY, lambda run: 2.0, vanishing)["failures"]
    row = first(failures, "master")
    assert (row["stage"], row["layer_type"], row["metric"]) == ("forward", "lm_head", "underflow_rate")
    assert row["value"] == pytest.approx(0.06)


def test_divergence_comes_after_what_was_seen_before_it(pipeline: Pipeline) -> None:
    def saturating(run: RunConfig, _tensor: str) -> Rates:
        return Rates(overflow=2 if run.storage == "nearest" else 0)

    failures = pipeline(STUDY, lambda run: None if run.role == "grid" else 2.0, saturating)["failures"]
    nearest = failures[failures["storage"] == "nearest"]
    assert nearest["stage"].tolist()[-1] == "divergence" and nearest["step"].tolist()[-1] == 20
    assert first(failures, "nearest")["stage"] == "forward"
    assert first(failures, "master")[["stage", "step"]].tolist() == ["divergence", 20]


def test_a_rate_exactly_at_its_mark_fails_and_one_below_does_not(pipeline: Pipeline) -> None:
    def edge(run: RunConfig, _tensor: str) -> Rates:
        return Rates(underflow=50 if run.storage == "master" else 49)

    failures = pipeline(STUDY, lambda run: 2.0, edge)["failures"]
    assert first(failures, "master")["stage"] == "forward"
    assert first(failures, "nearest")["stage"] == "none"
