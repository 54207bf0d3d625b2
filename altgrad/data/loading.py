"""Reading local files with `datasets`, and errors that name the file and the place where the loaders' own do not."""

import errno
import glob
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from altgrad.data.documents import Document
from altgrad.errors import CorpusError
from altgrad.study.config import CorpusConfig

if TYPE_CHECKING:
    import datasets

SUFFIXES = (".jsonl", ".parquet", ".txt")
"""The kinds of files that can be read, by the end of their names."""

_BATCH_DOCUMENTS = 64


class DatasetDocuments:
    """The documents of loaded datasets, one after another; they can be gone through any number of times.

    Args:
        parts: Name (for errors) and dataset, in order.
        text_field: The column that holds the text. A missing value is an empty document.
        id_field: The column that identifies a document, or None.

    Raises:
        CorpusError: A part lacks a column, or the text column holds something else.
    """

    def __init__(self, parts: Sequence[tuple[str, "datasets.Dataset"]], text_field: str, id_field: str | None) -> None:
        self._text, self._id = text_field, id_field
        self._parts = [(name, self._select(name, dataset)) for name, dataset in parts]

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents."""
        for name, dataset in self._parts:
            for batch in self._batches(name, dataset):
                texts = batch[self._text]
                ids = batch[self._id] if self._id else itertools.repeat(None)
                for text, key in zip(texts, ids, strict=False):
                    yield Document(text or "", None if key is None else str(key))

    def _batches(self, name: str, dataset: "datasets.Dataset") -> Iterator[dict[str, list[Any]]]:
        batches = dataset.iter(batch_size=_BATCH_DOCUMENTS)
        for first in itertools.count(0, _BATCH_DOCUMENTS):
            try:
                batch = next(batches, None)
            except UnicodeDecodeError as error:
                byte = f"byte {error.start} (0x{error.object[error.start]:02x})"
                rows = f"rows {first} to {first + _BATCH_DOCUMENTS - 1}"
                raise CorpusError(
                    f"{name}: {rows}", f"{byte} of a text is not UTF-8", "Save its texts as UTF-8"
                ) from None
            if batch is None:
                return
            yield batch

    def _select(self, name: str, dataset: "datasets.Dataset") -> "datasets.Dataset":
        there = ", ".join(dataset.column_names)
        for key, field in (("text_field", self._text), ("id_field", self._id)):
            if field is not None and field not in dataset.column_names:
                raise CorpusError(name, f"it has no field {field!r}", f"Set {key} to one of the fields it has: {there}")
        kind = getattr(dataset.features[self._text], "dtype", type(dataset.features[self._text]).__name__)
        if kind not in ("string", "large_string", "null"):
            raise CorpusError(
                name,
                f"its field {self._text!r} holds {kind}, not text",
                f"Set text_field to a field of text; there are: {there}",
            )
        return dataset.select_columns([field for field in (self._text, self._id) if field is not None])


def load(files: Sequence[Path], config: CorpusConfig, scratch: Path) -> DatasetDocuments:
    """Read files of one kind.

    Args:
        files: In order; their kind is that of the first.
        config: Names the text field and the id field.
        scratch: Folder that `datasets` keeps the text in.

    Raises:
        CorpusError: A file is damaged or lacks a field.
    """
    import datasets

    suffix = files[0].suffix
    parts: list[tuple[str, Any]] = []
    if suffix == ".txt":
        whole = _load(datasets.Dataset.from_text, files, scratch, sample_by="document")
        parts.append((str(files[0].parent), whole))
    elif suffix == ".parquet":
        parts += [(str(file), _load(datasets.Dataset.from_parquet, [file], scratch)) for file in files]
    else:
        # One file at a time and in one piece, so that fields which are of no interest here may differ from file to
        # file and from line to line.
        for file in files:
            if not _is_blank(file):
                size = file.stat().st_size
                parts.append((str(file), _load(datasets.Dataset.from_json, [file], scratch, chunksize=size)))
    return DatasetDocuments(parts, config.text_field, config.id_field)


def _load(
    read: Callable[..., "datasets.Dataset"], files: Sequence[Path], scratch: Path, **options: Any
) -> "datasets.Dataset":
    """Call one of `datasets.Dataset.from_*`, which ask no server anything, unlike `load_dataset`."""
    try:
        with _quiet():
            return read([glob.escape(str(file)) for file in files], cache_dir=str(scratch), **options)
    except Exception as error:  # the loaders raise errors of a dozen types
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:  # of the scratch folder, not of the file
            raise cause from None
        if files[0].suffix == ".jsonl":
            _find_bad_line(files[0])
        reason = str(cause).split("\n")[0]
        raise CorpusError(str(files[0]), f"it cannot be read ({reason})", "Mend the file") from None


def _find_bad_line(file: Path) -> None:
    """Raise an error for the first line that is not a JSON object in UTF-8; return if there is none."""
    with file.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            where = f"{file}: line {number}"
            try:
                value = json.loads(line.strip().decode("utf-8-sig")) if line.strip() else {}
                json.dumps(value, ensure_ascii=False).encode()
            except json.JSONDecodeError as error:
                why = f"it is not JSON ({error.msg}, column {error.colno})"
                raise CorpusError(where, why, "Write one JSON object a line") from None
            except UnicodeEncodeError:
                raise CorpusError(
                    where, "it escapes half of a surrogate pair, which is no character", "Mend the line"
                ) from None
            if not isinstance(value, dict):
                kind = type(value).__name__
                raise CorpusError(where, f"it is a JSON {kind}, not an object", "Write one JSON object a line")


def _is_blank(file: Path) -> bool:
    with file.open("rb") as handle:
        return all(not line.strip() for line in handle)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loaders' progress bars and log lines off the screen, for this call only."""
    import datasets

    level, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()
