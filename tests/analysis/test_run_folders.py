import copy
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from altgrad.analysis.run_folders import collect_runs
from altgrad.analysis.tabulate import tabulate_study
from altgrad.errors import AltGradError, MismatchError, TableError
from altgrad.parquet import arrow_schema
from altgrad.schema import PROBE_TIMES, TELEMETRY, TIMING
from altgrad.study.config import StudyConfig
from altgrad.study.grid import study_runs
from altgrad.study.runs import RunConfig
from tests.analysis.fabricate import Rates, make_study, write_run


def rates(_run: RunConfig, _tensor: str) -> Rates:
    return Rates()


def one(study: StudyConfig, folder: Path, loss: float | None = 2.0, **summary: object) -> Path:
    return write_run(study_runs(study)[-1], folder, loss, rates, **summary)


def test_roles_come_from_the_study(tmp_path: Path) -> None:
    study = make_study()
    runs = study_runs(study)
    folders = [write_run(runs[0], tmp_path, 2.0, rates), write_run(runs[-1], tmp_path, 2.0, rates)]
    found = collect_runs(study, folders, [], None)
    assert [run.role for run in found.values()] == ["baseline", "grid"]
    assert all(run.comparable for run in found.values())


@pytest.mark.parametrize("included", [False, True])
def test_layer_types_keep_the_studys_order(tmp_path: Path, included: bool) -> None:
    # A run's config.json is sorted by key; sorted, `every` would come before `late` and take all of its tensors.
    study = make_study(layer_types={"all": ["*"], "late": ["lm_head"], "every": ["*"]})
    folder = one(study, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config, sort_keys=True))
    arguments = ([], [folder]) if included else ([folder], [])
    run = next(iter(collect_runs(study, *arguments, None).values()))
    assert list(run.config.layer_types) == ["all", "late", "every"]


def refused(study: StudyConfig, folder: Path, fingerprint: str | None = None) -> AltGradError:
    with pytest.raises(AltGradError) as error:
        collect_runs(study, [folder], [], fingerprint)
    assert "\n" not in str(error.value)
    return error.value


def test_a_run_of_another_config_is_refused_by_the_field_that_differs(tmp_path: Path) -> None:
    changed = make_study(training={"steps": 40, "batch_size": 4, "eval_every": 20, "device": "cpu"})
    error = refused(make_study(), one(changed, tmp_path))
    assert isinstance(error, MismatchError)
    assert "its training.batch_size is 4, and the study's is 2" in str(error)


def test_a_run_of_an_unknown_id_is_refused(tmp_path: Path) -> None:
    error = refused(make_study(), one(make_study(formats=["E5M2"]), tmp_path))
    assert "E5M2-manifold-master-all-lr0.01-s3 is no run of the study. Leave it out, or name it" in str(error)


def test_a_later_revision_is_refused(tmp_path: Path) -> None:
    run = study_runs(make_study())[-1].model_copy(update={"revision": 99})
    error = refused(make_study(), write_run(run, tmp_path, 2.0, rates))
    assert "training revision 99, and this altgrad knows up to" in str(error)


def test_another_corpus_is_refused(tmp_path: Path) -> None:
    error = refused(make_study(), one(make_study(), tmp_path), fingerprint="0" * 16)
    assert "it was trained on other tokens than the corpus given" in str(error)


def test_a_swapped_summary_is_refused(tmp_path: Path) -> None:
    error = refused(make_study(), one(make_study(), tmp_path, config_hash="0" * 64))
    assert "summary.json and config.json are of different runs" in str(error)


def test_a_config_of_another_version_is_refused_by_its_key(tmp_path: Path) -> None:
    folder = one(make_study(), tmp_path)
    config = json.loads((folder / "config.json").read_text()) | {"novelty": 1}
    (folder / "config.json").write_text(json.dumps(config))
    error = refused(make_study(), folder)
    assert "config.json: novelty: extra inputs are not permitted" in str(error)


@pytest.mark.parametrize("missing", ["config.json", "summary.json"])
def test_an_unfinished_run_is_refused(tmp_path: Path, missing: str) -> None:
    folder = one(make_study(), tmp_path)
    (folder / missing).unlink()
    assert f"{missing}: it is missing, so this is no finished run" in str(refused(make_study(), folder))


def test_a_broken_summary_is_refused(tmp_path: Path) -> None:
    folder = one(make_study(), tmp_path)
    (folder / "summary.json").write_text("{")
    assert "summary.json: it is not JSON" in str(refused(make_study(), folder))


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    study = make_study()
    first, second = one(study, tmp_path / "a"), one(study, tmp_path / "b")
    with pytest.raises(TableError, match=r"holds a run of the same id, E7M0-manifold-master-all-lr0.01-s3"):
        collect_runs(study, [first], [second], None)


PROBES = tuple(column.name for column in PROBE_TIMES)


def as_before_probes(folder: Path, drop: tuple[str, ...] = PROBES) -> Path:
    """Turn a run's folder into one of a revision that knew no probes, casts and interventions."""
    config = json.loads((folder / "config.json").read_text())
    del config["telemetry"]["probes"], config["training"]["partition_clip"], config["training"]["mantissa_shift"]
    del config["quantization"]["input"], config["quantization"]["grad_output"]
    del config["update_spec"]["lr_scale"], config["update_spec"]["metric"]
    config["revision"] = 1
    (folder / "config.json").write_text(json.dumps(config))
    decides = {**copy.deepcopy(config), "telemetry": {"window": config["telemetry"]["window"]}}
    for key in ("study", "role", "layer_types"):
        del decides[key]
    del decides["training"]["checkpoint_every"], decides["update_spec"]["geometry_aware"]
    flat = flattened(decides)
    text = json.dumps(flat, sort_keys=True, separators=(",", ":"))
    summary = json.loads((folder / "summary.json").read_text())
    summary |= {"config_hash": hashlib.sha256(text.encode()).hexdigest(), "revision": 1}
    (folder / "summary.json").write_text(json.dumps(summary))
    table = pq.read_table(folder / "timing.parquet").drop_columns(list(drop))
    pq.write_table(table, folder / "timing.parquet")
    telemetry = pq.read_table(folder / "telemetry.parquet").to_pandas()
    later = telemetry["metric"].isin(["intended_sq", "realised_dot"]) | telemetry["step"].eq(20)
    schema = arrow_schema(TELEMETRY)
    pq.write_table(pa.Table.from_pandas(telemetry[~later], schema, preserve_index=False), folder / "telemetry.parquet")
    return folder


def flattened(value: dict[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat |= {f"{key}.{name}": leaf for name, leaf in flattened(item).items()}
        else:
            flat[key] = item
    return flat


def test_a_run_of_a_revision_before_probes_is_read(tmp_path: Path) -> None:
    study = make_study(formats=["E4M3"], updates=["adamw"], storages=["nearest"], seeds=[1])
    folder = as_before_probes(one(make_study(formats=["E5M2"], storages=["nearest"], updates=["adamw"]), tmp_path))
    run = next(iter(collect_runs(study, [], [folder], None).values()))
    assert not run.comparable  # of another revision
    timing = run.timing()
    assert list(timing.columns) == [column.name for column in TIMING]
    assert (timing[list(PROBES)] == 0.0).all(axis=None)
    tables = tabulate_study(study, [], included=[folder])
    assert tables["tensors"]["edq"].isna().all() and (tables["tensors"]["elements"] > 0).all()
    assert len(tables["timing_summary"]) == 1


def test_an_old_run_with_a_changed_config_is_refused(tmp_path: Path) -> None:
    folder = as_before_probes(one(make_study(), tmp_path))
    config = json.loads((folder / "config.json").read_text()) | {"lr": 0.5}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(MismatchError, match=r"summary\.json and config\.json are of different runs"):
        collect_runs(make_study(), [], [folder], None)


def test_a_timing_table_with_some_of_the_probes_is_refused(tmp_path: Path) -> None:
    folder = as_before_probes(one(make_study(), tmp_path), drop=PROBES[1:])
    run = next(iter(collect_runs(make_study(), [], [folder], None).values()))
    with pytest.raises(TableError, match=r"timing.parquet: it has the columns"):
        run.timing()


def renamed(study: StudyConfig, folder: Path, **fields: object) -> Path:
    """Write the study's last run under another id."""
    run = study_runs(study)[-1].model_copy(update={"run_id": "copy", **fields})
    return write_run(run, folder, 2.0, rates)


def test_two_runs_in_one_place_of_the_study_are_refused(tmp_path: Path) -> None:
    study = make_study()
    own, copy = one(study, tmp_path / "a"), renamed(study, tmp_path / "b")
    with pytest.raises(TableError) as error:
        collect_runs(study, [own], [copy], None)
    assert str(own) in str(error.value) and str(copy) in str(error.value) and "\n" not in str(error.value)
    assert "holds the same format, update, storage, layers, lr and seed under another id" in str(error.value)


def test_a_run_in_another_place_or_beside_the_comparison_is_not_refused(tmp_path: Path) -> None:
    study = make_study()
    other_seed = renamed(study, tmp_path / "b", seed=9)
    assert len(collect_runs(study, [one(study, tmp_path / "a")], [other_seed], None)) == 2
    apart = renamed(make_study(model=MODEL), tmp_path / "c")
    assert len(collect_runs(study, [tmp_path / "a" / study_runs(study)[-1].run_id], [apart], None)) == 2


MODEL = {"n_layer": 2, "n_head": 1, "n_embd": 8, "block_size": 16}
OTHER_UPDATES = {
    "adamw": {"optimizer": "manifold_adamw", "geometry_aware": False},
    "manifold": {"optimizer": "manifold_adamw", "metric_power": -0.5, "geometry_aware": True},
}


@pytest.mark.parametrize(
    ("changes", "comparable"),
    [
        ({"study": "elsewhere"}, True),
        ({"study": "elsewhere", "model": MODEL}, False),
        ({"study": "elsewhere", "update_specs": OTHER_UPDATES}, False),
        ({"study": "elsewhere", "quantization": {"scaling": "current"}}, False),
    ],
)
def test_an_included_run_is_compared_only_where_it_matches(
    tmp_path: Path, changes: dict[str, object], comparable: bool
) -> None:
    folder = one(make_study(formats=["E5M2"], **changes), tmp_path)
    found = collect_runs(make_study(), [], [folder], None)
    assert [(run.role, run.comparable) for run in found.values()] == [("included", comparable)]


def test_an_included_run_on_another_corpus_is_not_compared(tmp_path: Path) -> None:
    folder = one(make_study(formats=["E5M2"]), tmp_path, corpus_fingerprint="0" * 16)
    assert not next(iter(collect_runs(make_study(), [], [folder], "f" * 16).values())).comparable
