"""One run from its config to its files: train, resume, or hand out what is finished.

The run's folder holds its files (`OUTPUTS`) and an undeclared folder `state/`, which is the truth: restart
state while the run trains and the finished files after. A workflow engine may delete the declared files; asked again,
they are handed out from the state without training. The state is filed under a key of config and corpus, so that a
changed config starts anew and the old state stays for when it comes back.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors

from altgrad.data.store import Corpus, load_corpus
from altgrad.errors import CheckpointError, MismatchError
from altgrad.study.runs import RunConfig
from altgrad.telemetry.live import Live
from altgrad.telemetry.mirror import Mirror
from altgrad.telemetry.recorder import Recorder
from altgrad.training.checkpoint import StateFolder, write_bytes, write_json
from altgrad.training.environment import Environment, prepare_process, resolve_environment
from altgrad.training.loop import Trainer
from altgrad.training.process import Interrupts, exclusive
from altgrad.training.progress import Progress
from altgrad.training.run_weights import DIAGNOSTICS_FILE
from altgrad.training.setup import build, build_model
from altgrad.training.stamp import read_stamp, require_same, run_stamp, state_key, write_stamp
from altgrad.training.summary import summarize, update_ulps

OUTPUTS = ("config.json", "telemetry.parquet", "timing.parquet", "final.safetensors", "summary.json")
"""The files of a run, in the order in which they are written; the summary lists the others, with their hashes."""

FINISHED = "finished"


def train_run(
    run: RunConfig,
    corpus_folder: Path,
    out: Path,
    set_aside: bool,
    say: Callable[[str], None],
    interrupts: Interrupts | None = None,
) -> int:
    """Train a run to its end, from wherever an earlier process left it.

    Args:
        run: The run.
        corpus_folder: A corpus as `altgrad prepare` writes it.
        out: The run's folder.
        set_aside: Leave files of another config where they are and train beside them; otherwise they are refused.
        say: Takes messages for the user.
        interrupts: The process's, where it trains several runs; left out, signals are noticed for this one.

    Returns:
        The process's exit status: 0 at the run's end (a diverged run is a result), 128 + the signal's number after an
        interrupt, with the state saved.

    Raises:
        AltGradError: The corpus, folder, device or state cannot be used; nothing was overwritten.
    """
    corpus = load_corpus(corpus_folder, verify=True)
    stamp = run_stamp(run, corpus.fingerprint)
    state = out / "state"
    with exclusive(state / "lock"):
        home = state / state_key(run, corpus.fingerprint)
        _refuse_orphans(out, state)
        if not set_aside and not home.exists():
            _refuse_others(state, stamp)
        if not (home / FINISHED / OUTPUTS[-1]).exists():
            own = interrupts or Interrupts()
            try:
                status = _train(run, corpus, home, stamp, say, own)
            finally:
                if interrupts is None:
                    own.restore()
            if status:
                return status
        else:
            say(f"{run.run_id}: finished already; handing out its files")
        StateFolder(home, say).discard()
        _hand_out(home / FINISHED, out)
    return 0


_ADVICE = "Name another folder with --out"


def _refuse_orphans(out: Path, state: Path) -> None:
    """Refuse a folder with a finished run that no state stands behind: its files would be lost."""
    summary = out / OUTPUTS[-1]
    if summary.exists():
        content = summary.read_bytes()
        if not any(path.read_bytes() == content for path in state.glob(f"*/{FINISHED}/{OUTPUTS[-1]}")):
            raise MismatchError(str(out), "it holds a finished run without its state", _ADVICE)


def _refuse_others(state: Path, stamp: dict[str, object]) -> None:
    """Refuse to begin where another config, corpus or revision has left its run."""
    advice = f"{_ADVICE}, or pass --set-aside to keep the other run's state and train beside it"
    for other in sorted(path for path in state.iterdir() if path.is_dir()):
        found = read_stamp(other)
        if found is not None:
            same_kind = {key: value for key, value in found.items() if not key.startswith("environment.")}
            require_same(other, same_kind, stamp, advice)


def _train(
    run: RunConfig,
    corpus: Corpus,
    home: Path,
    stamp: dict[str, object],
    say: Callable[[str], None],
    interrupts: Interrupts,
) -> int:
    model = build_model(run, int(corpus.meta["tokenizer"]["vocab_size"]))
    environment = resolve_environment(run, sum(p.numel() for p in model.parameters()))
    prepare_process(environment)
    folder = StateFolder(home, say)
    _check_stamp(home, {**stamp, **environment.stamp()})
    if environment.compiled:
        say(f"{run.run_id}: compiling; the first steps take longer")
    parts = build(run, model, corpus, environment.device, environment.compiled)
    recorder = Recorder(run.run_id)
    loaded = folder.load()
    progress = Progress(run.run_id, run.training.steps, loaded[0].step if loaded else 0)
    mirror = Mirror(run, home / "wandb", progress.say)
    live = Live(home / "live.json", run.run_id, run.training.steps)
    trainer = Trainer(run, parts, corpus, environment, recorder, mirror, live, progress)
    try:
        if loaded:
            trainer.load_state_dict(loaded[1])
            recorder.restore(folder.shard_bytes(loaded[0]))
            if trainer.step:
                progress.say(f"{run.run_id}: going on from step {trainer.step}")
        else:
            folder.save(0, trainer.state_dict(), {})
        status = _loop(trainer, folder, recorder, interrupts)
        if not status:
            _finish(trainer, corpus, environment, folder, recorder, mirror)
    finally:
        mirror.close()
        progress.close()
    return status


def _check_stamp(home: Path, stamp: dict[str, object]) -> None:
    found = read_stamp(home)
    if found is None:
        write_stamp(home, stamp)
    else:
        require_same(
            home, found, stamp, "Go on with the settings that it was started with, or delete the folder to start anew"
        )


def _loop(trainer: Trainer, folder: StateFolder, recorder: Recorder, interrupts: Interrupts) -> int:
    """Step until the end or a signal, saving on the way; return the exit status."""
    while not trainer.done():
        trainer.advance()
        signal = interrupts.pending()
        due = trainer.step % trainer.run.training.checkpoint_every == 0
        if not trainer.done() and (signal or due) and trainer.weights_finite():
            folder.save(trainer.step, trainer.state_dict(), recorder.cut_shards(trainer.step))
        if signal and not trainer.done():
            return 128 + signal
    return 0


def _finish(
    trainer: Trainer,
    corpus: Corpus,
    environment: Environment,
    folder: StateFolder,
    recorder: Recorder,
    mirror: Mirror,
) -> None:
    """Write the finished files, the summary last, and drop the restart state."""
    finished = folder.folder / FINISHED
    finished.mkdir(exist_ok=True)
    model_state = _last_good_weights(trainer, folder)
    recorder.write(finished)
    write_bytes(finished / "final.safetensors", to_safetensors(model_state))
    write_json(finished / "config.json", trainer.run.model_dump(mode="json"))
    summary = summarize(trainer, corpus, environment)
    summary["update_ulps"] = update_ulps(finished / "telemetry.parquet")
    summary["files"] = {name: _sha256(finished / name) for name in OUTPUTS[:-1]}
    write_json(finished / "summary.json", summary)
    mirror.summarize(summary)


def _last_good_weights(trainer: Trainer, folder: StateFolder) -> dict[str, torch.Tensor]:
    """Return the model's state; after a divergence that reached the weights, the last checkpoint's."""
    state = trainer.parts.model.state_dict()
    if not trainer.weights_finite():  # no checkpoint is made of such weights
        loaded = folder.load()
        if loaded is not None:
            state = loaded[1]["model"]
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}


def _hand_out(finished: Path, out: Path) -> None:
    """Verify the finished files and copy them to where they are declared, unless the same bytes are there.

    Which they are the summary says: a run that came from an archive has diagnostics in place of its weights.
    """
    try:
        hashes: dict[str, str] = json.loads((finished / OUTPUTS[-1]).read_text())["files"]
        damaged = [name for name in hashes if _sha256(finished / name) != hashes[name]]
    except (OSError, ValueError, KeyError):
        damaged = [OUTPUTS[-1]]
    if damaged:
        raise CheckpointError(
            str(finished / damaged[0]), "it is damaged or missing", f"Delete {finished} to train the run again"
        )
    for name in {*OUTPUTS, DIAGNOSTICS_FILE} - {*hashes, OUTPUTS[-1]}:
        (out / name).unlink(missing_ok=True)
    for name in (*hashes, OUTPUTS[-1]):
        data = (finished / name).read_bytes()
        if not (out / name).exists() or (out / name).read_bytes() != data:
            write_bytes(out / name, data)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
