"""Parquet files that are never half written and never silently wrong.

A file is written to a temporary name in the same folder, synced and renamed over the old one. Pages carry checksums:
without them most bit flips in a Parquet file read back as wrong numbers.
"""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from altgrad.errors import TableError
from altgrad.schema import Column

_ARROW_TYPES = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of a table's columns."""
    return pa.schema([pa.field(column.name, _ARROW_TYPES[column.dtype]) for column in columns])


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table to `path`, whole or not at all.

    Args:
        path: The file; its folder is made if need be.
        table: The rows. Equal tables give equal bytes.

    Raises:
        TableError: The file cannot be written; an old file of that name is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        pq.write_table(table, temporary, write_page_checksum=True, compression="zstd")
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TableError(
            str(path),
            f"it cannot be written (errno {error.errno}: {error.strerror})",
            "Free space or mend the disk and run the same command again",
        ) from error


def read_table(path: Path, columns: tuple[Column, ...] | None = None) -> pa.Table:
    """Read a table and verify its pages' checksums.

    Args:
        path: The file.
        columns: The columns that it must have; they catch damage to the footer, which has no checksum.

    Raises:
        TableError: The file is missing or damaged, or has other columns.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        found = dict(zip(table.column_names, table.schema.types, strict=True))
    except FileNotFoundError:
        raise TableError(str(path), "there is no such file", "Run the step that makes it") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(
            str(path), f"it is damaged or is not Parquet ({error})", "Delete it and run the step that makes it again"
        ) from None
    expected = {column.name: _ARROW_TYPES[column.dtype] for column in columns or ()}
    if columns is not None and found != expected:
        raise TableError(
            str(path),
            f"it has the columns {', '.join(found)}, not {', '.join(expected)}",
            "Delete it and run the step that makes it again",
        )
    return table
