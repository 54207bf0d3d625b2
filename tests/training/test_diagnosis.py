"""The diagnostics of a run's folder: the right format and scale for every weight, and files that are not a run's."""

import errno
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from altgrad.errors import CheckpointError, ConfigError, MismatchError, TableError
from altgrad.models.gpt import GPT
from altgrad.nn import PrecisionPlan, named_quantized_weights, quantize_model
from altgrad.parquet import read_table
from altgrad.schema import DIAGNOSTICS
from altgrad.study.config import RunConfig
from altgrad.telemetry.probes import weight_probes
from altgrad.training.diagnosis import diagnose_run
from altgrad.training.setup import build_model
from tests.training.conftest import MakeRun

ON_THE_GRID = {"grid_alignment_mean", "grid_alignment_p99", "code_entropy_bits", "codes_used_fraction", "ulp_p50"}


def make_folder(folder: Path, run: RunConfig, patterns: dict[str, str], **scaling: Any) -> GPT:
    """Write what `altgrad train` leaves of a run, with weights fresh from the initialization, and return its model."""
    model = quantize_model(build_model(run, vocab_size=40), PrecisionPlan(patterns, **scaling))
    data = save({name: tensor.clone() for name, tensor in model.state_dict().items()})
    folder.mkdir(parents=True)
    (folder / "final.safetensors").write_bytes(data)
    (folder / "config.json").write_text(run.model_dump_json())
    files = {"final.safetensors": hashlib.sha256(data).hexdigest()}
    (folder / "summary.json").write_text(json.dumps({"run_id": run.run_id, "files": files}))
    return model


def rows_of(path: Path) -> dict[tuple[str, str, str], float]:
    table = read_table(path, DIAGNOSTICS).to_pylist()
    rows = {(row["run_id"], row["tensor"], row["metric"]): row["value"] for row in table}
    assert len(rows) == len(table)
    return rows


@pytest.mark.parametrize("per_row", [False, True])
def test_every_quantized_weight_is_probed_in_its_format_at_its_scale(
    tmp_path: Path, make_run: MakeRun, per_row: bool
) -> None:
    run = make_run(layer="mlp", quantization={"per_row": per_row})
    patterns = {"blocks.*.mlp.*": "E4M3", "*": "BF16"}
    model = make_folder(tmp_path / "run", run, patterns, per_row=per_row)
    diagnose_run(tmp_path / "run", tmp_path / "new" / "out.parquet")
    rows = rows_of(tmp_path / "new" / "out.parquet")
    expected = {
        (run.run_id, name, metric): value
        for name, weight, scaler in named_quantized_weights(model)
        for metric, value in weight_probes(weight.detach(), scaler.fmt, scaler.scale).items()
    }
    assert rows == expected
    tensors = {tensor for _, tensor, metric in rows if metric in ON_THE_GRID}
    assert tensors == {"blocks.0.mlp.c_fc.weight", "blocks.0.mlp.c_proj.weight"}
    assert {tensor for _, tensor, _ in rows} == {
        "wte.weight",
        "wpe.weight",
        "lm_head.weight",
        *(f"blocks.0.{layer}.weight" for layer in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")),
    }


def test_the_baseline_has_the_metrics_of_a_reference_format(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(format="BF16", update="adamw", storage="master")
    make_folder(tmp_path / "run", run, {"*": "BF16"})
    diagnose_run(tmp_path / "run", tmp_path / "out.parquet")
    metrics = {metric for _, _, metric in rows_of(tmp_path / "out.parquet")}
    assert metrics == {"amax", "range_bits", "zero_fraction", "stable_rank"}


def test_a_tied_weight_appears_under_both_names(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(model={"tie_weights": True})
    make_folder(tmp_path / "run", run, {"*": "E4M3"})
    diagnose_run(tmp_path / "run", tmp_path / "out.parquet")
    rows = rows_of(tmp_path / "out.parquet")
    for (run_id, tensor, metric), value in rows.items():
        if tensor == "wte.weight":
            assert rows[run_id, "lm_head.weight", metric] == value


def test_equal_runs_give_equal_bytes(tmp_path: Path, make_run: MakeRun) -> None:
    for name in ("a", "b"):
        make_folder(tmp_path / name, make_run(), {"*": "E4M3"})
        diagnose_run(tmp_path / name, tmp_path / f"{name}.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_weights_that_diverged_give_nan(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run()
    folder = tmp_path / "run"
    model = make_folder(folder, run, {"*": "E4M3"})
    with torch.no_grad():
        model.wte.raw_weight[0, 0] = math.nan
    _replace_weights(folder, {name: tensor.clone() for name, tensor in model.state_dict().items()})
    diagnose_run(folder, tmp_path / "out.parquet")
    rows = rows_of(tmp_path / "out.parquet")
    assert math.isnan(rows[run.run_id, "wte.weight", "stable_rank"])
    assert not math.isnan(rows[run.run_id, "wpe.weight", "stable_rank"])


def _flip(folder: Path) -> None:
    data = bytearray((folder / "final.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "final.safetensors").write_bytes(bytes(data))


def _replace_weights(folder: Path, tensors: dict[str, torch.Tensor] | bytes) -> None:
    data = tensors if isinstance(tensors, bytes) else save(tensors)
    (folder / "final.safetensors").write_bytes(data)
    summary = json.loads((folder / "summary.json").read_text())
    summary["files"]["final.safetensors"] = hashlib.sha256(data).hexdigest()
    (folder / "summary.json").write_text(json.dumps(summary))


FAULTS: dict[str, tuple[Any, type[Exception], str]] = {
    "flipped bit": (_flip, CheckpointError, "its hash is not the one in summary.json: it is damaged"),
    "no weights": (
        lambda folder: (folder / "final.safetensors").unlink(),
        CheckpointError,
        "final.safetensors: it cannot be read (No such file or directory)",
    ),
    "not safetensors": (
        lambda folder: _replace_weights(folder, b"nonsense that is no header"),
        CheckpointError,
        "final.safetensors: it cannot be read",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), ConfigError, "config.json: it cannot be read"),
    "no summary": (lambda folder: (folder / "summary.json").unlink(), ConfigError, "summary.json: it cannot be read"),
    "no hashes": (
        lambda folder: (folder / "summary.json").write_text(
            json.dumps({"run_id": json.loads((folder / "config.json").read_text())["run_id"]})
        ),
        CheckpointError,
        "its hash is not the one in summary.json",
    ),
    "another's summary": (
        lambda folder: (folder / "summary.json").write_text('{"run_id": "other"}'),
        MismatchError,
        "its summary is of other, its config of ",
    ),
    "nothing quantized": (
        lambda folder: _replace_weights(folder, {"wte.weight": torch.ones(2, 2)}),
        MismatchError,
        "it holds no quantized weight",
    ),
    "a scale without its weight": (
        lambda folder: _replace_weights(folder, {"wte.weight_scaler.scale": torch.ones(())}),
        MismatchError,
        "it holds a scale for wte.weight, which the run does not quantize",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_is_not_a_finished_run_is_refused(tmp_path: Path, make_run: MakeRun, fault: str) -> None:
    break_it, error, text = FAULTS[fault]
    make_folder(tmp_path / "run", make_run(), {"*": "E4M3"})
    break_it(tmp_path / "run")
    with pytest.raises(error) as caught:
        diagnose_run(tmp_path / "run", tmp_path / "out.parquet")
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out.parquet").exists()


def test_a_full_disk_is_named_and_the_old_file_stays(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    make_folder(tmp_path / "run", make_run(), {"*": "E4M3"})
    out = tmp_path / "out.parquet"
    out.write_bytes(b"old")
    monkeypatch.setattr("altgrad.parquet.os.replace", refuse)
    with pytest.raises(TableError, match=r"out\.parquet: it cannot be written \(errno 28: No space left"):
        diagnose_run(tmp_path / "run", out)
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []
