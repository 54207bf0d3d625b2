"""What an archive gives back: runs that are finished without training, and tables that say the same."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from altgrad.analysis.tabulate import tabulate_study
from altgrad.errors import CheckpointError, ConfigError
from altgrad.parquet import read_table
from altgrad.schema import COUNTS, RATES, SUMS, TELEMETRY
from altgrad.study.config import StudyConfig
from altgrad.study.grid import result_fields, study_arms
from altgrad.study.runs import ArmConfig, RunConfig, TuneConfig
from altgrad.telemetry.thinning import complete, thin
from altgrad.training.archive import pack, unpack
from altgrad.training.archive_file import Contents, read_archive, write_archive
from altgrad.training.archive_runs import Thinning
from altgrad.training.diagnosis import diagnose_run
from altgrad.training.loop import Trainer
from altgrad.training.run import OUTPUTS, train_run
from altgrad.training.sweep import train_arm
from altgrad.training.tune import tune_cell
from tests.training.conftest import TINY, MakeRun

FEW = Thinning(points=3, windows=1)
PROBES = {"gradients": 6, "weights": 6, "updates": 6, "rank": 4, "hessian": 12}


def silent(message: str) -> None:
    """Say nothing."""


class Bench(NamedTuple):
    """A tiny tuned study in a results folder."""

    study: StudyConfig
    corpus: Path
    results: Path

    @property
    def arms(self) -> tuple[ArmConfig, ArmConfig]:
        plain, tuned = study_arms(self.study)
        return plain, tuned

    def run(self, results: Path) -> None:
        """Take every run to its end, as the graph does: tuned, trained, diagnosed."""
        plain, tuned = self.arms
        assert self.study.tuning is not None and plain.lr is not None
        for folder in ("tuning", "runs", "trials", "diagnostics"):
            (results / folder).mkdir(parents=True, exist_ok=True)
        config, out = TuneConfig(arm=tuned, tuning=self.study.tuning), results / "tuning" / f"{tuned.arm}.json"
        assert tune_cell(config, self.corpus, results / "trials", out, silent) == 0
        for arm, lr in ((plain, plain.lr), (tuned, json.loads(out.read_text())["lr"])):
            assert train_arm(arm, lr, self.corpus, results / "runs", silent) == 0
        for folder in sorted((results / "runs").iterdir()):
            diagnose_run(folder, results / "diagnostics" / f"{folder.name}.parquet", silent)

    def tables(self, results: Path) -> dict[str, pd.DataFrame]:
        folders = sorted((results / "runs").iterdir())
        return tabulate_study(
            self.study, folders, tuning=results / "tuning", diagnostics=results / "diagnostics",
            corpus_meta=json.loads((self.corpus / "meta.json").read_text()),
        )  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> Bench:
    grid = {**{key: value for key, value in TINY["grids"][0].items() if key != "lrs"}, "seeds": [1, 2]}
    study = {
        **TINY,
        "grids": [grid],
        "tuning": {"lowest_lr": 1e-2, "start": 3, "max_lrs": 4, "seeds": [101]},
        "telemetry": {**TINY["telemetry"], "window": 2, "probes": PROBES},
    }
    bench = Bench(StudyConfig.model_validate(study), corpus_folder, tmp_path_factory.mktemp("trained"))
    bench.run(bench.results)
    return bench


@pytest.fixture(scope="session")
def packed(trained: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = tmp_path_factory.mktemp("packed") / "archive.tar.xz"
    pack(trained.results, archive, FEW, silent)
    return archive


@pytest.fixture
def copy(trained: Bench, tmp_path: Path) -> Path:
    """The results folder, to be changed."""
    return Path(shutil.copytree(trained.results, tmp_path / "copy"))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Trainer, "__init__", lambda *_, **__: pytest.fail("it trains"))
    yield


def finished(results: Path, kind: str) -> dict[str, Path]:
    return {path.parents[2].name: path for path in results.glob(f"{kind}/*/state/*/finished")}


def test_unpacked_runs_are_handed_out_without_training(
    trained: Bench, packed: Path, tmp_path: Path, no_training: None
) -> None:
    results, said = tmp_path / "new", list[str]()
    unpack(packed, results, said.append)
    trials = len(finished(trained.results, "trials"))
    assert said == [f"{results}: 3 runs and {trials} trials from {packed}"] and trials >= 3
    assert {path.name for path in results.iterdir()} == {"runs", "trials"}
    assert not list(results.glob("runs/*/*.json"))

    trained.run(results)
    tuning = f"tuning/{trained.arms[1].arm}.json"
    assert json.loads((results / tuning).read_text()) == json.loads((trained.results / tuning).read_text())
    for run in (results / "runs").iterdir():
        assert {path.name for path in run.iterdir()} == {
            "config.json", "telemetry.parquet", "timing.parquet", "diagnostics.parquet", "summary.json", "state",
        }  # fmt: skip
    for trial in (results / "trials").iterdir():
        assert {path.name for path in trial.iterdir()} == {"config.json", "summary.json", "state"}


def test_configs_summaries_and_stamps_come_back(trained: Bench, packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path, silent)
    for kind in ("runs", "trials"):
        before, after = finished(trained.results, kind), finished(tmp_path, kind)
        assert before.keys() == after.keys()
        for name, folder in after.items():
            assert folder.parent.name == before[name].parent.name
            assert (folder / "config.json").read_bytes() == (before[name] / "config.json").read_bytes()
            was, is_now = (json.loads((path / "summary.json").read_text()) for path in (before[name], folder))
            assert set(is_now.pop("files")) == {path.name for path in folder.iterdir()} - {"summary.json"}
            assert is_now.pop("archived") is True and was.pop("files")
            assert is_now == was
            stamp = json.loads((folder.parent / "stamp.json").read_text())
            old = json.loads((before[name].parent / "stamp.json").read_text())
            assert stamp == {key: value for key, value in old.items() if not key.startswith("environment.")}


@pytest.mark.parametrize("thinning", [FEW, Thinning(points=6, windows=4)])
def test_tables_of_whole_runs_say_the_same(trained: Bench, tmp_path: Path, thinning: Thinning) -> None:
    pack(trained.results, tmp_path / "archive.tar.xz", thinning, silent)
    unpack(tmp_path / "archive.tar.xz", tmp_path, silent)
    trained.run(tmp_path)
    full, thinned = trained.tables(trained.results), trained.tables(tmp_path)
    assert thinned["runs"].pop("archived").all() and not full["runs"].pop("archived").any()
    for name in ("study", "runs", "tuning", "trials", "events", "formats", "updates"):
        pd.testing.assert_frame_equal(thinned[name], full[name], check_exact=True, obj=name)
    exact = ["run_id", "tensor", "layer_type", "studied", *(c.name for c in (*COUNTS, *SUMS, *RATES))]
    pd.testing.assert_frame_equal(thinned["tensors"][exact], full["tensors"][exact], check_exact=True)
    pd.testing.assert_frame_equal(thinned["tensors"], full["tensors"], check_exact=False, rtol=2**-24, atol=0)
    assert (thinned["tensors"]["amax"] == full["tensors"]["amax"]).all()
    assert (thinned["tensors"]["gradient_linf"] == full["tensors"]["gradient_linf"]).all()
    for name, keys, rtol in (
        ("tensor_diagnostics", ["run_id", "tensor", "metric"], 2**-12),
        ("probes", ["run_id", "step", "scope", "tensor", "metric"], 2**-24),
        ("distributions", ["run_id", "step", "layer_type", "metric", "bin"], 2**-12),
        ("timing_summary", ["run_id"], 2**-24),
    ):
        ours, theirs = (tables[name].set_index(keys).sort_index() for tables in (thinned, full))
        numbers = theirs.loc[ours.index].select_dtypes("float")
        assert len(ours)
        pd.testing.assert_frame_equal(ours[numbers.columns], numbers, check_exact=False, rtol=rtol, atol=0, obj=name)
    val = [tables["curves"].query("metric in ('val_loss', 'val_perplexity')") for tables in (thinned, full)]
    pd.testing.assert_frame_equal(*(v.sort_values(["run_id", "step", "metric"], ignore_index=True) for v in val))
    assert set(thinned["curves"]["metric"]) == set(full["curves"]["metric"]) - {"step_loss"}
    assert set(thinned["counters"]["metric"]) == set(full["counters"]["metric"])
    assert len(thinned["hessian"]) == len(full["hessian"]) > 0


def test_what_is_computed_from_counts_is_what_a_run_writes(trained: Bench) -> None:
    (folder, *_) = finished(trained.results, "runs").values()
    rows = read_table(folder / "telemetry.parquet", TELEMETRY).to_pandas()
    whole = complete(thin(rows, TINY["training"]["steps"], 6, 6))
    keys = ["step", "scope", "tensor", "metric"]
    derived = whole.merge(thin(rows, 12, 6, 6)[keys], how="left", indicator=True)["_merge"] == "left_only"
    both = whole[derived.to_numpy()].merge(rows, on=["run_id", *keys], suffixes=("", "_written"))
    assert set(both["metric"]) >= {"flip_rate", "stall_ratio", "edq", "val_perplexity", "zero_update_rate"}
    assert len(both) == derived.sum()
    means = both["metric"] == "train_perplexity"  # of a loss that is rounded
    pd.testing.assert_series_equal(
        both.loc[~means, "value"], both.loc[~means, "value_written"], rtol=1e-13, check_names=False
    )


def test_packing_again_gives_the_same_bytes_and_so_does_packing_what_was_unpacked(
    trained: Bench, packed: Path, tmp_path: Path
) -> None:
    pack(trained.results, tmp_path / "again.tar.xz", FEW, silent)
    assert (tmp_path / "again.tar.xz").read_bytes() == packed.read_bytes()
    unpack(packed, tmp_path / "new", silent)
    shutil.copytree(trained.results / "tuning", tmp_path / "new" / "tuning")
    pack(tmp_path / "new", tmp_path / "from-new.tar.xz", FEW, silent)
    assert (tmp_path / "from-new.tar.xz").read_bytes() == packed.read_bytes()


def test_what_the_folder_lost_stays_in_the_archive(copy: Path, packed: Path, tmp_path: Path) -> None:
    archive, said = Path(shutil.copy(packed, tmp_path / "archive.tar.xz")), list[str]()
    run = next((copy / "runs").iterdir())
    shutil.rmtree(run)
    shutil.rmtree(copy / "tuning")
    trials = len(list((copy / "trials").iterdir()))
    shutil.rmtree(copy / "trials")
    pack(copy, archive, FEW, said.append)
    assert archive.read_bytes() == packed.read_bytes()
    assert said == [
        f"{archive}: 3 runs and {trials} trials, {archive.stat().st_size} bytes",
        f"in the archive already and not in the results folder, kept: {1 + trials}",
    ]


def test_the_folder_has_its_way_over_the_archive(copy: Path, packed: Path, tmp_path: Path) -> None:
    archive = Path(shutil.copy(packed, tmp_path / "archive.tar.xz"))
    pack(copy, archive, Thinning(points=6, windows=6), silent)
    assert archive.stat().st_size > packed.stat().st_size
    pack(copy, archive, FEW, silent)
    assert archive.read_bytes() == packed.read_bytes()


def test_a_run_of_a_later_revision_takes_the_place_of_the_earlier(
    copy: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, said = tmp_path / "archive.tar.xz", list[str]()
    (folder,) = (path for name, path in finished(copy, "runs").items() if name.startswith("BF16"))
    before = read_archive(packed)
    (old,) = (place for place in before.runs if place[1].startswith("BF16"))
    later = folder.parent.with_name("f" * 12)
    shutil.copytree(folder.parent, later)
    rewrite(later / "finished", config={"revision": 10_000})
    pack(copy, archive, FEW, said.append)
    after = read_archive(archive)
    assert before.runs.keys() - after.runs.keys() == {old} and len(after.runs) == len(before.runs)
    assert said[1:] == ["of an earlier revision and trained again since, left out: 1"]


def rewrite(folder: Path, config: dict[str, Any], later_field: str = "") -> None:
    """Change the config of a finished run, with its hashes; a field of the training section may not be known yet."""
    changed = {**json.loads((folder / "config.json").read_text()), **config}
    fields = result_fields(RunConfig.model_validate(changed))
    if later_field:
        del changed["training"][later_field], fields[f"training.{later_field}"]
    (folder / "config.json").write_text(json.dumps(changed))
    summary = json.loads((folder / "summary.json").read_text())
    del summary["files"]["config.json"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    summary["config_hash"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "summary.json").write_text(json.dumps(summary))


def test_a_run_from_before_a_field_with_a_default_is_found_under_the_key_of_today(
    trained: Bench, copy: Path, packed: Path, tmp_path: Path, no_training: None
) -> None:
    before = read_archive(packed)
    run = trained.arms[0].runs(trained.arms[0].lr or 0.0)[0]
    folder = finished(copy, "runs")[run.run_id]
    rewrite(folder, {}, later_field="plain_lr")
    shutil.move(folder.parent, folder.parent.with_name("0" * 12))
    shutil.rmtree(copy / "trials")
    archive, old = tmp_path / "archive.tar.xz", [replace(run, key="0" * 12) for run in before.runs.values()]
    write_archive(archive, Contents({archived.place: archived for archived in old}))
    pack(copy, archive, FEW, silent)
    assert read_archive(archive).runs.keys() == before.runs.keys()
    unpack(archive, tmp_path / "new", silent)
    assert train_run(run, trained.corpus, tmp_path / "new" / "runs" / run.run_id, True, silent) == 0
    config = json.loads((tmp_path / "new" / "runs" / run.run_id / "config.json").read_text())
    assert "plain_lr" not in config["training"]


def test_unfinished_and_foreign_runs_are_left_out_and_counted(copy: Path, tmp_path: Path) -> None:
    first, second, third = sorted(path.name for path in (copy / "runs").iterdir())
    for path in (copy / "runs" / first).rglob("summary.json"):
        path.unlink()
    (folder,) = (copy / "runs" / second).glob("state/*/finished")
    shutil.rmtree(copy / "trials")
    for place in (folder, copy / "runs" / second):
        summary = json.loads((place / "summary.json").read_text())
        (place / "summary.json").write_text(json.dumps({**summary, "config_hash": "0" * 64}))
    said: list[str] = []
    pack(copy, tmp_path / "archive.tar.xz", FEW, said.append)
    assert [run_id for _, run_id, _ in read_archive(tmp_path / "archive.tar.xz").runs] == [third]
    assert said[0].startswith(f"{tmp_path / 'archive.tar.xz'}: 1 run and 0 trials, ")
    assert said[1:] == [
        "not finished, left out: 1",
        "of another version of altgrad, left out: 1",
    ]


def test_what_is_there_is_left_alone(copy: Path, packed: Path) -> None:
    shutil.rmtree(copy / "trials")
    first, second, _ = sorted(finished(copy, "runs").values())
    (first.parent / "manifest.json").write_text("[]")
    shutil.rmtree(first)
    before = (second / "summary.json").read_bytes()
    said: list[str] = []
    unpack(packed, copy, said.append)
    assert not first.exists() and (second / "summary.json").read_bytes() == before
    assert said[0].startswith(f"{copy}: 0 runs and ") and said[1:] == [
        "finished there already, left alone: 2",
        "begun to train there, left alone: 1",
    ]


def test_a_run_without_its_state_is_packed_too(copy: Path, packed: Path, tmp_path: Path) -> None:
    for state in copy.glob("*/*/state"):
        shutil.rmtree(state)
    pack(copy, tmp_path / "archive.tar.xz", FEW, silent)
    assert (tmp_path / "archive.tar.xz").read_bytes() == packed.read_bytes()


def test_diagnostics_that_are_missing_or_older_than_the_run_are_made_anew(
    copy: Path, packed: Path, tmp_path: Path
) -> None:
    first, second, _ = sorted((copy / "diagnostics").iterdir())
    first.unlink()
    shutil.copyfile(sorted((copy / "diagnostics").iterdir())[-1], second)
    os.utime(second, (0, 0))
    pack(copy, tmp_path / "archive.tar.xz", FEW, silent)
    assert (tmp_path / "archive.tar.xz").read_bytes() == packed.read_bytes()


@pytest.mark.parametrize("name", ["telemetry.parquet", "timing.parquet", "config.json", "summary.json"])
def test_a_damaged_run_is_named_and_nothing_is_written(copy: Path, tmp_path: Path, name: str) -> None:
    (folder, *_) = finished(copy, "runs").values()
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data[:-3] if name == "summary.json" else data)
    with pytest.raises(CheckpointError, match=rf"{name}: it is damaged or missing\. Delete .*/finished to train"):
        pack(copy, tmp_path / "archive.tar.xz", FEW, silent)
    assert not (tmp_path / "archive.tar.xz").exists()


def test_a_folder_with_nothing_to_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it holds neither runs/ nor trials/"):
        pack(tmp_path, tmp_path / "archive.tar.xz", FEW, silent)
    (tmp_path / "runs" / "some").mkdir(parents=True)
    with pytest.raises(ConfigError, match="nothing to pack: 1 of its runs are not finished, 0 of another version"):
        pack(tmp_path, tmp_path / "archive.tar.xz", FEW, silent)
    assert not (tmp_path / "archive.tar.xz").exists()


def test_a_folder_that_cannot_be_made_is_one_line(trained: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"it cannot be made \(errno 20: Not a directory\)"):
        pack(trained.results, tmp_path / "file" / "folder" / "archive.tar.xz", FEW, silent)


def test_new_runs_train_beside_unpacked_ones(
    trained: Bench, packed: Path, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(packed, tmp_path, silent)
    plain, _ = trained.arms
    assert plain.lr is not None
    more, said = plain.model_copy(update={"seeds": (1, 2)}), list[str]()
    assert train_arm(more, plain.lr, trained.corpus, tmp_path / "runs", said.append) == 0
    assert f"{plain.arm}-s1: finished already; handing out its files" in said
    assert {path.name for path in (tmp_path / "runs" / f"{plain.arm}-s2").iterdir()} == {*OUTPUTS, "state"}
    changed = plain.runs(plain.lr)[0].model_copy(update={"lr": 0.5})
    assert train_run(changed, trained.corpus, tmp_path / "runs" / changed.run_id, True, silent) == 0
    assert (tmp_path / "runs" / changed.run_id / "final.safetensors").exists()
    assert train_run(plain.runs(plain.lr)[0], trained.corpus, tmp_path / "runs" / changed.run_id, True, silent) == 0
    assert not (tmp_path / "runs" / changed.run_id / "final.safetensors").exists()
