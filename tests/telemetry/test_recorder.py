import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from altgrad.errors import TableError
from altgrad.parquet import read_table
from altgrad.schema import TELEMETRY, TIMING
from altgrad.telemetry.recorder import Recorder

TIMES = {column.name: 0.5 for column in TIMING[2:]}


def filled(cut_at: tuple[int, ...], restart_at: int | None = None) -> Recorder:
    recorder, shards = Recorder("r1"), {}
    for step in range(1, 7):
        recorder.add(step, "weight", "wte.weight", {"flips": step, "stall": 2 * step})
        recorder.add_timing(step, TIMES | {"peak_memory_bytes": 7})
        if step in cut_at:
            shards |= recorder.cut_shards(step)
        if step == restart_at:
            recorder = Recorder("r1")
            recorder.restore(shards)
    return recorder


@pytest.mark.parametrize(("cuts", "restart"), [((), None), ((2, 4), None), ((2, 4), 4), ((1, 2, 3, 4, 5, 6), 5)])
def test_same_bytes_however_it_was_cut(tmp_path: Path, cuts: tuple[int, ...], restart: int | None) -> None:
    filled(()).write(tmp_path / "whole")
    filled(cuts, restart).write(tmp_path / "cut")
    for name in ("telemetry.parquet", "timing.parquet"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    rows = pq.read_table(tmp_path / "cut" / "telemetry.parquet").to_pylist()
    assert [(row["step"], row["metric"], row["value"]) for row in rows][:3] == [
        (1, "flips", 1.0),
        (1, "stall", 2.0),
        (2, "flips", 2.0),
    ]
    assert len(rows) == 12


def test_a_run_without_rows_has_tables_with_columns(tmp_path: Path) -> None:
    Recorder("r1").write(tmp_path)
    table = pq.read_table(tmp_path / "telemetry.parquet")
    assert table.num_rows == 0
    assert table.column_names == ["run_id", "step", "scope", "tensor", "metric", "value"]


def test_shards_are_parquet_of_the_rows_since_the_last_cut() -> None:
    recorder = Recorder("r1")
    recorder.add(1, "run", "", {"train_loss": 3.0})
    assert list(recorder.cut_shards(1)) == ["telemetry-000000001.parquet"]
    assert recorder.cut_shards(2) == {}
    recorder.add(3, "run", "", {"train_loss": 2.0})
    (data,) = recorder.cut_shards(3).values()
    assert pq.read_table(io.BytesIO(data))["value"].to_pylist() == [2.0]


def test_every_bit_flip_in_a_table_is_seen(tmp_path: Path) -> None:
    filled(()).write(tmp_path)
    path = tmp_path / "telemetry.parquet"
    whole, expected = path.read_bytes(), read_table(path, TELEMETRY)
    silent = 0
    for position in range(0, len(whole), max(1, len(whole) // 150)):
        data = bytearray(whole)
        data[position] ^= 1 << (position % 8)
        path.write_bytes(data)
        try:
            silent += not read_table(path, TELEMETRY).equals(expected)
        except TableError:
            continue
    assert silent == 0
