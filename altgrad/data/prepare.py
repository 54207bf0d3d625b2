"""From a corpus's config to its token files."""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from altgrad.data.documents import CleanDocuments, Document, Split, split_documents
from altgrad.data.store import REVISION, SPLITS, Corpus, TokenStream, fingerprint, load_corpus, publish
from altgrad.data.tokenizers import Tokenizer, load_tokenizer
from altgrad.errors import AltGradError, CorpusError, LockedError, MismatchError
from altgrad.study.config import CorpusConfig

__all__ = ["Corpus", "load_corpus", "prepare_corpus"]

_PROGRESS_AFTER_S = 2.0
_PLACES = frozenset({"paths", "tokenizer_files"})


def prepare_corpus(config: CorpusConfig, out: Path, progress: bool = False) -> Corpus:
    """Make a corpus, or open it if it is there already.

    `out` gets `train.bin` and `val.bin` (one stream of little-endian token ids each, every document followed by the
    end-of-text token) and `meta.json`. The same config, documents and tokenizer give the same bytes. A corpus that
    matches them is left alone; any other in `out` is replaced, and only when the new one is whole.

    Args:
        config: Where the documents come from and how they become tokens.
        out: The corpus's folder; made if need be.
        progress: Show a progress line on standard error when it takes long.

    Raises:
        CorpusError: The documents cannot be read or split, or the files cannot be written.
        TokenizerError: The tokenizer's files are missing or not the published ones.
        NetworkError: Something has to be downloaded and there is no network.
        LockedError: Another process is preparing this corpus.
    """
    from altgrad.data.corpora import SOURCES

    identity = SOURCES[config.source].identity(config)
    stamp = _stamp(config, identity)
    try:
        with _exclusive(out):
            ready = _matching(out, stamp)
            if ready is not None:
                return ready
            with _staging(out) as staging:
                meta = _write(config, staging, progress)
                meta |= {"made_from": identity, "stamp": stamp}
                publish(staging, out, meta)
            return load_corpus(out)
    except OSError as error:
        if isinstance(error, AltGradError):  # NetworkError is an OSError too
            raise
        raise CorpusError(
            str(error.filename or out),
            f"it cannot be written (errno {error.errno}: {error.strerror})",
            "Free space or choose another folder, and run the same command again",
        ) from error


def _write(config: CorpusConfig, staging: Path, progress: bool) -> dict[str, Any]:
    """Write the token streams into the staging folder and return the metadata."""
    from altgrad.data.corpora import SOURCES

    source = SOURCES[config.source]
    tokenizer = load_tokenizer(config.tokenizer, config.tokenizer_files)
    documents = CleanDocuments(source.documents(config, staging / "scratch"), config.max_documents)
    split = split_documents(documents, config.seed, config.val_fraction, f"corpus {config.name}")
    streams = _encode(_watched(documents, len(split.held_out), progress), split, tokenizer, staging)
    meta: dict[str, Any] = {
        "name": config.name,
        "source": config.source,
        "description": source.description,
        "licence": source.licence if config.licence == "unknown" else config.licence,
        "revision": REVISION,
        "tokenizer": {
            "name": tokenizer.name,
            "vocab_size": tokenizer.vocab_size,
            "end_of_text": tokenizer.end_of_text,
            "sha256": tokenizer.sha256,
        },
        "dtype": tokenizer.dtype.name,
        "seed": config.seed,
        "val_fraction": config.val_fraction,
        "empty_documents": documents.empty,
        "duplicate_documents": split.duplicates,
        **streams,
    }
    return meta | {"fingerprint": fingerprint(meta)}


def _encode(
    documents: Iterable[Document], split: Split, tokenizer: Tokenizer, staging: Path
) -> dict[str, dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(TokenStream(staging / f"{name}.bin", tokenizer)) for name in SPLITS]
        for held_out, document in zip(split.held_out, documents, strict=True):
            streams[int(held_out)].write(document.text)
    return {name: stream.summary() for name, stream in zip(SPLITS, streams, strict=True)}


def _watched(documents: Iterable[Document], total: int, progress: bool) -> Iterator[Document]:
    """Yield the documents, with a progress line once it has taken a while."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("tokenizing"), BarColumn(), MofNCompleteColumn(), TextColumn("documents,"))
    left = (TimeRemainingColumn(), TextColumn("left"))
    bar = Progress(*columns, *left, console=Console(stderr=True), transient=True, disable=not progress)
    task, start = bar.add_task("", total=total), time.monotonic()
    try:
        for document in documents:
            yield document
            bar.advance(task)
            if time.monotonic() - start > _PROGRESS_AFTER_S:
                bar.start()
    finally:
        bar.stop()


def _stamp(config: CorpusConfig, identity: dict[str, Any]) -> str:
    """Return the hash (hex) of all that decides the corpus; where its files lie does not."""
    decides = config.model_dump(mode="json", exclude=set(_PLACES))
    text = json.dumps({"config": decides, "made_from": identity, "revision": REVISION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _matching(out: Path, stamp: str) -> Corpus | None:
    """Return the corpus in `out` if it is whole and has this stamp."""
    try:
        corpus = load_corpus(out, verify=True)
    except (CorpusError, MismatchError):
        return None
    return corpus if corpus.meta.get("stamp") == stamp else None


@contextmanager
def _exclusive(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(
            str(out), "another process is preparing this corpus", "Wait for it, or choose another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """Give an empty folder beside the corpus, for what is not finished; one left by a killed process is removed."""
    staging = out / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "scratch").mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
