import math
from pathlib import Path

import pandas as pd
import pytest

from altgrad.analysis.study_info import from_frame, study_info, to_frame
from altgrad.analysis.tabulate import tabulate_study, timing_summary
from altgrad.analysis.telemetry_tables import CASTS, TelemetryTables, batches, rates, telemetry_tables
from altgrad.errors import CorpusError, TableError
from altgrad.schema import ANALYSIS_TABLES, COUNTS, PROBE_TIMES, RATES, SUMS
from altgrad.study.grid import study_runs
from altgrad.study.runs import RunConfig
from tests.analysis.fabricate import CORPUS_META, VOCAB, Rates, fabricate, make_study, write_run

STUDY = make_study(formats=["E4M3"], storages=["nearest"], seeds=[1, 2])


def loss(run: RunConfig) -> float | None:
    """Return 2 nats, a divergence for AdamW's seed 2 in the grid, and nothing for the manifold's."""
    if run.role == "grid" and run.seed == 2:
        return None if run.update == "adamw" else math.nan
    return 2.0


def by_type(_run: RunConfig, tensor: str) -> Rates:
    return Rates(flips=100, updates=500) if tensor == "wte.weight" else Rates(flips=10, updates=1000)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("results")
    folders = fabricate(STUDY, folder, loss, by_type, diagnostics=True)
    return tabulate_study(STUDY, folders, diagnostics=folder / "diagnostics", corpus_meta=CORPUS_META)


def test_every_table_is_made_with_its_columns(tables: dict[str, pd.DataFrame]) -> None:
    assert {name: list(data.columns) for name, data in tables.items()} == {
        name: [column.name for column in columns] for name, columns in ANALYSIS_TABLES.items()
    }


def test_every_planned_run_has_a_row_and_a_score(tables: dict[str, pd.DataFrame]) -> None:
    runs = tables["runs"].set_index("run_id")
    assert list(runs.index) == [run.run_id for run in study_runs(STUDY)]
    diverged, missing = runs.loc["E4M3-adamw-nearest-all-lr0.01-s2"], runs.loc["E4M3-manifold-nearest-all-lr0.01-s2"]
    assert (diverged["status"], diverged["score"]) == ("diverged", math.log(VOCAB))
    assert math.isnan(diverged["val_loss"]) and diverged["events"] == 1
    assert missing["status"] == "missing" and math.isnan(missing["score"]) and missing["steps_planned"] == 40
    assert (runs["score"] == 2.0).sum() == 4


def test_a_run_without_loss_or_vocabulary_size_is_refused(tmp_path: Path) -> None:
    run = study_runs(STUDY)[-1]
    folder = write_run(run, tmp_path, None, by_type, vocab_size=None)
    with pytest.raises(TableError, match="its summary has no vocab_size to score it by"):
        tabulate_study(STUDY, [folder])


def test_a_finished_run_scores_no_worse_than_a_diverged_one(tmp_path: Path) -> None:
    folder = write_run(study_runs(STUDY)[-1], tmp_path, 99.0, by_type)
    runs = tabulate_study(STUDY, [folder])["runs"].set_index("run_id")
    assert (runs.loc[folder.name, "score"], runs.loc[folder.name, "val_loss"]) == (math.log(VOCAB), 99.0)


def test_a_planned_run_given_only_as_included_is_missing(tmp_path: Path) -> None:
    folder = write_run(study_runs(STUDY)[-1], tmp_path, 2.0, by_type)
    runs = tabulate_study(STUDY, [], included=[folder])["runs"]
    mine = runs[runs["run_id"] == folder.name]
    assert list(zip(mine["role"], mine["status"], strict=True)) == [("grid", "missing"), ("included", "finished")]
    assert (runs["role"] != "included").sum() == len(study_runs(STUDY))


def test_counters_sum_the_tensors_of_a_layer_type(tables: dict[str, pd.DataFrame]) -> None:
    counters = tables["counters"]
    rows = counters[(counters["run_id"] == "E4M3-manifold-nearest-all-lr0.01-s1") & (counters["step"] == 20)]
    values = {(kind, metric): value for _, _, kind, metric, value in rows.itertuples(index=False)}
    # wte: 400 elements x 10 steps, 100 and 500 per mille; the others: 600 elements, 10 and 1000 per mille.
    assert values["embedding", "elements"] == 4000
    assert values["embedding", "flips"] == 400
    assert values["all", "elements"] == 10_000
    assert values["all", "flips"] == 400 + 60
    assert values["all", "flip_rate"] == pytest.approx(460 / 10_000)
    assert values["all", "stall_ratio"] == pytest.approx(1 - 460 / (2000 + 6000))
    assert values["embedding", "stall_ratio"] == pytest.approx(1 - 400 / 2000)
    assert values["lm_head", "stall_ratio"] == pytest.approx(0.99)
    assert {kind for kind, _ in values} == {"all", "embedding", "attention", "mlp", "lm_head"}


def test_tensors_have_whole_run_totals(tables: dict[str, pd.DataFrame]) -> None:
    tensors = tables["tensors"].set_index(["run_id", "tensor"])
    row = tensors.loc["E4M3-adamw-nearest-all-lr0.01-s1", "wte.weight"]
    assert (row["layer_type"], row["elements"], row["flips"], row["updates"]) == ("embedding", 16_000, 1600, 8000)
    assert row["flip_rate"] == 0.1 and row["stall_ratio"] == pytest.approx(0.8)
    assert row["underflow_rate"] == pytest.approx(0.01) and row["update_underflow_rate"] == pytest.approx(0.2)
    assert (row["amax"], row["range_bits"], row["gradient_l2"], row["gradient_linf"]) == (0.5, 7.0, 3.0, 1.0)
    half = tensors.loc["E4M3-adamw-nearest-all-lr0.01-s2", "wte.weight"]
    assert half["elements"] == 8000  # it diverged half way


def test_flips_by_epoch(tables: dict[str, pd.DataFrame]) -> None:
    flips = tables["flip_epochs"]
    rows = flips[(flips["run_id"] == "E4M3-adamw-nearest-all-lr0.01-s1") & (flips["tensor"] == "wte.weight")]
    # An epoch is 20 steps: the windows that end at 10 and 20 are epoch 1, those at 30 and 40 epoch 2.
    assert rows[["epoch", "elements", "flips"]].to_numpy().tolist() == [[1, 8000, 800], [2, 8000, 800]]


def test_curves_formats_updates_and_diagnostics(tables: dict[str, pd.DataFrame]) -> None:
    curves = tables["curves"].set_index(["run_id", "metric", "step"])["value"]
    assert curves["BF16-adamw-master-all-lr0.01-s1", "val_loss", 40] == 2.0
    assert list(tables["formats"]["format"]) == ["E4M3", "BF16"]
    assert tables["formats"].iloc[0][["bias", "max", "smallest_subnormal"]].tolist() == [7, 448.0, 2**-9]
    assert tables["updates"][["update", "geometry_aware", "primary"]].to_numpy().tolist() == [
        ["adamw", False, False],
        ["manifold", True, True],
    ]
    assert set(tables["tensor_diagnostics"]["layer_type"]) == {"embedding", "attention", "mlp", "lm_head"}


def test_only_tensors_in_the_runs_format_are_counted(tmp_path: Path) -> None:
    study = make_study(formats=["E4M3"], storages=["nearest"], seeds=[1], layers=["mlp"])
    tables = tabulate_study(study, fabricate(study, tmp_path, lambda run: 2.0))
    run = "E4M3-adamw-nearest-mlp-lr0.01-s1"
    counters, tensors = tables["counters"], tables["tensors"]
    kinds = counters[counters["run_id"] == run]
    assert set(kinds["layer_type"]) == {"all", "mlp"}
    both = kinds[(kinds["metric"] == "elements") & (kinds["step"] == 10)]["value"]
    assert both.tolist() == [2000, 2000]
    studied = tensors[tensors["run_id"] == run].set_index("tensor")["studied"]
    assert studied[studied].index.tolist() == ["blocks.0.mlp.c_fc.weight"]


def test_norms_that_are_not_finite_do_not_hide_the_others(tmp_path: Path) -> None:
    run = study_runs(STUDY)[-1]
    telemetry = pd.DataFrame(
        [
            (run.run_id, step, scope, "wte.weight", metric, value)
            for step, l2, amax in ((10, 3.0, 0.5), (16, math.inf, math.nan), (20, 4.0, math.nan))
            for scope, metric, value in (
                ("gradient", "l2_norm", l2),
                ("gradient", "linf_norm", l2),
                ("weight", "amax", amax),
                ("weight", "range_bits", 7.0),
                ("weight", "elements", 8.0),
            )
        ],
        columns=["run_id", "step", "scope", "tensor", "metric", "value"],
    )
    row = telemetry_tables({run.run_id: run}, telemetry).tensors.iloc[0]
    assert row["gradient_l2"] == pytest.approx(math.sqrt((9 + 16) / 2)) and row["gradient_linf"] == 4.0
    assert (row["amax"], row["range_bits"]) == (0.5, 7.0)


def test_rates_without_a_denominator_are_nan() -> None:
    nothing = pd.DataFrame([dict.fromkeys([column.name for column in (*COUNTS, *SUMS)], 0)])
    assert rates(nothing).isna().all(axis=None)
    assert list(rates(nothing)) == [column.name for column in RATES]
    counted = rates(nothing.assign(elements=10, flips=2, grad_output_elements=8, grad_output_underflow=6, clipped=1))
    known = counted.iloc[0].dropna().to_dict()
    zero = dict.fromkeys(["zero_update_rate", "overflow_rate", "underflow_rate", "update_underflow_rate"], 0.0)
    assert known == {**zero, "flip_rate": 0.2, "grad_output_overflow_rate": 0.0, "grad_output_underflow_rate": 0.75}


def test_clipping_and_casts_are_counted_where_they_are_on(tmp_path: Path) -> None:
    study = make_study(
        formats=["E4M3"],
        storages=["nearest"],
        seeds=[1],
        training={"steps": 40, "batch_size": 2, "eval_every": 20, "device": "cpu", "partition_clip": True},
        quantization={"input": "same", "grad_output": "E5M2"},
    )
    folders = fabricate(study, tmp_path, lambda run: 2.0, lambda run, tensor: Rates(clipped=5, input_overflow=3))
    tables = tabulate_study(study, folders, corpus_meta=CORPUS_META)
    row = tables["tensors"].set_index(["run_id", "tensor"]).loc["E4M3-adamw-nearest-all-lr0.01-s1", "wte.weight"]
    # 400 elements x 40 steps, 5 per mille clipped, 3 and 20 per mille of inputs, 300 per mille of output gradients.
    assert row[["clip_elements", "clipped", "input_overflow", "input_underflow"]].tolist() == [16_000, 80, 48, 320]
    assert row["clip_rate"] == 0.005 and row["input_overflow_rate"] == 0.003 and row["input_underflow_rate"] == 0.02
    assert row["grad_output_overflow_rate"] == 0.0 and row["grad_output_underflow_rate"] == 0.3
    counters = tables["counters"].query("run_id == @row.name[0] and layer_type == 'all' and step == 10")
    values = counters.set_index("metric")["value"]
    assert (values["grad_output_underflow"], values["grad_output_underflow_rate"]) == (3000, 0.3)


def test_without_clipping_and_casts_counts_are_0_and_rates_nan(tables: dict[str, pd.DataFrame]) -> None:
    tensors = tables["tensors"]
    names = ["clip_elements", "clipped", *(f"{s}_{n}" for s in CASTS for n in ("elements", "overflow", "underflow"))]
    assert (tensors[names] == 0).all(axis=None)
    assert tensors[["clip_rate", "input_overflow_rate", "grad_output_underflow_rate"]].isna().all(axis=None)


def sums(rows: list[tuple[int, str, str, str, float]]) -> TelemetryTables:
    """Return the tables of one run's rows: step, scope, tensor, metric and value."""
    run = study_runs(STUDY)[-1]
    names = ["step", "scope", "tensor", "metric", "value"]
    return telemetry_tables({run.run_id: run}, pd.DataFrame(rows, columns=names).assign(run_id=run.run_id))


def test_descent_quality_is_of_summed_sums_that_stay_floats() -> None:
    made = sums(
        [
            (step, scope, tensor, metric, value)
            for step, tensor, intended, realised in (
                (10, "wte.weight", 2**-40, 2**-42),
                (20, "wte.weight", 2**-40, 2**-40),
                (10, "lm_head.weight", 2**-38, -(2**-40)),
            )
            for scope, metric, value in (
                ("weight", "elements", 80.0),
                ("update", "intended_sq", intended),
                ("update", "realised_dot", realised),
            )
        ]
    )
    tensors = made.tensors.set_index("tensor")
    assert tensors.loc["wte.weight", ["intended_sq", "realised_dot", "edq"]].tolist() == [2**-39, 1.25 * 2**-40, 0.625]
    assert tensors.loc["lm_head.weight", "edq"] == -0.25
    values = made.counters.set_index(["step", "layer_type", "metric"])["value"]
    assert values[10, "all", "edq"] == -0.15  # (1 - 4) / (4 + 16), in units of 2^-42
    assert values[20, "all", "edq"] == 1.0


def test_a_sum_that_was_not_taken_or_is_no_number_is_nan() -> None:
    old = sums([(10, "weight", "wte.weight", "elements", 80.0)])
    assert math.isnan(old.tensors["intended_sq"].iloc[0]) and math.isnan(old.tensors["edq"].iloc[0])
    rows = [(step, "weight", "wte.weight", "elements", 80.0) for step in (10, 20)]
    rows += [(20, "update", "wte.weight", name, 1.0) for name in ("intended_sq", "realised_dot")]
    broken = sums([*rows, *((10, "update", "wte.weight", name, math.nan) for name in ("intended_sq", "realised_dot"))])
    assert math.isnan(broken.tensors["edq"].iloc[0])
    by_step = broken.counters.query("metric == 'edq' and layer_type == 'all'").set_index("step")["value"]
    assert math.isnan(by_step[10]) and by_step[20] == 1.0
    # A window without a step that was applied has rows of casts alone, and takes nothing from the others.
    idle = sums([*rows[:1], *rows[2:], (30, "input", "wte.weight", "elements", 8.0)])
    assert idle.tensors["input_elements"].iloc[0] == 8


def test_batches_lose_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("altgrad.analysis.telemetry_tables.BATCH_ROWS", 5)
    frames = [pd.DataFrame({"x": range(n)}) for n in (3, 3, 1, 7, 2)]
    assert [len(batch) for batch in batches(frames)] == [6, 8, 2]


def test_timing_leaves_the_first_window_out() -> None:
    names = ["run_id", "step", "tokens_per_s", "step_s", "data_s", "forward_backward_s", "optimizer_s", "telemetry_s"]
    rows = [["r", 10 * i, v, v, v, v, v, v] for i, v in enumerate([900.0, 1.0, 3.0, 8.0])]
    timing = pd.DataFrame(rows, columns=names).assign(peak_memory_bytes=[5, 9, 7, 7])
    timing = timing.assign(**{column.name: [9.0, 0.0, 0.75, 0.0] for column in PROBE_TIMES})
    summary = timing_summary(timing).iloc[0]
    assert (summary["windows"], summary["tokens_per_s"], summary["peak_memory_bytes"]) == (3, 3.0, 9)
    assert summary["probe_rank_s"] == 0.25  # a mean: most windows have no probe
    assert timing_summary(timing.iloc[:1]).iloc[0]["tokens_per_s"] == 900.0
    assert timing_summary(timing.iloc[:0]).empty


def test_study_info_goes_through_its_table() -> None:
    info = study_info(STUDY, CORPUS_META, {"unigram": 3.0, "bigram": 2.5})
    assert (info.unigram_loss, info.bigram_loss) == (3.0, 2.5)
    assert study_info(STUDY, CORPUS_META).bigram_loss is None
    assert from_frame(to_frame(info)) == info
    assert (info.corpus_revision, info.corpus_licence) == ("0123abcd", "CC-BY-4.0")
    assert (info.planned_runs, info.train_tokens, info.synthetic, info.tokens_per_run) == (6, 12_000, True, 1280)
    with pytest.raises(TableError, match="table study: it lacks title"):
        from_frame(to_frame(info).query("key != 'title'"))


def test_another_corpus_than_the_studys_is_refused() -> None:
    with pytest.raises(CorpusError, match="it is 'other', and the study's is 'laws'"):
        study_info(STUDY, {**CORPUS_META, "name": "other"})
