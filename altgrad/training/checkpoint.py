"""Restart state on disk: hashed, synced, renamed into place, the last two kept, the manifest written last.

A state folder holds `manifest.json` and the files that it names. Everything else in it is left over from a write that
did not finish and is removed when the folder is opened. Loading verifies each file's SHA-256, because a flipped bit
passes `torch.load` unnoticed, and falls back to the checkpoint before, aloud.
"""

import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from altgrad.errors import CheckpointError

KEPT = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """One checkpoint as the manifest records it.

    Attributes:
        step: Optimizer steps done.
        file: The checkpoint's file name.
        sha256: Its hash (hex).
        shards: Hashes of the telemetry shards that hold every row up to the step, by file name, in order.
    """

    step: int
    file: str
    sha256: str
    shards: dict[str, str]


class StateFolder:
    """The restart state of one run.

    Args:
        folder: Where it lives; made if need be.
        say: Takes messages for the user, such as a fallback to an older checkpoint.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self._say = say
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, step: int, payload: Mapping[str, Any], shards: Mapping[str, bytes]) -> None:
        """Save a checkpoint and the telemetry shards that have come since the last one.

        Args:
            step: Optimizer steps done.
            payload: Tensors, numbers, strings, lists and dicts only (it is read back with `weights_only`).
            shards: New telemetry shards: file name to bytes.

        Raises:
            CheckpointError: The disk refused; the checkpoint before is intact.
        """
        entries = self._entries()
        known = dict(entries[-1].shards) if entries else {}
        for name, data in shards.items():
            self._write(name, data)
            known[name] = hashlib.sha256(data).hexdigest()
        buffer = io.BytesIO()
        torch.save(dict(payload), buffer)
        data = buffer.getvalue()
        entry = Entry(step, f"step-{step:09d}.pt", hashlib.sha256(data).hexdigest(), known)
        self._write(entry.file, data)
        self._write_manifest([*(e for e in entries if e.step < step), entry][-KEPT:])
        self._clean()

    def load(self) -> tuple[Entry, dict[str, Any]] | None:
        """Return the newest checkpoint that is whole, or None for a folder without one.

        Raises:
            CheckpointError: There are checkpoints, and none is whole.
        """
        self._clean()
        entries = self._entries()
        for entry in reversed(entries):
            try:
                self._verify_shards(entry)
                payload = self._read(entry)
            except CheckpointError as error:
                self._say(f"warning: {error}")
                continue
            if entry is not entries[-1]:
                self._say(f"warning: going back to the checkpoint of step {entry.step}")
                self._write_manifest([e for e in entries if e.step <= entry.step])
                self._clean()
            return entry, payload
        if entries:
            raise CheckpointError(
                str(self.folder),
                "no checkpoint in it is whole",
                "Delete the folder to start the run from the beginning",
            )
        return None

    def shard_bytes(self, entry: Entry) -> dict[str, bytes]:
        """Return the telemetry shards of a checkpoint, in order: file name to bytes."""
        return {name: (self.folder / name).read_bytes() for name in entry.shards}

    def discard(self) -> None:
        """Remove the restart state of a run that has ended, the manifest first: nothing half there is believed."""
        (self.folder / MANIFEST).unlink(missing_ok=True)
        self._clean()

    def _entries(self) -> list[Entry]:
        path = self.folder / MANIFEST
        if not path.exists():
            return []
        try:
            return [Entry(**item) for item in json.loads(path.read_text())]
        except (ValueError, TypeError) as error:
            raise CheckpointError(
                str(path), f"it cannot be read ({error})", "Delete the folder to start the run from the beginning"
            ) from None

    def _read(self, entry: Entry) -> dict[str, Any]:
        data = self._checked(entry.file, entry.sha256)
        try:
            payload: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise CheckpointError(
                str(self.folder / entry.file),
                "it holds something other than tensors and plain values, and is not loaded",
                "The checkpoint before it is tried",
            ) from None
        return payload

    def _verify_shards(self, entry: Entry) -> None:
        for name, sha256 in entry.shards.items():
            self._checked(name, sha256)

    def _checked(self, name: str, sha256: str) -> bytes:
        path = self.folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CheckpointError(
                str(path), f"it cannot be read ({error.strerror})", "The checkpoint before it is tried"
            ) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CheckpointError(
                str(path), "its hash does not match the manifest's: it is damaged", "The checkpoint before it is tried"
            )
        return data

    def _write_manifest(self, entries: list[Entry]) -> None:
        self._write(MANIFEST, json.dumps([asdict(entry) for entry in entries], indent=1).encode())

    def _write(self, name: str, data: bytes) -> None:
        write_bytes(self.folder / name, data)

    def _clean(self) -> None:
        """Remove what no manifest entry names: files of unfinished writes, of later steps, and stale checkpoints."""
        entries = self._entries()
        kept = {MANIFEST, *(e.file for e in entries), *(name for e in entries for name in e.shards)}
        for path in self.folder.iterdir():
            if path.is_file() and path.name not in kept and path.suffix in {".pt", ".parquet", ".tmp"}:
                path.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temporary file in the same folder, fsync, rename, fsync of the folder.

    Raises:
        CheckpointError: The disk refused; an old file of that name is as it was.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            str(path),
            f"it cannot be written (errno {error.errno}: {error.strerror})",
            "Free space or mend the disk and run the same command again; the state before it is intact",
        ) from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON as `write_bytes` does, keys sorted: equal data, equal bytes.

    Raises:
        CheckpointError: The disk refused; an old file of that name is as it was.
        ValueError: A number is not finite.
    """
    write_bytes(path, (json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())
