from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from altgrad.analysis.tables import Tables, frame, read_frame, typed, write_frame
from altgrad.errors import TableError
from altgrad.parquet import write_table
from altgrad.schema import ANALYSIS_TABLES, STATISTICS, TABLES


def test_every_column_has_a_meaning_and_every_table_distinct_columns() -> None:
    for name, columns in TABLES.items():
        names = [column.name for column in columns]
        assert len(set(names)) == len(names), name
        assert all(column.meaning.endswith(".") for column in columns), name


def test_round_trip_keeps_types_and_bytes(tmp_path: Path) -> None:
    rows = [{"run_id": "a", "step": 3, "metric": "loss", "value": 0.1}, {"run_id": "b", "step": 4, "metric": "x"}]
    data = frame("curves", rows)
    write_frame(tmp_path / "one", "curves", data)
    write_frame(tmp_path / "two", "curves", data.copy())
    back = read_frame(tmp_path / "one", "curves")
    pd.testing.assert_frame_equal(back, data)
    assert back["step"].dtype == "int32"
    assert (tmp_path / "one/curves.parquet").read_bytes() == (tmp_path / "two/curves.parquet").read_bytes()


def test_columns_come_in_the_schemas_order_and_extra_ones_are_left_out() -> None:
    data = pd.DataFrame({"value": [1.0], "extra": [1], "metric": ["m"], "step": [2], "run_id": ["r"]})
    assert list(typed("curves", data).columns) == ["run_id", "step", "metric", "value"]


def test_an_empty_table_still_has_its_columns(tmp_path: Path) -> None:
    write_frame(tmp_path, "failures", frame("failures", []))
    assert list(read_frame(tmp_path, "failures").columns) == [c.name for c in STATISTICS["failures"]]


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "curves.parquet", pa.table({"run_id": ["a"], "loss": [0.1]}))
    with pytest.raises(TableError, match=r"curves.parquet: it has the columns run_id, loss, not run_id, step"):
        read_frame(tmp_path, "curves")


def test_tables_open_loads_once_and_only_what_is_asked(tmp_path: Path) -> None:
    write_frame(tmp_path / "tables", "curves", frame("curves", [{"run_id": "a", "step": 1, "metric": "m"}]))
    tables = Tables.open(tmp_path / "tables")
    assert tables["curves"] is tables["curves"]
    with pytest.raises(TableError, match=r"runs.parquet: there is no such file"):
        tables["runs"]
    with pytest.raises(TableError, match=r"table cells: it is not among these tables. Known: study, runs"):
        tables["cells"]


def test_tables_open_knows_every_table(tmp_path: Path) -> None:
    tables = Tables.open(tmp_path, tmp_path)
    for name in (*ANALYSIS_TABLES, *STATISTICS):
        with pytest.raises(TableError, match=f"{name}.parquet"):
            tables[name]
