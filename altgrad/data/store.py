"""A corpus on disk: two streams of token ids and `meta.json`, which is written last and says what the streams hold."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from altgrad.data.tokenizers import Tokenizer
from altgrad.errors import CorpusError, MismatchError

REVISION = 1
"""Of corpora on disk; raised in the commit that changes what `prepare_corpus` writes."""

SPLITS = ("train", "val")
META = "meta.json"


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus.

    Attributes:
        train: Training tokens, a read-only memory map of shape (tokens,), uint16 or uint32.
        val: Validation tokens.
        meta: What `meta.json` says.
        fingerprint: Hash (hex) of the tokenizer and both streams: equal fingerprints, equal training data.
    """

    train: npt.NDArray[np.unsignedinteger]
    val: npt.NDArray[np.unsignedinteger]
    meta: Mapping[str, Any]
    fingerprint: str


def load_corpus(path: Path, verify: bool = False) -> Corpus:
    """Open a corpus that `altgrad prepare` has made.

    Args:
        path: Its folder.
        verify: Also read both streams and compare their SHA-256.

    Raises:
        CorpusError: A file is missing or damaged.
        MismatchError: It was made by another revision of the preparation.
    """
    meta = _read_meta(path)
    if meta["revision"] != REVISION:
        raise MismatchError(
            str(path / META),
            f"the corpus was prepared by revision {meta['revision']}, this is revision {REVISION}",
            "Run `altgrad prepare` again",
        )
    dtype = np.dtype(meta["dtype"]).newbyteorder("<")
    train, val = (_open_stream(path / f"{split}.bin", meta[split], dtype, verify) for split in SPLITS)
    return Corpus(train, val, meta, meta["fingerprint"])


def fingerprint(meta: Mapping[str, Any]) -> str:
    """Return the hash (hex) over the tokenizer's hash, the dtype and both streams' hashes."""
    parts = [meta["tokenizer"]["sha256"], meta["dtype"], *(meta[split]["sha256"] for split in SPLITS)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class TokenStream:
    """A file of token ids that is written document by document; each document ends with an end-of-text token.

    Args:
        path: The file, which must not exist.
        tokenizer: Gives the ids and their dtype.

    Attributes:
        tokens: Ids written, end-of-text tokens included.
        documents: Documents written.
    """

    def __init__(self, path: Path, tokenizer: Tokenizer) -> None:
        self._handle = path.open("xb", buffering=1 << 20)
        self._tokenizer = tokenizer
        self._end = np.array([tokenizer.end_of_text], dtype=tokenizer.dtype).tobytes()
        self._sha256 = hashlib.sha256()
        self.tokens = 0
        self.documents = 0

    def __enter__(self) -> "TokenStream":
        """Return the stream, to be closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sync the file to the disk and close it."""
        with self._handle:
            if kind is None:
                self._handle.flush()
                os.fsync(self._handle.fileno())

    def write(self, text: str) -> None:
        """Append one document."""
        ids = self._tokenizer.encode(text)
        data = ids.astype(self._tokenizer.dtype).tobytes() + self._end
        self._handle.write(data)
        self._sha256.update(data)
        self.tokens += len(ids) + 1
        self.documents += 1

    def summary(self) -> dict[str, Any]:
        """Return the stream's entry in the metadata."""
        return {"documents": self.documents, "tokens": self.tokens, "sha256": self._sha256.hexdigest()}


def publish(staging: Path, out: Path, meta: Mapping[str, Any]) -> None:
    """Move finished streams into place, `meta.json` last: a folder with metadata is a whole corpus.

    Args:
        staging: Folder on the same file system that holds the streams.
        out: The corpus's folder.
        meta: Its metadata.
    """
    (staging / META).write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    with (staging / META).open("rb") as handle:
        os.fsync(handle.fileno())
    (out / META).unlink(missing_ok=True)
    for name in (*(f"{split}.bin" for split in SPLITS), META):
        os.replace(staging / name, out / name)
    folder = os.open(out, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((path / META).read_bytes())
        complete = meta["revision"] > 0 and meta["tokenizer"]["vocab_size"] > 0
        if complete and all(meta[split]["tokens"] > 0 for split in SPLITS) and fingerprint(meta) == meta["fingerprint"]:
            return meta
    except OSError as error:
        raise CorpusError(
            str(path / META), f"it cannot be read ({error.strerror})", "Make the corpus with `altgrad prepare`"
        ) from None
    except (ValueError, KeyError, TypeError):
        pass
    raise CorpusError(str(path / META), "it is damaged", "Delete the folder and run `altgrad prepare` again") from None


def _open_stream(
    path: Path, entry: Mapping[str, Any], dtype: np.dtype[Any], verify: bool
) -> npt.NDArray[np.unsignedinteger]:
    again = "Delete the folder and run `altgrad prepare` again"
    expected = entry["tokens"] * dtype.itemsize
    try:
        size = path.stat().st_size
        if size == expected and verify:
            with path.open("rb") as handle:
                found = hashlib.file_digest(handle, "sha256").hexdigest()
            if found != entry["sha256"]:
                raise CorpusError(str(path), "its SHA-256 is not the one in meta.json", again)
    except OSError as error:
        raise CorpusError(str(path), f"it cannot be read ({error.strerror})", again) from None
    if size != expected:
        raise CorpusError(str(path), f"it has {size} bytes where meta.json says {expected}", again)
    return np.memmap(path, dtype=dtype, mode="r")
