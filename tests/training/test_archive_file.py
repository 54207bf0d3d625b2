"""The archive as a file: its size, and what of it is refused."""

import io
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from altgrad.cli import main as command
from altgrad.errors import CheckpointError, MismatchError
from altgrad.parquet import arrow_schema
from altgrad.schema import COUNTS, TELEMETRY
from altgrad.study.grid import config_hash
from altgrad.study.runs import RunConfig
from altgrad.telemetry.thinning import round_diagnostics
from altgrad.training.archive_file import ArchivedRun, Contents, Place, read_archive, write_archive
from altgrad.training.stamp import state_key
from tests.analysis.fabricate import ELEMENTS, VOCAB
from tests.training.conftest import MakeRun

RUNS, BOUND = 40, 1000
"""How many runs are packed to measure them, and what one of them may take: bytes."""

Files = dict[str, bytes]


def archived(run: RunConfig, kind: str = "runs") -> ArchivedRun:
    """Return a run with four weights, whose numbers are as random as real ones."""
    rng = np.random.default_rng([run.seed, len(run.run_id)])
    rows = [(step, "run", "", "val_loss", rng.random()) for step in (6, 12)]
    rows += [(step, "run", "", "train_loss", rng.random()) for step in range(1, 11)]
    for tensor in ELEMENTS:
        rows += [(12, "weight", tensor, count.name, float(rng.integers(1 << 24))) for count in COUNTS[:9]]
        rows += [(12, "update", tensor, name, rng.random()) for name in ("intended_sq", "realised_dot")]
        rows += [(12, "update", tensor, f"ulp_bin_{k}", rng.random()) for k in range(-12, int(rng.integers(2, 6)))]
    telemetry = pd.DataFrame(rows, columns=[column.name for column in TELEMETRY[1:]])
    measured = telemetry.loc[telemetry["metric"].str.contains("_bin_"), ["tensor", "metric", "value"]]
    tables = {
        "telemetry": table(telemetry, "telemetry"),
        "timing": table(pd.DataFrame([(12, *rng.random(11), 1 << 29)]), "timing"),
        "diagnostics": table(round_diagnostics(measured), "diagnostics"),
    }
    summary = {
        "run_id": run.run_id, "status": "finished", "val_loss": rng.random(), "wall_s": rng.random(), "events": [],
        "vocab_size": VOCAB, "config_hash": config_hash(run), "corpus_fingerprint": "0123",
    }  # fmt: skip
    key = state_key(run, "0123")
    return ArchivedRun(kind, key, run.model_dump(mode="json"), summary, tables if kind == "runs" else {})


def table(data: pd.DataFrame, name: str) -> pa.Table:
    from altgrad.training.archive_file import TABLES

    schema = arrow_schema(TABLES[name]).remove(0)
    return pa.table([pa.array(data.iloc[:, i]).cast(f.type) for i, f in enumerate(schema)], schema=schema)


def many(make_run: MakeRun, number: int, kind: str = "runs") -> dict[Place, ArchivedRun]:
    runs = [archived(make_run(seed=seed), kind) for seed in range(1, number + 1)]
    return {run.place: run for run in runs}


@pytest.fixture
def archive(make_run: MakeRun, tmp_path: Path) -> Path:
    path = tmp_path / "archive.tar.xz"
    write_archive(path, Contents({**many(make_run, 3), **many(make_run, 2, "trials")}, {"arm": {"lr": 0.01}}))
    return path


def test_runs_come_back_as_they_went_in(make_run: MakeRun, tmp_path: Path) -> None:
    runs = {**many(make_run, 3), **many(make_run, 2, "trials")}
    contents = Contents(dict(reversed(runs.items())), {"b": {"lr": 0.1}, "a": {"lr": 1 / 3}})
    size = write_archive(tmp_path / "a", contents)
    assert size == (tmp_path / "a").stat().st_size
    found = read_archive(tmp_path / "a")
    assert found.tuning == contents.tuning and set(found.runs) == set(runs)
    for place, run in found.runs.items():
        assert (run.config, run.summary) == (runs[place].config, runs[place].summary)
        assert run.tables.keys() == runs[place].tables.keys()
        for name, rows in run.tables.items():
            order = [(column, "ascending") for column in rows.schema.names if column != "value"]
            assert rows.sort_by(order).equals(runs[place].tables[name].sort_by(order))
    write_archive(tmp_path / "b", Contents(runs, dict(reversed(contents.tuning.items()))))
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_a_run_takes_little(make_run: MakeRun, tmp_path: Path) -> None:
    size = write_archive(tmp_path / "a", Contents(many(make_run, RUNS), {}))
    assert size / RUNS < BOUND
    trials = write_archive(tmp_path / "b", Contents(many(make_run, RUNS, "trials"), {}))
    assert trials / RUNS < 150


def test_every_damaged_byte_is_seen(archive: Path) -> None:
    whole = archive.read_bytes()
    places = sorted({*range(40), *range(40, len(whole) - 40, len(whole) // 60), *range(len(whole) - 40, len(whole))})
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        archive.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"archive\.tar\.xz: it is damaged, or no archive of runs"):
            read_archive(archive)
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        archive.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="it is damaged, or no archive of runs"):
            read_archive(archive)


def members(archive: Path) -> Files:
    with tarfile.open(archive) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def forge(archive: Path, files: Files, sign: bool = True) -> None:
    """Write an archive with other members, and with a manifest that says so."""
    from altgrad.training.archive_file import _sha256

    if sign:
        manifest = json.loads(files["manifest.json"])
        manifest["sha256"] = {name: _sha256(data) for name, data in files.items() if name != "manifest.json"}
        files["manifest.json"] = json.dumps(manifest).encode()
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    archive.write_bytes(lzma.compress(sink.getvalue()))


def renamed(files: Files) -> Files:
    return {"../evil" if name == "tuning.jsonl" else name: data for name, data in files.items()}


def without(left_out: str) -> Callable[[Files], Files]:
    return lambda files: {name: data for name, data in files.items() if name != left_out}


def edited(name: str, old: bytes, new: bytes) -> Callable[[Files], Files]:
    def edit(files: Files) -> Files:
        assert old in files[name]
        return {**files, name: files[name].replace(old, new)}

    return edit


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (renamed, "an archive's: '../evil'"),
        (lambda files: {**files, "extra.json": b"{}"}, "an archive's: 'extra.json'"),
        (
            lambda files: {name: data for name, data in files.items() if name != "tuning.jsonl"},
            "an archive's: 'tuning.jsonl'",
        ),
        (
            lambda files: {name: data for name, data in files.items() if name != "manifest.json"},
            "KeyError: 'manifest.json'",
        ),
        (edited("configs.jsonl", b'"run_id":"E4M3', b'"run_id":"../../E4M3'), "which may be no folder"),
        (edited("configs.jsonl", b'"kind":"trials"', b'"kind":"../away"'), "which may be no folder"),
        (edited("configs.jsonl", b'"key":"', b'"key":"/etc/'), "which may be no folder"),
        (lambda files: {**files, "summaries.jsonl": b"{}\n"}, "zip"),
        (lambda files: {**files, "configs.jsonl": b"1\n" * 5}, "TypeError: "),
        (lambda files: {**files, "timing.parquet": files["diagnostics.parquet"]}, "timing has the columns"),
        (lambda files: {**files, "configs.jsonl": b"", "summaries.jsonl": b""}, "rows of runs that are not there"),
        (lambda files: {**files, "telemetry.parquet": b"PAR1"}, "Parquet"),
    ],
)
def test_what_is_no_archive_is_refused_whatever_its_checksums_say(
    archive: Path, change: Callable[[Files], Files], why: str
) -> None:
    files = change(members(archive))
    forge(archive, files, sign="manifest.json" in files)
    with pytest.raises(CheckpointError, match=rf"archive\.tar\.xz: it is damaged, or no archive.*{why}") as refused:
        read_archive(archive)
    assert "\n" not in str(refused.value)


def test_a_link_in_an_archive_is_refused(archive: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    archive.write_bytes(lzma.compress(sink.getvalue()))
    with pytest.raises(CheckpointError, match=r"its member 'manifest\.json' is no file"):
        read_archive(archive)


def test_a_checksum_that_does_not_match_is_named(archive: Path) -> None:
    files = members(archive)
    forge(archive, {**files, "summaries.jsonl": files["summaries.jsonl"].replace(b"finished", b"diverged")}, sign=False)
    with pytest.raises(CheckpointError, match=r"the checksum of summaries\.jsonl does not match"):
        read_archive(archive)


def test_a_later_format_is_refused(archive: Path) -> None:
    forge(archive, edited("manifest.json", b'"format": 1', b'"format": 2')(members(archive)))
    with pytest.raises(MismatchError, match=r"it is of format 2, and this altgrad reads up to 1\. Update altgrad"):
        read_archive(archive)


@pytest.mark.parametrize("verb", ["pack", "unpack"])
def test_the_command_refuses_in_one_line(
    archive: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.write_bytes(b"no archive")
    results = archive.parent / "results"
    (results / "runs").mkdir(parents=True)
    given = {"pack": ["--out", str(archive)], "unpack": [str(archive)]}[verb]
    monkeypatch.setattr("sys.argv", ["altgrad", "archive", verb, "--results", str(results), *given])
    with pytest.raises(SystemExit) as ended:
        command.main()
    shown = capsys.readouterr()
    assert ended.value.code == 2 and shown.out == "" and shown.err.count("\n") == 1
    assert shown.err.startswith(f"altgrad: error: {archive}: it is damaged, or no archive of runs")
    assert archive.read_bytes() == b"no archive"
