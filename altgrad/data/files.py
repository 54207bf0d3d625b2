"""The corpus source `files`: the user's own JSON lines, Parquet or plain text, with no network."""

import codecs
import glob
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from altgrad.data.loading import SUFFIXES, DatasetDocuments, load
from altgrad.errors import CorpusError
from altgrad.study.config import CorpusConfig

_SCAN_BYTES = 1 << 20


def identity(config: CorpusConfig) -> dict[str, Any]:
    """Return what the corpus is made from: each file's name and SHA-256, in the order in which they are read.

    Raises:
        CorpusError: A pattern matches no file, a file cannot be read, or its bytes are not UTF-8 where they should be.
    """
    files = find_files(config.paths)
    return {
        "files": [{"name": file.name, "sha256": scan(file)} for file in files],
        "text_field": config.text_field,
        "id_field": config.id_field,
    }


def documents(config: CorpusConfig, scratch: Path) -> DatasetDocuments:
    """Return the documents of the config's files, in order.

    Args:
        config: With `source: files`.
        scratch: Empty folder on a disk with room for the text; the documents are read from it.

    Raises:
        CorpusError: A file is damaged, or lacks the text field or the id field.
    """
    return load(find_files(config.paths), config, scratch)


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files that paths and globs name, each once, sorted.

    Raises:
        CorpusError: A pattern matches no file, a file is of no known kind, or there are files of several kinds.
    """
    found: set[Path] = set()
    for pattern in patterns:
        matches = glob.glob(str(Path(pattern).expanduser()), recursive=True)
        files = {Path(match).absolute() for match in matches if Path(match).is_file()}
        if not files:
            raise CorpusError(f"paths: {pattern}", "no file matches", f"Give paths or globs, read from {Path.cwd()}")
        found |= files
    kinds = {file.suffix: file for file in sorted(found)}
    for suffix, file in kinds.items():
        if suffix not in SUFFIXES:
            raise CorpusError(
                str(file), f"its name ends in {suffix or 'nothing'}", f"Give files of one of {', '.join(SUFFIXES)}"
            )
    if len(kinds) > 1:
        raise CorpusError(
            "paths", f"they mix {' and '.join(sorted(kinds))} files", "Give files of one kind, or two corpora"
        )
    return sorted(found)


def scan(file: Path) -> str:
    """Return a file's SHA-256 (hex), having checked that a text file is UTF-8.

    Raises:
        CorpusError: The file cannot be read, or a byte is not UTF-8; the error tells which.
    """
    sha256, decoder, offset = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")(), 0
    is_text = file.suffix != ".parquet"
    try:
        with file.open("rb") as handle:
            while chunk := handle.read(_SCAN_BYTES):
                sha256.update(chunk)
                if is_text:
                    start = offset - len(decoder.getstate()[0])
                    offset += len(chunk)
                    decoder.decode(chunk)
        start = offset - len(decoder.getstate()[0])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        byte = f"byte {start + error.start} (0x{error.object[error.start]:02x})"
        raise CorpusError(str(file), f"{byte} is not UTF-8", "Save the file as UTF-8") from None
    except OSError as error:
        raise CorpusError(str(file), f"it cannot be read ({error.strerror})", "Give a readable file") from None
    return sha256.hexdigest()
