"""Studies outlive machines: the finished runs of a results folder in one small file, and back from it.

An archive has everything of a run but its weights, its telemetry in few rows. Unpacked, runs are finished as far as
`train_run` is concerned: it hands them out, trains what is new, and tuning goes on where it ended.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from altgrad.errors import CheckpointError, ConfigError, TableError
from altgrad.parquet import arrow_schema, write_table
from altgrad.study.config import is_valid_id
from altgrad.study.runs import RunConfig
from altgrad.telemetry.thinning import complete
from altgrad.training.archive_file import KINDS, TABLES, ArchivedRun, Contents, Place, read_archive, write_archive
from altgrad.training.archive_runs import ARCHIVED, Thinning, current_run, finished_folders, read_finished
from altgrad.training.checkpoint import MANIFEST, write_json
from altgrad.training.process import exclusive
from altgrad.training.run import FINISHED
from altgrad.training.stamp import run_stamp, state_key, write_stamp

Say = Callable[[str], None]


def pack(results: Path, out: Path, thinning: Thinning, say: Say) -> None:
    """Write the finished runs, trials and tuning results of a results folder to an archive.

    What an archive of that name holds beside them stays in it, but for runs that a later revision of training has
    replaced. Equal runs give equal bytes.

    Args:
        results: The folder that holds `runs/`, `trials/`, `tuning/` and `diagnostics/`.
        out: The archive.
        thinning: How many rows of telemetry stay.
        say: Takes messages for the user.

    Raises:
        AltGradError: There is nothing to pack, a run or the archive that is there is damaged, or the disk refused.
    """
    if not any((results / kind).is_dir() for kind in KINDS):
        raise ConfigError(str(results), "it holds neither runs/ nor trials/", "Name a study's results folder")
    before = read_archive(out) if out.exists() else Contents()
    old = {run.place: run for run in map(_in_place, before.runs.values())}
    found, left_out = _finished(results, thinning, say)
    runs = _of_latest_revision({**old, **found})
    if not runs:
        why = f"{left_out['unfinished']} of its runs are not finished, {left_out['foreign']} of another version"
        raise ConfigError(str(results), f"there is nothing to pack: {why}", "Train one to its end first")
    _make_folder(out.parent)
    size = write_archive(out, Contents(runs, {**before.tuning, **_tuning(results)}))
    kinds = Counter(kind for kind, *_ in runs)
    say(f"{out}: {_count(kinds['runs'], 'run')} and {_count(kinds['trials'], 'trial')}, {size} bytes")
    kept, replaced = len(set(runs) - set(found)), len({*old, *found}) - len(runs)
    _say_counts(
        say,
        ("in the archive already and not in the results folder, kept", kept),
        ("of an earlier revision and trained again since, left out", replaced),
        ("not finished, left out", left_out["unfinished"]),
        ("of another version of altgrad, left out", left_out["foreign"]),
    )


def unpack(path: Path, results: Path, say: Say) -> None:
    """Put an archive's runs and trials into the state folders of a results folder, as if they had been trained there.

    Args:
        path: The archive.
        results: The folder to hold `runs/` and `trials/`; what is in it already is left alone.
        say: Takes messages for the user.

    Raises:
        AltGradError: The archive cannot be used, a process works on one of its runs, or the disk refused.
    """
    contents = read_archive(path)
    counts: Counter[str] = Counter()
    for archived in contents.runs.values():
        run = current_run(archived.config, archived.summary)
        if run is None:
            counts["foreign"] += 1
            continue
        home = results / archived.kind / run.run_id / "state" / state_key(run, archived.summary["corpus_fingerprint"])
        if (home / FINISHED / "summary.json").exists():
            counts["finished"] += 1
        elif (home / MANIFEST).exists():
            counts["begun"] += 1
        else:
            with exclusive(home.parent / "lock"):
                _fill(home, archived, run)
            counts[archived.kind] += 1
    say(f"{results}: {_count(counts['runs'], 'run')} and {_count(counts['trials'], 'trial')} from {path}")
    _say_counts(
        say,
        ("finished there already, left alone", counts["finished"]),
        ("begun to train there, left alone", counts["begun"]),
        ("of another version of altgrad, left in the archive", counts["foreign"]),
    )


def _finished(results: Path, thinning: Thinning, say: Say) -> tuple[dict[Place, ArchivedRun], Counter[str]]:
    """Return the finished runs and trials of a results folder, and how many are left out and why."""
    found: dict[Place, ArchivedRun] = {}
    left_out: Counter[str] = Counter()
    for kind in KINDS:
        for folder in sorted(path for path in results.glob(f"{kind}/*") if path.is_dir() and is_valid_id(path.name)):
            finished = finished_folders(folder)
            left_out["unfinished"] += not finished
            for place in finished:
                diagnostics = results / "diagnostics" / f"{folder.name}.parquet"
                run = read_finished(kind, place, folder, diagnostics, thinning, say)
                if run is None:
                    left_out["foreign"] += 1
                else:
                    found.setdefault(run.place, run)
    return found, left_out


def _in_place(archived: ArchivedRun) -> ArchivedRun:
    """Return an archived run under the key by which this version of altgrad would look for it."""
    run = current_run(archived.config, archived.summary)
    return archived if run is None else replace(archived, key=state_key(run, archived.summary["corpus_fingerprint"]))


def _of_latest_revision(runs: dict[Place, ArchivedRun]) -> dict[Place, ArchivedRun]:
    """Return the runs without those of which there is one of a later revision of training under the same id."""
    latest: Counter[tuple[str, str]] = Counter()
    for (kind, run_id, _), run in runs.items():
        latest[kind, run_id] = max(latest[kind, run_id], int(run.config["revision"]))
    return {place: run for place, run in runs.items() if run.config["revision"] == latest[place[:2]]}


def _tuning(results: Path) -> dict[str, Any]:
    """Return the results of tuning by arm, for the record: `altgrad tune` makes them anew from the trials."""
    found = {}
    for path in sorted(results.glob("tuning/*.json")):
        try:
            found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TableError(str(path), f"it is no result of tuning ({error})", "Make it with altgrad tune") from None
    return found


def _fill(home: Path, archived: ArchivedRun, run: RunConfig) -> None:
    """Write a run's finished files, the summary last, and the stamp that says whose they are."""
    finished = home / FINISHED
    finished.mkdir(parents=True, exist_ok=True)
    write_stamp(home, run_stamp(run, archived.summary["corpus_fingerprint"]))
    write_json(finished / "config.json", archived.config)
    files = ["config.json"]
    for name, table in archived.tables.items():
        whole = table.add_column(0, "run_id", pa.array([run.run_id] * len(table), pa.string()))
        if name == "telemetry":
            whole = pa.Table.from_pandas(complete(whole.to_pandas()), arrow_schema(TABLES[name]), preserve_index=False)
        write_table(finished / f"{name}.parquet", whole)
        files.append(f"{name}.parquet")
    hashes = {name: hashlib.sha256((finished / name).read_bytes()).hexdigest() for name in files}
    write_json(finished / "summary.json", {**archived.summary, ARCHIVED: True, "files": hashes})


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            str(folder), f"it cannot be made (errno {error.errno}: {error.strerror})", "Name another file with --out"
        ) from None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _say_counts(say: Say, *counts: tuple[str, int]) -> None:
    """Say how many were treated in some way, one line each, and nothing of none."""
    for what, number in counts:
        if number:
            say(f"{what}: {number}")
