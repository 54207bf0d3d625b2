"""What a run's folder promises: finished is a no-op, others are refused, divergence is a result."""

import json
import math
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from altgrad.errors import CheckpointError, CorpusError, DeviceError, LockedError, MismatchError
from altgrad.training import process
from altgrad.training import run as run_module
from altgrad.training.loop import Trainer
from altgrad.training.process import exclusive
from altgrad.training.run import OUTPUTS, train_run
from tests.training.conftest import MakeRun


def silent(message: str) -> None:
    """Say nothing."""


def test_finished_is_a_no_op_even_when_its_files_were_deleted(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    train_run(run, corpus_folder, tmp_path, False, silent)
    before = {name: (tmp_path / name).read_bytes() for name in OUTPUTS}
    for name in OUTPUTS:
        (tmp_path / name).unlink()
    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("it trained again"))
    said: list[str] = []
    assert train_run(run, corpus_folder, tmp_path, False, said.append) == 0
    assert {name: (tmp_path / name).read_bytes() for name in OUTPUTS} == before
    assert said == [f"{run.run_id}: finished already; handing out its files"]


def test_another_config_is_refused_by_the_field_that_differs(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path
) -> None:
    train_run(make_run(), corpus_folder, tmp_path, False, silent)
    before = (tmp_path / "summary.json").read_bytes()
    with pytest.raises(MismatchError, match=r"training\.steps was 12 and is 13.*--set-aside"):
        train_run(make_run(training={"steps": 13}), corpus_folder, tmp_path, False, silent)
    assert (tmp_path / "summary.json").read_bytes() == before


def test_set_aside_trains_beside_and_comes_back_without_training(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_run(make_run(), corpus_folder, tmp_path, False, silent)
    first = (tmp_path / "final.safetensors").read_bytes()
    train_run(make_run(training={"steps": 13}), corpus_folder, tmp_path, True, silent)
    assert (tmp_path / "final.safetensors").read_bytes() != first
    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("it trained again"))
    train_run(make_run(), corpus_folder, tmp_path, True, silent)
    assert (tmp_path / "final.safetensors").read_bytes() == first


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
def test_a_compiled_run_learns_what_an_eager_one_does(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    found = {}
    for setting in ("off", "graphs"):  # on a CPU there are no graphs, so this is "on" too
        run = make_run(update="adamw", storage="master", training={"compile": setting}, model={"dropout": 0.0})
        train_run(run, corpus_folder, tmp_path / setting, False, silent)
        found[setting] = json.loads((tmp_path / setting / "summary.json").read_text())
    assert (found["off"]["compiled"], found["graphs"]["compiled"]) == (False, True)
    assert found["graphs"]["val_loss"] == pytest.approx(found["off"]["val_loss"], abs=1e-4)


def test_saving_more_often_changes_nothing(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    train_run(make_run(), corpus_folder, tmp_path / "a", False, silent)
    train_run(make_run(training={"checkpoint_every": 1}), corpus_folder, tmp_path / "b", False, silent)
    for name in ("telemetry.parquet", "final.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_another_thread_count_at_resume_is_refused(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    real = run_module.resolve_environment
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_run(run, corpus_folder, tmp_path, False, silent)

    def other_torch(*arguments: object) -> object:
        environment = real(*arguments)
        object.__setattr__(environment, "torch", "1.0")
        return environment

    monkeypatch.setattr(run_module, "resolve_environment", other_torch)
    with pytest.raises(MismatchError, match=r"environment\.torch was '.*' and is '1\.0'"):
        train_run(run, corpus_folder, tmp_path, False, silent)


def test_divergence_is_a_result_with_its_last_good_weights(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Trainer._gradients

    def poisoned(self: Trainer) -> torch.Tensor:
        loss = real(self)
        return loss * math.nan if self.step >= 7 else loss

    monkeypatch.setattr(Trainer, "_gradients", poisoned)
    assert train_run(make_run(), corpus_folder, tmp_path, False, silent) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "diverged"
    assert summary["val_loss"] is None
    assert summary["steps"] == 8
    assert summary["events"] == [
        {"step": 8, "event": "nonfinite", "kind": "loss"},
        {"step": 8, "event": "diverged", "kind": "loss"},
    ]
    short = make_run(training={"steps": 12})
    finished = {name: tensor for name, tensor in load_file(tmp_path / "final.safetensors").items()}
    monkeypatch.setattr(Trainer, "done", lambda self: self.diverged is not None or self.step >= 7)
    train_run(short, corpus_folder, tmp_path / "seven", False, silent)
    seven = load_file(tmp_path / "seven" / "final.safetensors")
    assert all(torch.equal(finished[name], tensor) for name, tensor in seven.items())


def test_a_divergence_that_reached_the_weights_hands_out_finite_ones(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path
) -> None:
    run = make_run(format="E5M2", update="adamw", storage="master", lr=10000.0, training={"grad_clip": 0})
    run = run.model_copy(update={"lr": 1e38})
    assert train_run(run, corpus_folder, tmp_path, False, silent) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "diverged"
    assert all(bool(tensor.isfinite().all()) for tensor in load_file(tmp_path / "final.safetensors").values())


def test_a_damaged_finished_file_is_refused(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    train_run(make_run(), corpus_folder, tmp_path, False, silent)
    (path,) = tmp_path.glob("state/*/finished/final.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        train_run(make_run(), corpus_folder, tmp_path, False, silent)


def test_a_gpu_asked_for_and_absent_is_an_error(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"no CUDA device\. .*make demo"):
        train_run(make_run(training={"device": "cuda"}), corpus_folder, tmp_path, False, silent)


def test_a_second_process_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOCK_TIMEOUT_S", 0.1)
    with exclusive(tmp_path / "lock"), pytest.raises(LockedError, match="another process is working on this run"):
        with exclusive(tmp_path / "lock"):
            pass


def test_a_folder_that_cannot_be_written_is_found_before_computing(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="it cannot be written to"):
        train_run(make_run(), corpus_folder, tmp_path / "file" / "run", False, silent)


def test_telemetry_and_timing_have_a_row_a_window(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    train_run(make_run(), corpus_folder, tmp_path, False, silent)
    rows = pq.read_table(tmp_path / "telemetry.parquet").to_pandas()
    run_rows = rows[rows.scope == "run"].pivot(index="step", columns="metric", values="value")
    assert list(run_rows.train_loss.dropna().index) == [4, 8, 12]
    assert list(run_rows.val_loss.dropna().index) == [6, 12]
    assert run_rows.val_perplexity[12] == pytest.approx(math.exp(run_rows.val_loss[12]))
    assert list(pq.read_table(tmp_path / "timing.parquet")["step"].to_pylist()) == [4, 8, 12]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["val_loss"] == run_rows.val_loss[12]
    assert summary["tokens"] == 12 * 4 * 16


def test_state_keeps_only_what_is_finished(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    train_run(make_run(), corpus_folder, tmp_path, False, silent)
    (home,) = (path for path in (tmp_path / "state").iterdir() if path.is_dir())
    assert sorted(path.name for path in home.iterdir()) == ["finished", "live.json", "stamp.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*OUTPUTS, "state"])
    shutil.rmtree(home)
    with pytest.raises(MismatchError, match="a finished run without its state"):
        train_run(make_run(), corpus_folder, tmp_path, False, silent)


def test_a_no_op_touches_nothing_and_an_edited_file_is_handed_out_again(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path
) -> None:
    run = make_run()
    train_run(run, corpus_folder, tmp_path, False, silent)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in OUTPUTS}
    (tmp_path / "config.json").write_text("{}")
    train_run(run, corpus_folder, tmp_path, False, silent)
    assert json.loads((tmp_path / "config.json").read_text())["run_id"] == run.run_id
    same = [name for name in OUTPUTS if (tmp_path / name).stat().st_mtime_ns == before[name]]
    assert same == list(OUTPUTS[1:])


@pytest.mark.parametrize("set_aside", [False, True])
def test_finished_files_without_their_state_are_never_overwritten(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, set_aside: bool
) -> None:
    train_run(make_run(), corpus_folder, tmp_path, False, silent)
    shutil.rmtree(tmp_path / "state")
    before = (tmp_path / "summary.json").read_bytes()
    with pytest.raises(MismatchError, match="a finished run without its state"):
        train_run(make_run(lr=0.02), corpus_folder, tmp_path, set_aside, silent)
    assert (tmp_path / "summary.json").read_bytes() == before


def test_ones_own_finished_run_is_handed_out_beside_another(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path
) -> None:
    train_run(make_run(), corpus_folder, tmp_path, False, silent)
    train_run(make_run(training={"steps": 13}), corpus_folder, tmp_path, True, silent)
    assert train_run(make_run(), corpus_folder, tmp_path, False, silent) == 0


def test_a_truncated_summary_is_one_line(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    train_run(make_run(), corpus_folder, tmp_path, False, silent)
    (path,) = tmp_path.glob("state/*/finished/summary.json")
    path.write_bytes(path.read_bytes()[:20])
    (tmp_path / "summary.json").unlink()
    with pytest.raises(CheckpointError, match=r"summary\.json: it is damaged"):
        train_run(make_run(), corpus_folder, tmp_path, False, silent)


def test_changed_training_data_is_refused(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus_folder, tmp_path / "corpus")
    data = bytearray((tmp_path / "corpus" / "train.bin").read_bytes())
    data[100] ^= 1
    (tmp_path / "corpus" / "train.bin").write_bytes(data)
    with pytest.raises(CorpusError, match=r"train\.bin"):
        train_run(make_run(), tmp_path / "corpus", tmp_path / "run", False, silent)


def test_nonfinite_weights_are_never_saved(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Trainer._update

    def poisoned(self: Trainer, loss: float) -> None:
        real(self, loss)
        if self.step == 3:
            self.parts.model.ln_f.weight.data[0] = math.inf

    monkeypatch.setattr(Trainer, "_update", poisoned)
    run = make_run(training={"checkpoint_every": 2, "early_stop": {"loss": 4}}, telemetry={"window": 100})
    train_run(run, corpus_folder, tmp_path, False, silent)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "diverged"
    assert all(bool(tensor.isfinite().all()) for tensor in load_file(tmp_path / "final.safetensors").values())


def test_a_skipped_step_is_counted_and_its_gradients_are_named(
    make_run: MakeRun, corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Trainer._gradients

    def poisoned(self: Trainer) -> torch.Tensor:
        loss = real(self)
        if self.step == 5:
            gradient = self.parts.model.blocks[0].mlp.c_fc.raw_weight.grad
            assert gradient is not None
            gradient[0, 0] = math.inf
        return loss

    monkeypatch.setattr(Trainer, "_gradients", poisoned)
    train_run(make_run(training={"early_stop": {"gradient": 2}}), corpus_folder, tmp_path, False, silent)
    rows = pq.read_table(tmp_path / "telemetry.parquet").to_pandas()
    nonfinite = rows[rows.metric == "nonfinite"].set_index("step").value
    assert nonfinite.to_dict() == {4: 0.0, 8: 1.0, 12: 0.0}
    elements = rows[(rows.metric == "elements") & (rows.tensor == "wte.weight")].set_index("step").value
    assert elements[8] == elements[4] * 3 / 4
    norms = rows[(rows.metric == "l2_norm") & (rows.step == 6)].set_index("tensor").value
    assert [name for name, norm in norms.items() if not math.isfinite(norm)] == ["blocks.0.mlp.c_fc.weight"]
    assert (norms[norms.index != "blocks.0.mlp.c_fc.weight"] > 0).all()
    assert json.loads((tmp_path / "summary.json").read_text())["events"] == [
        {"step": 6, "event": "nonfinite", "kind": "gradient"}
    ]


def test_gradient_norms_are_those_before_clipping(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    train_run(make_run(training={"grad_clip": 1e-3}), corpus_folder, tmp_path, False, silent)
    rows = pq.read_table(tmp_path / "telemetry.parquet").to_pandas()
    for step in (4, 8, 12):
        parts = rows[(rows.metric == "l2_norm") & (rows.step == step)].value
        total = rows[(rows.metric == "grad_norm") & (rows.step == step)].value.item()
        assert total > 1e-2
        assert (parts**2).sum() ** 0.5 == pytest.approx(total, rel=1e-5)


def test_every_step_has_its_loss(make_run: MakeRun, corpus_folder: Path, tmp_path: Path) -> None:
    train_run(make_run(), corpus_folder, tmp_path, False, silent)
    rows = pq.read_table(tmp_path / "telemetry.parquet").to_pandas()
    losses = rows[rows.metric == "step_loss"].set_index("step").value
    means = rows[rows.metric == "train_loss"].set_index("step").value
    assert list(losses.index) == list(range(1, 13))
    assert means[8] == pytest.approx(losses.loc[5:8].mean())
