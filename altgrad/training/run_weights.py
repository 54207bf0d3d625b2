"""A run's weights, from wherever its process left them: the final ones, or those of the newest restart state."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
from torch import Tensor

from altgrad.errors import CheckpointError, MismatchError
from altgrad.study.grid import config_hash
from altgrad.study.loading import load_config, parse
from altgrad.study.reading import read_mapping
from altgrad.study.runs import RunConfig
from altgrad.training.checkpoint import MANIFEST, StateFolder
from altgrad.training.stamp import STAMP, read_stamp

WEIGHTS = "final.safetensors"

DIAGNOSTICS_FILE = "diagnostics.parquet"
"""What a run from an archive has in place of its weights: what was made of them."""

ADVICE = "Run `altgrad train` for it again: it hands out the files of a finished run"

_TRIES = 5


class RunWeights(NamedTuple):
    """A run's weights, from wherever they were read.

    Attributes:
        source: The file or folder, for errors.
        run: The run.
        state: The model's state.
        shifts: What the run says of weights whose format changed under way: their new formats' names by weight.
    """

    source: Path
    run: RunConfig
    state: Mapping[str, Tensor]
    shifts: Any


def read_weights(folder: Path, say: Callable[[str], None]) -> RunWeights:
    """Return the weights of a run: the final ones, or where it has not ended those of its newest whole restart state.

    The folder is only read, and a process that trains in it is not disturbed.

    Args:
        folder: The run's folder, or one of the folders in its `state/`.
        say: Takes messages for the user.

    Raises:
        ConfigError: The config or the summary cannot be read.
        MismatchError: The files belong to different runs, or the restart state could be that of several.
        CheckpointError: The weights are missing or damaged, or there are none.
    """
    finished = (folder / "summary.json").exists()
    return _read_finished(folder) if finished else _read_interrupted(folder, say)


def _read_finished(folder: Path) -> RunWeights:
    """Return the final weights, verified against the hash that the summary has of them."""
    run = load_config(RunConfig, folder / "config.json")
    summary = read_mapping(folder / "summary.json")
    if summary.get("run_id") != run.run_id:
        raise MismatchError(
            str(folder), f"its summary is of {summary.get('run_id')}, its config of {run.run_id}", ADVICE
        )
    files: Any = summary.get("files")
    expected = files.get(WEIGHTS) if isinstance(files, dict) else None
    path = folder / WEIGHTS
    with readable(path):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != expected:
            raise CheckpointError(str(path), "its hash is not the one in summary.json: it is damaged", ADVICE)
        return RunWeights(path, run, safetensors.torch.load(data), summary.get("shifts", {}))


@contextmanager
def readable(path: Path, advice: str = ADVICE) -> Iterator[None]:
    """Turn what a file of weights can throw while it is read into one line."""
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        raise CheckpointError(str(path), f"it cannot be read ({reason})", advice) from None


class _ReadOnlyState(StateFolder):
    """Restart state that is looked at while its run may go on: nothing in it is removed or rewritten."""

    def _clean(self) -> None:
        """Leave the files of unfinished writes to the process that makes them."""

    def _write_manifest(self, entries: object) -> None:
        """Leave the fallback to the process that resumes."""


def _read_interrupted(folder: Path, say: Callable[[str], None]) -> RunWeights:
    """Return the weights of the newest restart state that is whole."""
    home = _find_state(folder)
    run = stamped_run(home)
    for _ in range(_TRIES):
        before, messages = _manifest(home), list[str]()
        try:
            loaded = _ReadOnlyState(home, messages.append).load()
        except CheckpointError:
            if _manifest(home) == before:
                raise
            continue  # its run went on meanwhile and replaced what the manifest named
        if loaded is not None:
            break
    else:
        raise CheckpointError(str(home), "its run goes on faster than it can be read", "Wait for its end and try again")
    entry, payload = loaded
    for message in messages:
        say(message)
    say(f"{run.run_id}: not finished; these are the weights of step {entry.step} of {run.training.steps}")
    return RunWeights(home / entry.file, run, payload["model"], payload.get("shifts", {}))


def _manifest(home: Path) -> bytes:
    path = home / MANIFEST
    return path.read_bytes() if path.exists() else b""


def _find_state(folder: Path) -> Path:
    """Return the one folder of restart state that belongs to a run's folder, or is that folder itself."""
    if (folder / MANIFEST).exists():
        return folder
    homes = [path.parent for path in sorted(folder.glob(f"state/*/{MANIFEST}"))]
    if not homes:
        raise CheckpointError(str(folder), "it holds neither a finished run nor the restart state of one", ADVICE)
    config = folder / "config.json"
    if config.exists():
        wanted = config_hash(load_config(RunConfig, config))
        homes = [home for home in homes if config_hash(stamped_run(home)) == wanted]
        if not homes:
            raise MismatchError(
                str(folder), "its restart state is of another run than its config.json", "Name a folder in state/"
            )
    if len(homes) > 1:
        names = ", ".join(f"{home.name} ({stamped_run(home).run_id})" for home in homes)
        raise MismatchError(
            str(folder / "state"), f"it holds the restart state of several runs: {names}", "Name one of these folders"
        )
    return homes[0]


def stamped_run(home: Path) -> RunConfig:
    """Return the run that a folder of restart state belongs to, from its stamp.

    The stamp has every field that decides the result under its dotted name; the rest of a config is filled in.
    """
    unknown = {"study": "unknown", "role": "grid", "layer_types": {}, "update_spec": {"geometry_aware": False}}
    data: dict[str, Any] = dict(unknown)
    try:
        for key, value in (read_stamp(home) or {}).items():
            if not key.startswith(("environment.", "corpus.")):
                *sections, last = key.split(".")
                place = data
                for section in sections:
                    place = place.setdefault(section, {})
                place[last] = value
    except (AttributeError, TypeError):
        raise CheckpointError(str(home / STAMP), "it is damaged", "Delete the folder to start the run anew") from None
    return parse(RunConfig, data, lambda _: str(home / STAMP))
