"""Tables as typed frames: written and read by name, checked against the schema, loaded when they are asked for."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from altgrad.errors import TableError
from altgrad.parquet import arrow_schema, read_table, write_table
from altgrad.schema import ANALYSIS_TABLES, STATISTICS, TABLES

Row = dict[str, Any]


class Tables:
    """The tables of a study by name, each loaded once, when it is first asked for.

    Args:
        loaders: For each name, what loads the frame.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], pd.DataFrame]]) -> None:
        self._loaders = dict(loaders)
        self._frames: dict[str, pd.DataFrame] = {}

    @classmethod
    def open(cls, tables: Path, statistics: Path | None = None) -> "Tables":
        """Return the tables in a folder that `altgrad tabulate` wrote, and one that `altgrad analyse` wrote."""
        folders = [(tables, ANALYSIS_TABLES)] + ([(statistics, STATISTICS)] if statistics is not None else [])
        return cls({name: _loader(folder, name) for folder, names in folders for name in names})

    @classmethod
    def of(cls, frames: Mapping[str, pd.DataFrame]) -> "Tables":
        """Return tables that are in memory already."""
        return cls({name: _constant(frame) for name, frame in frames.items()})

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return a table; do not change it.

        Raises:
            TableError: There is no table of that name here, or its file is missing, damaged or of another schema.
        """
        if name not in self._loaders:
            raise TableError(f"table {name}", "it is not among these tables", f"Known: {', '.join(self._loaders)}")
        if name not in self._frames:
            self._frames[name] = self._loaders[name]()
        return self._frames[name]


def frame(name: str, rows: list[Row]) -> pd.DataFrame:
    """Return rows as a frame with a table's columns and dtypes.

    Args:
        name: The table's name in `altgrad.schema.TABLES`.
        rows: One dict a row; a column that a row lacks is null.
    """
    return _to_pandas(pa.Table.from_pylist(rows, schema=arrow_schema(TABLES[name])))


def records(data: pd.DataFrame) -> list[Row]:
    """Return a frame's rows as dicts."""
    return [{str(key): value for key, value in row.items()} for row in data.to_dict("records")]


def typed(name: str, data: pd.DataFrame) -> pd.DataFrame:
    """Return `data` with a table's columns, in their order and with their dtypes."""
    return _to_pandas(_to_arrow(name, data))


def write_frame(folder: Path, name: str, data: pd.DataFrame) -> None:
    """Write a frame to `<folder>/<name>.parquet`; equal frames give equal bytes."""
    write_table(folder / f"{name}.parquet", _to_arrow(name, data))


def read_frame(folder: Path, name: str) -> pd.DataFrame:
    """Read `<folder>/<name>.parquet`.

    Raises:
        TableError: It is missing, damaged or not of its schema.
    """
    return _to_pandas(read_table(folder / f"{name}.parquet", TABLES[name]))


def _to_arrow(name: str, data: pd.DataFrame) -> pa.Table:
    schema = arrow_schema(TABLES[name])
    if data.empty:
        return schema.empty_table()
    table = pa.Table.from_pandas(data[schema.names], schema=schema, preserve_index=False)
    return table.replace_schema_metadata(None)


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    data: pd.DataFrame = table.to_pandas()
    return data


def _loader(folder: Path, name: str) -> Callable[[], pd.DataFrame]:
    return lambda: read_frame(folder, name)


def _constant(data: pd.DataFrame) -> Callable[[], pd.DataFrame]:
    return lambda: data
