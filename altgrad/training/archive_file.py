"""The archive as one file: runs packed side by side, every member with its checksum.

It is a tar under xz, always the same bytes for the same runs. What runs share is stored once: their configs and
summaries are lines of one file, and their tables one table, sorted so that like stands beside like. Tables are left
uncompressed, because xz finds what they have in common.
"""

import hashlib
import io
import itertools
import json
import lzma
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from altgrad.errors import CheckpointError, MismatchError
from altgrad.parquet import arrow_schema
from altgrad.schema import DIAGNOSTICS, TELEMETRY, TIMING, Column
from altgrad.study.config import is_valid_id
from altgrad.training.checkpoint import write_bytes

FORMAT = 1
"""Raised when archives of before could not be read as they are."""

KINDS = ("runs", "trials")
"""The folders of a results folder that runs lie in."""

TABLES: dict[str, tuple[Column, ...]] = {"telemetry": TELEMETRY, "timing": TIMING, "diagnostics": DIAGNOSTICS}
"""What a run has as a table; a trial has none."""

_STORED = {
    "telemetry": ("scope", "metric", "tensor", "step"),
    "timing": ("step",),
    "diagnostics": ("metric", "tensor"),
}
"""How the rows of all runs are sorted in the archive, before the run's number."""

_HANDED_OUT = {
    "telemetry": ("step", "scope", "tensor", "metric"),
    "timing": ("step",),
    "diagnostics": ("tensor", "metric"),
}
"""How one run's rows are sorted."""

_MANIFEST, _CONFIGS, _SUMMARIES, _TUNING = "manifest.json", "configs.jsonl", "summaries.jsonl", "tuning.jsonl"
_MEMBERS = (_CONFIGS, _SUMMARIES, _TUNING, *(f"{name}.parquet" for name in TABLES))
_KEY = r"[0-9a-f]{12}"
_ADVICE = "Take another copy of it"

Place = tuple[str, str, str]
"""Where a finished run belongs: its kind, its id, and the key of its state folder."""


@dataclass(frozen=True)
class ArchivedRun:
    """A finished run or trial as an archive has it.

    Attributes:
        kind: One of `KINDS`.
        key: The name of its state folder.
        config: Its config.
        summary: Its summary, without the hashes of its files.
        tables: Its tables by name, without their column of its id; none of a trial.
    """

    kind: str
    key: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    tables: Mapping[str, pa.Table]

    @property
    def place(self) -> Place:
        """Where it belongs."""
        return self.kind, str(self.config["run_id"]), self.key


@dataclass(frozen=True)
class Contents:
    """What an archive holds.

    Attributes:
        runs: Finished runs by where they belong.
        tuning: Results of tuning by arm.
    """

    runs: Mapping[Place, ArchivedRun] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)


def write_archive(path: Path, contents: Contents) -> int:
    """Write an archive, whole or not at all; return its size in bytes.

    Raises:
        CheckpointError: The disk refused; an old file of that name is as it was.
    """
    runs = [contents.runs[place] for place in sorted(contents.runs)]
    members = {
        _CONFIGS: _lines({"kind": run.kind, "key": run.key, "config": run.config} for run in runs),
        _SUMMARIES: _lines(run.summary for run in runs),
        _TUNING: _lines({"arm": arm, "result": contents.tuning[arm]} for arm in sorted(contents.tuning)),
        **{f"{name}.parquet": _join(name, runs) for name in TABLES},
    }
    manifest = {"format": FORMAT, "sha256": {name: _sha256(data) for name, data in members.items()}}
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    packed = _pack({_MANIFEST: text.encode(), **members})
    write_bytes(path, packed)
    return len(packed)


def read_archive(path: Path) -> Contents:
    """Read an archive and verify every byte of it.

    Raises:
        CheckpointError: It is missing, damaged, or none.
        MismatchError: A later version of altgrad wrote it.
    """
    try:
        return _contents(path, _unpack(path))
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError, pa.ArrowException) as error:
        raise _damaged(path, str(error)) from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from None


def _contents(path: Path, members: Mapping[str, bytes]) -> Contents:
    manifest = json.loads(members[_MANIFEST])
    if manifest["format"] > FORMAT:
        raise MismatchError(
            str(path), f"it is of format {manifest['format']}, and this altgrad reads up to {FORMAT}", "Update altgrad"
        )
    if odd := sorted({*members} ^ {_MANIFEST, *_MEMBERS}):
        raise _damaged(path, f"its members are not an archive's: {odd[0]!r}")
    for name in _MEMBERS:
        if _sha256(members[name]) != manifest["sha256"][name]:
            raise _damaged(path, f"the checksum of {name} does not match")
    heads = [json.loads(line) for line in members[_CONFIGS].splitlines()]
    summaries = [json.loads(line) for line in members[_SUMMARIES].splitlines()]
    tables = {name: _split(name, members[f"{name}.parquet"], len(heads)) for name in TABLES}
    runs = [
        ArchivedRun(head["kind"], head["key"], head["config"], summary, _tables_of(head["kind"], number, tables))
        for number, (head, summary) in enumerate(zip(heads, summaries, strict=True))
    ]
    tuning = {line["arm"]: line["result"] for line in map(json.loads, members[_TUNING].splitlines())}
    for kind, run_id, key in (run.place for run in runs):
        if kind not in KINDS or not is_valid_id(run_id) or not re.fullmatch(_KEY, key):
            raise _damaged(path, f"it names a run {kind}/{run_id}/{key}, which may be no folder")
    return Contents({run.place: run for run in runs}, tuning)


def _tables_of(kind: str, number: int, tables: Mapping[str, Sequence[pa.Table]]) -> dict[str, pa.Table]:
    return {name: parts[number] for name, parts in tables.items()} if kind == KINDS[0] else {}


def _join(name: str, runs: Sequence[ArchivedRun]) -> bytes:
    """Return the tables of one name of all runs as one, uncompressed; a run's number stands in place of its id."""
    schema = _stored_schema(name)
    parts = [schema.empty_table()]
    for number, run in enumerate(runs):
        if name in run.tables:
            table = run.tables[name]
            parts.append(table.add_column(0, schema.field(0), pa.array([number] * len(table), pa.int32())))
    whole = pa.concat_tables(parts).combine_chunks()
    order = [(column, "ascending") for column in (*_STORED[name], "run")]
    floats = [column.name for column in schema if column.type == pa.float64()]
    sink = io.BytesIO()
    pq.write_table(
        whole.sort_by(order),
        sink,
        compression="none",
        use_dictionary=[column for column in schema.names if column not in floats],
        use_byte_stream_split=floats,
        row_group_size=max(1, len(whole)),
        data_page_size=1 << 28,
        write_statistics=False,
        store_schema=False,
    )
    return sink.getvalue()


def _split(name: str, data: bytes, runs: int) -> list[pa.Table]:
    """Return each run's table from `_join`, without the column of its number; empty where it has no row."""
    table = pq.read_table(io.BytesIO(data))
    if table.schema.remove_metadata() != _stored_schema(name):
        raise ValueError(f"{name} has the columns {', '.join(table.schema.names)}")
    table = table.sort_by([(column, "ascending") for column in ("run", *_HANDED_OUT[name])])
    numbers = table["run"].to_numpy()
    starts = np.searchsorted(numbers, np.arange(runs + 1))
    if starts[-1] != len(table) or starts[0] != 0:
        raise ValueError(f"{name} has rows of runs that are not there")
    rest = table.drop_columns(["run"])
    return [rest.slice(start, end - start) for start, end in itertools.pairwise(starts)]


def _stored_schema(name: str) -> pa.Schema:
    return arrow_schema(TABLES[name]).remove(0).insert(0, pa.field("run", pa.int32()))


def _pack(members: Mapping[str, bytes]) -> bytes:
    """Return files as a tar under xz, without a trace of when, where and by whom."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    return lzma.compress(sink.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def _unpack(path: Path) -> dict[str, bytes]:
    """Return the files in an archive by name; nothing is written to the disk."""
    # All of it is read before a byte is believed, padding and the checksum at its end included.
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(path.read_bytes())), mode="r:") as tar:
        found: dict[str, bytes] = {}
        for info in tar:
            held = tar.extractfile(info) if info.isreg() else None
            if held is None or info.name in found:
                raise _damaged(path, f"its member {info.name!r} is no file, or is there twice")
            found[info.name] = held.read()
    return found


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(str(path), f"it is damaged, or no archive of runs ({why})", _ADVICE)


def _lines(items: Iterable[Mapping[str, Any]]) -> bytes:
    dumped = (json.dumps(item, sort_keys=True, separators=(",", ":"), allow_nan=False) for item in items)
    return "".join(f"{line}\n" for line in dumped).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
