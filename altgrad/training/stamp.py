"""Whose state is this? Stamps tie files on disk to the config, corpus, revision and environment that made them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from altgrad.errors import MismatchError
from altgrad.study.grid import config_hash, result_fields
from altgrad.study.runs import RunConfig
from altgrad.training.checkpoint import write_bytes

STAMP = "stamp.json"


def state_key(run: RunConfig, corpus_fingerprint: str) -> str:
    """Return the name of a run's state folder: the same config on the same corpus, the same name."""
    return hashlib.sha256(f"{config_hash(run)}/{corpus_fingerprint}".encode()).hexdigest()[:12]


def run_stamp(run: RunConfig, corpus_fingerprint: str) -> dict[str, object]:
    """Return the fields that decide a run's results: its config's, and the corpus's fingerprint."""
    return {**result_fields(run), "corpus.fingerprint": corpus_fingerprint}


def write_stamp(folder: Path, stamp: Mapping[str, object]) -> None:
    """Write a state folder's stamp."""
    write_bytes(folder / STAMP, json.dumps(dict(stamp), indent=1, sort_keys=True).encode())


def read_stamp(folder: Path) -> dict[str, object] | None:
    """Return a state folder's stamp, or None where there is none."""
    try:
        stamp: dict[str, object] = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return None
    return stamp


def require_same(folder: Path, found: Mapping[str, object], wanted: Mapping[str, object], what_to_do: str) -> None:
    """Refuse state that something else made, naming the first fields that differ.

    Args:
        folder: Where the state is, for the message.
        found: The stamp on disk.
        wanted: The stamp of what is asked for.
        what_to_do: The message's last sentence.

    Raises:
        MismatchError: A field differs.
    """
    wanted = json.loads(json.dumps(dict(wanted)))
    different = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
    if different:
        shown = ", ".join(f"{key} was {found.get(key)!r} and is {wanted.get(key)!r}" for key in different[:3])
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise MismatchError(str(folder), f"it was made with other settings: {shown}{more}", what_to_do)
