"""Documents, and how they are dealt out to training and validation.

The split is by document: no document, and no copy of one, stands on both sides. Its order is that of a hash keyed with
the corpus's seed, so it depends on neither the order of the files nor any random number generator.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from altgrad.errors import CorpusError

_DIGEST_BYTES = 16


class Document(NamedTuple):
    """One document of a corpus.

    Attributes:
        text: Its text.
        id: What identifies it, where the corpus says so; copies under one id are one document to the split.
    """

    text: str
    id: str | None = None


class CleanDocuments:
    r"""The documents that hold text, with `\n` line ends, in order; they can be gone through any number of times.

    CRLF and lone CR become LF, as in Python's text files: a document is the same document on whatever system it was
    saved, and a model spends nothing on line ends. Everything else is kept, NUL characters included.

    Args:
        documents: Any documents, which can be gone through more than once.
        limit: Stop after so many; None takes all.

    Attributes:
        empty: Documents without text that the last pass skipped.

    >>> [document.text for document in CleanDocuments([Document(" "), Document("a\r\nb")])]
    ['a\nb']
    """

    def __init__(self, documents: Iterable[Document], limit: int | None = None) -> None:
        self._documents = documents
        self._limit = limit
        self.empty = 0

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents."""
        count = self.empty = 0
        for document in self._documents:
            if count == self._limit:
                return
            if not document.text or document.text.isspace():
                self.empty += 1
                continue
            count += 1
            yield document._replace(text=document.text.replace("\r\n", "\n").replace("\r", "\n"))


class Split(NamedTuple):
    """Which documents are held out for validation.

    Attributes:
        held_out: One truth value a document, in order (bool, shape (documents,)).
        duplicates: Documents that repeat an earlier one's text or id.
    """

    held_out: npt.NDArray[np.bool_]
    duplicates: int


def split_documents(documents: Iterable[Document], seed: int, val_fraction: float, where: str) -> Split:
    """Hold out a share of the documents, copies together.

    Documents with the same text, or the same id, form a group (through any chain of such pairs). Groups are held out in
    the order of their keyed hash until `val_fraction` of the documents are; at least one group stays on each side.

    Args:
        documents: Cleaned documents.
        seed: Keys the hash: another seed, another split.
        val_fraction: Share of the documents to hold out, in (0, 1).
        where: What to call the corpus in an error.

    Raises:
        CorpusError: There are no documents, or all are copies of one, which no split by document can divide.
    """
    groups = _Groups()
    longest = 0
    for document in documents:
        groups.add(document)
        longest = max(longest, len(document.text))
    total = len(groups.parent)
    if total == 0:
        raise CorpusError(
            where, "it is empty: no document holds any text", "Give documents with text, or check text_field"
        )
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(total):
        members[groups.root(index)].append(index)
    if len(members) < 2:
        copies = f"{total} copies of one document" if total > 1 else "one document"
        raise CorpusError(
            where,
            f"it is {copies} of {longest} characters, and validation is split off by document",
            "Give at least two different documents, for example the parts of it as separate ones",
        )
    key = seed.to_bytes(8, "little")
    order = sorted(members.values(), key=lambda group: min(_digest(groups.texts[index], key) for index in group))
    held_out = np.zeros(total, dtype=np.bool_)
    missing = max(1, round(val_fraction * total))
    for group in order[:-1]:
        held_out[group] = True
        missing -= len(group)
        if missing <= 0:
            break
    return Split(held_out, total - len(members))


class _Groups:
    """Documents joined by equal text or equal id: a union-find over hashes, which keeps no text."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.texts: list[bytes] = []
        self._first: dict[bytes, int] = {}

    def add(self, document: Document) -> None:
        index = len(self.parent)
        self.parent.append(index)
        self.texts.append(_digest(document.text.encode()))
        keys = [b"text" + self.texts[-1]]
        if document.id is not None:
            keys.append(b"id" + _digest(document.id.encode()))
        for key in keys:
            self.parent[self.root(index)] = self.root(self._first.setdefault(key, index))

    def root(self, index: int) -> int:
        while self.parent[index] != index:
            self.parent[index] = self.parent[self.parent[index]]
            index = self.parent[index]
        return index


def _digest(data: bytes, key: bytes = b"") -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES, key=key).digest()
