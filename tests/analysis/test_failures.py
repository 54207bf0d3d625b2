import pandas as pd
import pytest

from altgrad.study.runs import RunConfig
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


CASTING = {"input": "same", "grad_output": "same"}


def test_the_backward_pass_fails_where_its_casts_cut_or_lose_gradients(pipeline: Pipeline) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"], quantization=CASTING, seeds=[1])

    def cut(_run: RunConfig, tensor: str) -> Rates:
        return Rates(grad_output_overflow=1 if tensor == "lm_head.weight" else 0, flips=1, updates=1000)

    row = first(pipeline(study, lambda run: 2.0, cut)["failures"], "nearest")
    assert (row["stage"], row["layer_type"], row["metric"]) == ("backward", "lm_head", "grad_output_overflow_rate")
    assert (row["value"], row["threshold"], row["step"]) == (0.001, 0.001, 10)


@pytest.mark.parametrize(
    ("rates", "stage", "metric"),
    [
        (Rates(input_overflow=1), "forward", "input_overflow_rate"),
        (Rates(input_underflow=100), "forward", "input_underflow_rate"),
        (Rates(input_underflow=99, grad_output_underflow=499), "none", ""),
        (Rates(grad_output_underflow=500), "backward", "grad_output_underflow_rate"),
    ],
)
def test_marks_of_inputs_and_output_gradients(pipeline: Pipeline, rates: Rates, stage: str, metric: str) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["master"], quantization=CASTING, seeds=[1])
    row = first(pipeline(study, lambda run: 2.0, lambda run, tensor: rates)["failures"], "master")
    assert (row["stage"], row["metric"]) == (stage, metric)


def test_stages_of_the_same_step_stand_in_the_order_of_a_step(pipeline: Pipeline) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"], quantization=CASTING, seeds=[1])
    everything = Rates(overflow=9, grad_output_underflow=900, flips=1, updates=1000)
    tables = pipeline(study, lambda run: None if run.role == "grid" else 2.0, lambda run, tensor: everything)
    rows = tables["failures"].query("format == 'E4M3' and layer_type == 'all'")
    assert rows["stage"].tolist() == ["forward", "backward", "optimizer", "divergence"]
    assert tables["failures"].query("format == 'E4M3'")["first"].tolist().count(True) == 1
