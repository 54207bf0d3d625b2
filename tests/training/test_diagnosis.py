"""The diagnostics of weights, from a run or a file: the right format and scale for each, and what is refused."""

import errno
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file, save, save_file

from altgrad.errors import CheckpointError, ConfigError, MismatchError, TableError, UnknownFormatError
from altgrad.models.gpt import GPT
from altgrad.nn import PrecisionPlan, named_quantized_weights, quantize_model
from altgrad.parquet import read_table
from altgrad.schema import DIAGNOSTICS
from altgrad.study.grid import config_hash
from altgrad.study.runs import RunConfig
from altgrad.telemetry.probes import weight_probes
from altgrad.training.checkpoint import StateFolder
from altgrad.training.diagnosis import diagnose_run, diagnose_weights
from altgrad.training.process import exclusive
from altgrad.training.run_weights import stamped_run
from altgrad.training.setup import build_model
from altgrad.training.stamp import run_stamp, state_key, write_stamp
from tests.training.conftest import MakeRun

ON_THE_GRID = {"grid_alignment_mean", "grid_alignment_p99", "code_entropy_bits", "codes_used_fraction", "ulp_p50"}


def silent(message: str) -> None:
    """Say nothing."""


def test_kept_signs_are_those_of_the_initial_weights(tmp_path: Path, make_run: MakeRun) -> None:
    run, name = make_run(layer="mlp"), "blocks.0.mlp.c_fc.weight"
    make_folder(tmp_path / "run", run, {"blocks.*.mlp.*": "E4M3", "*": "BF16"})
    state = load((tmp_path / "run" / "final.safetensors").read_bytes())
    state[name][: len(state[name]) // 4] *= -1
    state[name][-1] = 0.0
    data = save(state)
    (tmp_path / "run" / "final.safetensors").write_bytes(data)
    files = {"final.safetensors": hashlib.sha256(data).hexdigest()}
    (tmp_path / "run" / "summary.json").write_text(json.dumps({"run_id": run.run_id, "files": files}))
    diagnose_run(tmp_path / "run", tmp_path / "out.parquet", silent)
    rows = rows_of(tmp_path / "out.parquet", ("sign_kept",))
    rows_kept = len(state[name]) - len(state[name]) // 4 - 1
    assert rows[(run.run_id, name, "sign_kept")] == rows_kept / len(state[name])
    assert rows[(run.run_id, "blocks.0.mlp.c_proj.weight", "sign_kept")] == 1.0


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


def rows_of(path: Path, of_the_run: tuple[str, ...] = ()) -> dict[tuple[str, str, str], float]:
    """Return the probes of weights; and the metrics that need the run's beginning, where they are named."""
    table = read_table(path, DIAGNOSTICS).to_pylist()
    rows = {(row["run_id"], row["tensor"], row["metric"]): row["value"] for row in table}
    assert len(rows) == len(table)
    return {key: value for key, value in rows.items() if key[2] != "sign_kept" or key[2] in of_the_run}


@pytest.mark.parametrize("per_row", [False, True])
def test_every_quantized_weight_is_probed_in_its_format_at_its_scale(
    tmp_path: Path, make_run: MakeRun, per_row: bool
) -> None:
    run = make_run(layer="mlp", quantization={"per_row": per_row})
    patterns = {"blocks.*.mlp.*": "E4M3", "*": "BF16"}
    model = make_folder(tmp_path / "run", run, patterns, per_row=per_row)
    diagnose_run(tmp_path / "run", tmp_path / "new" / "out.parquet", silent)
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
    diagnose_run(tmp_path / "run", tmp_path / "out.parquet", silent)
    metrics = {metric for _, _, metric in rows_of(tmp_path / "out.parquet")}
    assert metrics >= {"amax", "range_bits", "zero_fraction", "stable_rank"} and not metrics & ON_THE_GRID


def test_a_tied_weight_appears_under_both_names(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(model={"tie_weights": True})
    make_folder(tmp_path / "run", run, {"*": "E4M3"})
    diagnose_run(tmp_path / "run", tmp_path / "out.parquet", silent)
    rows = rows_of(tmp_path / "out.parquet")
    for (run_id, tensor, metric), value in rows.items():
        if tensor == "wte.weight":
            assert rows[run_id, "lm_head.weight", metric] == value


def probed(run_id: str, name: str, weight: torch.Tensor, fmt: str, scale: torch.Tensor) -> dict[Any, float]:
    return {(run_id, name, metric): value for metric, value in weight_probes(weight, fmt, scale).items()}


def of_tensor(rows: dict[tuple[str, str, str], float], *names: str) -> dict[tuple[str, str, str], float]:
    return {key: value for key, value in rows.items() if key[1] in names}


def test_a_weight_that_shifted_is_probed_in_its_new_format_and_casts_are_passed_over(
    tmp_path: Path, make_run: MakeRun
) -> None:
    run = make_run(format="E4M3")
    folder = tmp_path / "run"
    model = make_folder(folder, run, {"blocks.0.mlp.c_fc": "E3M4", "*": "E4M3"})
    cast = {f"blocks.0.mlp.c_fc.input_cast.{key}": torch.ones(()) for key in ("scale", "amax_history")}
    _replace_weights(folder, {name: tensor.clone() for name, tensor in model.state_dict().items()} | cast)
    _say_shifts(folder, {"blocks.0.mlp.c_fc.weight": "E3M4"})
    diagnose_run(folder, tmp_path / "out.parquet", silent)
    expected: dict[Any, float] = {}
    for name, weight, scaler in named_quantized_weights(model):
        fmt = "E3M4" if name == "blocks.0.mlp.c_fc.weight" else "E4M3"
        expected |= probed(run.run_id, name, weight.detach(), fmt, scaler.scale)
    assert rows_of(tmp_path / "out.parquet") == expected


def test_a_tied_weight_shifts_under_both_names(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(model={"tie_weights": True})
    model = make_folder(tmp_path / "run", run, {"wte": "E3M4", "lm_head": "E3M4", "*": "E4M3"})
    _say_shifts(tmp_path / "run", {"wte.weight": "E3M4"})
    diagnose_run(tmp_path / "run", tmp_path / "out.parquet", silent)
    rows = rows_of(tmp_path / "out.parquet")
    weight, scale = weight_of(model, "wte.weight")
    for name in ("wte.weight", "lm_head.weight"):
        expected = probed(run.run_id, name, weight, "E3M4", scale)
        assert of_tensor(rows, name) == expected


def test_equal_runs_give_equal_bytes(tmp_path: Path, make_run: MakeRun) -> None:
    for name in ("a", "b"):
        make_folder(tmp_path / name, make_run(), {"*": "E4M3"})
        diagnose_run(tmp_path / name, tmp_path / f"{name}.parquet", silent)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_weights_that_diverged_give_nan(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run()
    folder = tmp_path / "run"
    model = make_folder(folder, run, {"*": "E4M3"})
    with torch.no_grad():
        next(model.parameters())[0, 0] = math.nan  # wte.weight
    _replace_weights(folder, {name: tensor.clone() for name, tensor in model.state_dict().items()})
    diagnose_run(folder, tmp_path / "out.parquet", silent)
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


def _say_shifts(folder: Path, shifts: Any) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "shifts": shifts}))


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
    "no summary and no state": (
        lambda folder: (folder / "summary.json").unlink(),
        CheckpointError,
        "it holds neither a finished run nor the restart state of one",
    ),
    "shifts that are none": (
        lambda folder: _say_shifts(folder, ["wte.weight"]),
        CheckpointError,
        "its shifts are ['wte.weight'], not formats by weight",
    ),
    "a shift of no weight": (
        lambda folder: _say_shifts(folder, {"wte": "E4M3"}),
        MismatchError,
        "wte is said to have shifted, and is no quantized weight",
    ),
    "a shift to no format": (
        lambda folder: _say_shifts(folder, {"wte.weight": "E9M9"}),
        UnknownFormatError,
        "'E9M9' is not a format",
    ),
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
        diagnose_run(tmp_path / "run", tmp_path / "out.parquet", silent)
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
        diagnose_run(tmp_path / "run", out, silent)
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def make_state(
    folder: Path, run: RunConfig, *steps: int, corpus: str = "c", **more: Any
) -> tuple[Path, dict[int, GPT]]:
    """Write the restart state of a run that was interrupted; return its folder, and the model of each step."""
    home = folder / "state" / state_key(run, corpus)
    state = StateFolder(home, silent)
    write_stamp(home, {**run_stamp(run, corpus), "environment.torch": "2", "environment.threads": 1})
    models = {}
    for step in steps:
        models[step] = quantize_model(build_model(run, vocab_size=40), PrecisionPlan({"*": "E4M3"}))
        with torch.no_grad():
            next(models[step].parameters()).mul_(1.0 + step / 7.0)
        state.save(step, {"model": models[step].state_dict(), **more}, {f"telemetry-{step:09d}.parquet": b"x"})
    return home, models


def weight_of(model: GPT, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a quantized weight and its scale."""
    return next((raw.detach(), scaler.scale) for key, raw, scaler in named_quantized_weights(model) if key == name)


def rows_of_model(run_id: str, model: GPT) -> dict[Any, float]:
    rows: dict[Any, float] = {}
    for name, weight, scaler in named_quantized_weights(model):
        rows |= probed(run_id, name, weight.detach(), scaler.fmt.name, scaler.scale)
    return rows


def content(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_a_stamp_has_all_that_a_diagnosis_asks_of_a_run(tmp_path: Path, make_run: MakeRun) -> None:
    custom = {"formats": {"mine": {"exponent_bits": 3, "mantissa_bits": 2}}}
    for number, run in enumerate((make_run(), make_run(format="mine", layer="mlp", **custom))):
        home, _ = make_state(tmp_path / str(number), run, 0)
        assert config_hash(stamped_run(home)) == config_hash(run)


def test_an_interrupted_run_is_probed_at_its_newest_state_and_left_as_it_is(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run()
    home, models = make_state(tmp_path / "run", run, 5, 10)
    (home / "step-000000015.pt.tmp").write_bytes(b"of a process that is writing")
    before, said = content(tmp_path / "run"), list[str]()
    with exclusive(tmp_path / "lock"):
        diagnose_run(tmp_path / "run", tmp_path / "out.parquet", said.append)
    assert rows_of(tmp_path / "out.parquet") == rows_of_model(run.run_id, models[10])
    assert said == [f"{run.run_id}: not finished; these are the weights of step 10 of 12"]
    assert content(tmp_path / "run") == before
    diagnose_run(home, tmp_path / "again.parquet", silent)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "out.parquet").read_bytes()


def test_a_damaged_state_is_passed_over_aloud_and_left_as_it_is(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run()
    home, models = make_state(tmp_path / "run", run, 5, 10)
    (home / "step-000000010.pt").write_bytes(b"damaged")
    before, said = content(tmp_path / "run"), list[str]()
    diagnose_run(tmp_path / "run", tmp_path / "out.parquet", said.append)
    assert rows_of(tmp_path / "out.parquet") == rows_of_model(run.run_id, models[5])
    assert "its hash does not match" in said[0] and "going back to the checkpoint of step 5" in said[1]
    assert content(tmp_path / "run") == before
    (home / "step-000000005.pt").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint in it is whole"):
        diagnose_run(tmp_path / "run", tmp_path / "out.parquet", silent)


def test_a_run_that_goes_on_while_it_is_read_is_read_again(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    home, models = make_state(tmp_path / "run", run, 5, 10)
    real, later, said = StateFolder._read, [15, 20], list[str]()

    def overtaken(self: StateFolder, entry: Any) -> Any:
        while later:
            StateFolder(home, silent).save(later.pop(0), {"model": models[5].state_dict()}, {})
        return real(self, entry)

    monkeypatch.setattr(StateFolder, "_read", overtaken)
    diagnose_run(tmp_path / "run", tmp_path / "out.parquet", said.append)
    assert said == [f"{run.run_id}: not finished; these are the weights of step 20 of 12"]
    assert rows_of(tmp_path / "out.parquet") == rows_of_model(run.run_id, models[5])


def test_the_restart_state_knows_what_shifted(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run()
    _, models = make_state(tmp_path / "run", run, 5, shifts={"wpe.weight": "E3M4"})
    diagnose_run(tmp_path / "run", tmp_path / "out.parquet", silent)
    weight, scale = weight_of(models[5], "wpe.weight")
    expected = probed(run.run_id, "wpe.weight", weight, "E3M4", scale)
    rows, own = rows_of(tmp_path / "out.parquet"), rows_of_model(run.run_id, models[5])
    assert of_tensor(rows, "wpe.weight") == expected
    assert rows == {key: value for key, value in own.items() if key[1] != "wpe.weight"} | expected


def test_of_several_states_the_config_decides(tmp_path: Path, make_run: MakeRun) -> None:
    folder, runs = tmp_path / "run", [make_run(), make_run(lr=0.02), make_run(lr=0.03)]
    homes = [make_state(folder, run, 5)[0] for run in runs[:2]]
    with pytest.raises(MismatchError) as caught:
        diagnose_run(folder, tmp_path / "out.parquet", silent)
    assert all(home.name in str(caught.value) for home in homes) and "\n" not in str(caught.value)
    (folder / "config.json").write_text(runs[1].model_dump_json())
    diagnose_run(folder, tmp_path / "out.parquet", silent)
    assert {run_id for run_id, _, _ in rows_of(tmp_path / "out.parquet")} == {runs[1].run_id}
    (folder / "config.json").write_text(runs[2].model_dump_json())
    with pytest.raises(MismatchError, match=r"of another run than its config\.json"):
        diagnose_run(folder, tmp_path / "out.parquet", silent)


@pytest.mark.parametrize("stamp", ["", "{}", "[1]", '{"model": 1, "model.n_layer": 2}'])
def test_a_state_without_its_stamp_is_refused(tmp_path: Path, make_run: MakeRun, stamp: str) -> None:
    home, _ = make_state(tmp_path / "run", make_run(), 5)
    (home / "stamp.json").write_text(stamp)
    with pytest.raises((CheckpointError, ConfigError), match=r"stamp\.json: ") as caught:
        diagnose_run(tmp_path / "run", tmp_path / "out.parquet", silent)
    assert "\n" not in str(caught.value)


def make_file(folder: Path, plan: str, **tensors: torch.Tensor) -> tuple[Path, Path]:
    generator = torch.Generator().manual_seed(3)
    found = {
        "a.mlp.weight": torch.randn(6, 5, generator=generator),
        "a.conv.weight": torch.randn(4, 3, 2, 2, generator=generator).bfloat16(),
        "a.norm.weight": torch.ones(5),
        "a.mlp.bias": torch.ones(6),
        "attn.in_proj_weight": torch.zeros(3, 2),
        **{name.replace("__", "."): tensor for name, tensor in tensors.items()},
    }
    save_file(found, folder / "model.safetensors")
    (folder / "plan.yaml").write_text(plan)
    return folder / "model.safetensors", folder / "plan.yaml"


def power_above(x: float) -> torch.Tensor:
    """Return the smallest power of two not below `x`, by the standard library alone."""
    mantissa, exponent = math.frexp(x)
    return torch.tensor(math.ldexp(1.0, exponent - (mantissa == 0.5)))


def test_any_file_is_probed_by_a_plan_at_a_scale_of_its_own(tmp_path: Path) -> None:
    file, plan = make_file(tmp_path, "'*.mlp': E3M4\na.conv.weight: E4M3\nattn: BF16\n")
    tensors = load_file(file)
    mlp, conv = tensors["a.mlp.weight"], tensors["a.conv.weight"].reshape(4, 12)
    expected = {
        **probed("model", "a.mlp.weight", mlp, "E3M4", power_above(float(mlp.abs().max()) / 30.0)),
        **probed("model", "a.conv.weight", conv, "E4M3", power_above(float(conv.abs().max()) / 448.0)),
        **probed("model", "attn.in_proj_weight", torch.zeros(3, 2), "BF16", torch.ones(())),
    }
    diagnose_weights(file, plan, tmp_path / "out.parquet")
    assert {k: repr(v) for k, v in rows_of(tmp_path / "out.parquet").items()} == {
        k: repr(v) for k, v in expected.items()
    }


def test_the_first_match_decides_and_null_leaves_alone(tmp_path: Path) -> None:
    file, plan = make_file(
        tmp_path, "a.conv: null\na.mlp: E5M2\n'a.*': E4M3\nattn*: null\n", a__x__weight=torch.ones(2, 2)
    )
    diagnose_weights(file, plan, tmp_path / "out.parquet")
    rows = rows_of(tmp_path / "out.parquet")
    assert {tensor for _, tensor, _ in rows} == {"a.mlp.weight", "a.x.weight"}
    mlp = load_file(file)["a.mlp.weight"]
    expected = probed("model", "a.mlp.weight", mlp, "E5M2", power_above(float(mlp.abs().max()) / 57344.0))
    assert of_tensor(rows, "a.mlp.weight") == expected


def test_the_options_of_the_scale(tmp_path: Path) -> None:
    text = "a.mlp: E4M3\nper_row: true\npower_of_two: false\nscaling: current\n"
    file, plan = make_file(tmp_path, text)
    diagnose_weights(file, plan, tmp_path / "out.parquet")
    mlp = load_file(file)["a.mlp.weight"]
    scale = mlp.abs().amax(1, keepdim=True) / 448.0
    assert rows_of(tmp_path / "out.parquet") == probed("model", "a.mlp.weight", mlp, "E4M3", scale)
    plan.write_text("a.mlp: E4M3\nscaling: none\n")
    diagnose_weights(file, plan, tmp_path / "out.parquet")
    assert rows_of(tmp_path / "out.parquet") == probed("model", "a.mlp.weight", mlp, "E4M3", torch.ones(()))


def test_a_scale_in_the_file_is_taken(tmp_path: Path) -> None:
    scale = torch.tensor(0.375)
    file, plan = make_file(tmp_path, "a.mlp: E4M3\nper_row: true\n", a__mlp__weight_scaler__scale=scale)
    diagnose_weights(file, plan, tmp_path / "out.parquet")
    assert rows_of(tmp_path / "out.parquet") == probed(
        "model", "a.mlp.weight", load_file(file)["a.mlp.weight"], "E4M3", scale
    )


def test_zeros_one_element_and_what_is_not_finite(tmp_path: Path) -> None:
    tensors = {
        "z.weight": torch.zeros(2, 3),
        "o.weight": torch.full((1, 1), 1e-42),
        "n.weight": torch.tensor([[math.nan, 1.0]]),
        "i.weight": torch.tensor([[math.inf, 1.0]]),
    }
    save_file(tensors, tmp_path / "w.safetensors")
    (tmp_path / "plan.yaml").write_text("'*': E4M3\n")
    diagnose_weights(tmp_path / "w.safetensors", tmp_path / "plan.yaml", tmp_path / "out.parquet")
    rows = rows_of(tmp_path / "out.parquet")
    assert rows["w", "z.weight", "zero_fraction"] == 1.0 and rows["w", "z.weight", "amax"] == 0.0
    assert rows["w", "o.weight", "stable_rank"] == 1.0
    assert all(math.isnan(rows["w", name, "stable_rank"]) for name in ("n.weight", "i.weight"))


PLANS: dict[str, tuple[str, type[Exception], str]] = {
    "no mapping": ("- E4M3\n", ConfigError, "plan.yaml: its top level is a list"),
    "no weight matches": ("a.norm: E4M3\n", ConfigError, "it matches no layer of the model; nearest: a.mlp"),
    "earlier patterns": ("'a.*': E4M3\na.mlp: E5M2\n", ConfigError, "earlier patterns already decide"),
    "no such format": ("a.mlp: E9M9\n", ConfigError, "'E9M9' is not a format"),
    "a truth value": ("a.mlp: no\n", ConfigError, "plan.yaml: a.mlp: False is not a format's name"),
    "a mapping": ("a.mlp: {input: E4M3}\n", ConfigError, "is not a format's name"),
    "nothing": ("'*': null\n", ConfigError, "it gives no weight of"),
    "options alone": ("per_row: true\n", ConfigError, "it gives no weight of"),
    "no mode": ("'*': E4M3\nscaling: often\n", ConfigError, "'often' is not a mode"),
    "a mode of another kind": ("'*': E4M3\nscaling: true\n", ConfigError, "plan.yaml: scaling: True is not one of"),
    "a number for a truth value": ("'*': E4M3\nper_row: 1\n", ConfigError, "plan.yaml: per_row: 1 is not one of"),
    "a misspelled option": ("'*': E4M3\nper_rwo: true\n", ConfigError, "per_rwo: True is not a format's name"),
}


@pytest.mark.parametrize("fault", PLANS)
def test_a_plan_that_is_none_is_one_line(tmp_path: Path, fault: str) -> None:
    text, error, expected = PLANS[fault]
    file, plan = make_file(tmp_path, text)
    with pytest.raises(error) as caught:
        diagnose_weights(file, plan, tmp_path / "out.parquet")
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"x__weight": torch.ones(2, 2, dtype=torch.int32)}, "x.weight: it is int32"),
        ({"x__weight": torch.ones(2, 2).to(torch.float8_e4m3fn)}, "x.weight: it is float8_e4m3fn"),
        ({"a__mlp__weight_scaler__scale": torch.ones(2, 1)}, "it is no scale for a weight of 6 rows"),
        ({"a__mlp__weight_scaler__scale": torch.tensor(0.0)}, "it is no scale"),
        ({"a__mlp__weight_scaler__scale": torch.tensor(math.nan)}, "it is no scale"),
        ({"a__mlp__weight_scaler__scale": torch.tensor(1)}, "it is no scale"),
    ],
)
def test_tensors_that_cannot_be_diagnosed_are_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], text: str
) -> None:
    file, plan = make_file(tmp_path, "'*': E4M3\n", **tensors)
    with pytest.raises(MismatchError) as caught:
        diagnose_weights(file, plan, tmp_path / "out.parquet")
    assert text in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "nonsense", "empty"])
def test_a_file_that_holds_no_tensors_is_one_line(tmp_path: Path, kind: str) -> None:
    file, plan = tmp_path / "w.safetensors", tmp_path / "plan.yaml"
    plan.write_text("'*': E4M3\n")
    if kind == "folder":
        file.mkdir()
    elif kind != "missing":
        file.write_bytes(b"nonsense that is no header" if kind == "nonsense" else b"")
    with pytest.raises(CheckpointError, match=r"w\.safetensors: it cannot be read \(") as caught:
        diagnose_weights(file, plan, tmp_path / "out.parquet")
    assert "\n" not in str(caught.value)
