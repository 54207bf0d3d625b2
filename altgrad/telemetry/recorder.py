"""Rows on their way to Parquet: collected in memory, cut into shards at each save, joined once at the end.

The telemetry of a run is compared byte for byte between a run that was interrupted and one that was not, so wall-clock
measurements have a table of their own.
"""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from altgrad.errors import TableError
from altgrad.parquet import arrow_schema, write_table
from altgrad.schema import TELEMETRY, TIMING, Column

STREAMS: dict[str, tuple[Column, ...]] = {"telemetry": TELEMETRY, "timing": TIMING}
"""The tables that a run writes row by row."""


class Recorder:
    """Collects a run's rows.

    Args:
        run_id: The run; the first column of every row.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in STREAMS}
        self._shards: dict[str, list[bytes]] = {name: [] for name in STREAMS}

    def add(self, step: int, scope: str, tensor: str, metrics: Mapping[str, float]) -> None:
        """Add telemetry rows, one a metric.

        Args:
            step: Optimizer steps done.
            scope: `weight`, `input`, `grad_output`, `gradient`, `update` or `run`.
            tensor: The parameter's dotted name, or "" for the run.
            metrics: Values by metric name.
        """
        rows = self._rows["telemetry"]
        for metric, value in metrics.items():
            rows.append((self.run_id, step, scope, tensor, metric, float(value)))

    def add_timing(self, step: int, values: Mapping[str, float]) -> None:
        """Add one timing row; `values` has every column of `schema.TIMING` after `step`."""
        self._rows["timing"].append((self.run_id, step, *(values[column.name] for column in TIMING[2:])))

    def cut_shards(self, step: int) -> dict[str, bytes]:
        """Turn the rows since the last cut into Parquet bytes.

        Args:
            step: Optimizer steps done, for the names.

        Returns:
            File name to bytes, for the restart state. The recorder keeps them too, for `write`.
        """
        cut: dict[str, bytes] = {}
        for name, rows in self._rows.items():
            if rows:
                data = _to_bytes(_table(name, rows))
                self._shards[name].append(data)
                cut[f"{name}-{step:09d}.parquet"] = data
                rows.clear()
        return cut

    def restore(self, shards: Mapping[str, bytes]) -> None:
        """Take back the shards of a restart state: file name to bytes, in order."""
        for file, data in shards.items():
            self._shards[file.rsplit("-", 1)[0]].append(data)

    def write(self, folder: Path) -> None:
        """Write `telemetry.parquet` and `timing.parquet`, every row from the run's first step to now."""
        for name in STREAMS:
            tables = [_from_bytes(data) for data in self._shards[name]]
            tables.append(_table(name, self._rows[name]))
            write_table(folder / f"{name}.parquet", pa.concat_tables(tables).combine_chunks())


def _table(name: str, rows: Iterable[tuple[object, ...]]) -> pa.Table:
    schema = arrow_schema(STREAMS[name])
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def _to_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True, compression="zstd")
    return buffer.getvalue()


def _from_bytes(data: bytes) -> pa.Table:
    try:
        return pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise TableError("telemetry shard", f"it is damaged ({error})", "Start the run from the beginning") from error
