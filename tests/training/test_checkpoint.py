import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from altgrad.errors import CheckpointError
from altgrad.training import checkpoint
from altgrad.training.checkpoint import StateFolder, write_bytes


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it to tidy up."""


def payload(step: int) -> dict[str, Any]:
    return {"step": step, "weights": torch.full((3,), float(step)), "names": ["a", "b"]}


def saved(folder: Path, *steps: int) -> StateFolder:
    state = StateFolder(folder, print)
    for step in steps:
        state.save(step, payload(step), {f"telemetry-{step:09d}.parquet": bytes([step])})
    return state


def test_keeps_the_last_two_and_every_shard(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2, 3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in names if name.endswith(".pt")] == ["step-000000002.pt", "step-000000003.pt"]
    assert len([name for name in names if name.endswith(".parquet")]) == 3
    loaded = StateFolder(tmp_path, print).load()
    assert loaded is not None
    entry, content = loaded
    assert entry.step == content["step"] == 3
    assert torch.equal(content["weights"], torch.full((3,), 3.0))
    assert StateFolder(tmp_path, print).shard_bytes(entry) == {
        f"telemetry-{step:09d}.parquet": bytes([step]) for step in (1, 2, 3)
    }


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert StateFolder(tmp_path, print).load() is None


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
@pytest.mark.parametrize("victim", ["step-000000003.pt", "telemetry-000000003.parquet"])
def test_falls_back_aloud_and_drops_later_telemetry(tmp_path: Path, damage: str, victim: str) -> None:
    saved(tmp_path, 1, 2, 3)
    path = tmp_path / victim
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes(data if damage == "flip" else data[:-1])
    if damage == "remove":
        path.unlink()
    said: list[str] = []
    loaded = StateFolder(tmp_path, said.append).load()
    assert loaded is not None
    assert loaded[0].step == 2
    assert list(loaded[0].shards) == ["telemetry-000000001.parquet", "telemetry-000000002.parquet"]
    assert victim in said[0]
    assert "going back to the checkpoint of step 2" in said[1]
    assert not (tmp_path / "telemetry-000000003.parquet").exists()


def test_every_single_bit_flip_is_seen(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    path = tmp_path / "step-000000001.pt"
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 200)):
        data = bytearray(whole)
        data[position] ^= 1 << (position % 8)
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="no checkpoint in it is whole"):
            StateFolder(tmp_path, lambda message: None).load()


def test_leftovers_of_unfinished_writes_are_removed(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    for name in ("step-000000009.pt", "telemetry-000000009.parquet", "manifest.json.tmp"):
        (tmp_path / name).write_bytes(b"half")
    loaded = StateFolder(tmp_path, print).load()
    assert loaded is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "manifest.json",
        "step-000000001.pt",
        "telemetry-000000001.parquet",
    ]


@pytest.mark.parametrize("operation", ["fsync", "replace"])
def test_killed_at_every_operation_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    real = getattr(os, operation)
    outcomes = set()
    for fatal in range(1, 20):
        folder = tmp_path / str(fatal)
        saved(folder, 1)
        calls = 0

        def counted(*arguments: Any, fatal: int = fatal) -> Any:
            nonlocal calls
            calls += 1
            if calls == fatal:
                raise Killed
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint.os, operation, counted)
            try:
                saved(folder, 2)
                finished = True
            except Killed:
                finished = False
        loaded = StateFolder(folder, print).load()
        assert loaded is not None
        step = loaded[0].step
        assert step == loaded[1]["step"]
        assert [int(name[-17:-8]) for name in loaded[0].shards] == list(range(1, step + 1))
        outcomes.add((step, finished))
        if finished:
            break
    assert {(1, False), (2, True)} <= outcomes


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_refusing_disk_is_named_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(checkpoint.os, "fsync", refuse)
    with pytest.raises(CheckpointError, match=rf"{path}: it cannot be written \(errno {number}"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pickle_payload_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "pwned"),))

    said: list[str] = []
    state = StateFolder(tmp_path / "state", said.append)
    state.save(1, {"evil": Evil()}, {})
    with pytest.raises(CheckpointError, match="no checkpoint in it is whole"):
        state.load()
    assert "something other than tensors" in said[0]
    assert not (tmp_path / "pwned").exists()
