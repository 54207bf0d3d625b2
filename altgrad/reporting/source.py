"""What reports are made from: the study's tables, each row to be had by its cell, and its figures."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from altgrad.analysis.cells import CELL, Key, cell_key
from altgrad.analysis.layers import ALL
from altgrad.analysis.study_info import StudyInfo, from_frame
from altgrad.analysis.tables import Row, Tables, records
from altgrad.errors import ReportError
from altgrad.figures.catalog import find_figure
from altgrad.figures.style import STORAGE_ORDER, Encoding, in_order
from altgrad.reporting.document import Figure
from altgrad.study.grid import BASELINE_UPDATE
from altgrad.study.hypotheses import DID_STORAGE

STORAGES = (*STORAGE_ORDER, DID_STORAGE)
"""The order in which storages are reported."""

Named = tuple[str, Key]
"""An estimand and a cell."""


@dataclass(frozen=True)
class Source:
    """What a report is made from.

    Attributes:
        tables: The study's tables and statistics.
        figures: The folder of its figures.
    """

    tables: Tables
    figures: Path

    @cached_property
    def info(self) -> StudyInfo:
        """The study."""
        return from_frame(self.tables["study"])

    @cached_property
    def encoding(self) -> Encoding:
        """The order of formats and updates, the same as in the figures."""
        return Encoding.of(self.tables)

    @cached_property
    def primary(self) -> str:
        """The geometry-aware update that was fixed beforehand; empty where it is not in the study."""
        updates = self.tables["updates"]
        return next(iter(updates.loc[updates["primary"], "update"]), "")

    @cached_property
    def compared(self) -> tuple[str, ...]:
        """The updates of the primary comparison: the standard one, and the primary one where the study has it."""
        return tuple(filter(None, (BASELINE_UPDATE, self.primary)))

    @cached_property
    def cells(self) -> dict[Key, Row]:
        """The cells table's rows at the chosen learning rates."""
        cells = self.tables["cells"]
        return {cell_key(row): row for row in records(cells[cells["chosen"]])}

    @cached_property
    def tuning(self) -> dict[Key, Row]:
        """The tuning table's rows."""
        return {cell_key(row): row for row in records(self.tables["tuning"])}

    @cached_property
    def comparisons(self) -> dict[Named, Row]:
        """The comparisons table's rows."""
        return {(row["estimand"], cell_key(row)): row for row in records(self.tables["comparisons"])}

    @cached_property
    def benefits_by_seed(self) -> dict[Key, dict[int, float]]:
        """The benefits in the differences table: for each cell, the seeds' differences in nats."""
        rows = self.tables["differences"]
        found: dict[Key, dict[int, float]] = {}
        for row in records(rows[rows["estimand"] == "benefit"]):
            found.setdefault(cell_key(row), {})[row["seed"]] = row["value"]
        return found

    @cached_property
    def best(self) -> dict[Named, Row]:
        """The best table's rows."""
        return {(row["estimand"], cell_key(row)): row for row in records(self.tables["best"])}

    @cached_property
    def recoveries(self) -> dict[Key, Row]:
        """The recoveries table's rows."""
        return {cell_key(row): row for row in records(self.tables["recoveries"])}

    @cached_property
    def _tuned_scores(self) -> dict[Key, float]:
        trials = self.tables["trials"]
        means = trials[trials["chosen"]].groupby(CELL, sort=False, as_index=False).agg(score=("score", "mean"))
        return {cell_key(row): row["score"] for row in records(means)}

    def tuned_score(self, key: Key) -> float:
        """Return the mean score of a cell's trials at its frozen learning rate; NaN for a cell that was not tuned."""
        return self._tuned_scores.get(key, math.nan)

    def tuning_regret(self, key: Key) -> float:
        """Return by how many nats the trials' mean at a cell's frozen rate lies above the lowest of its rates."""
        trials = self.tables["trials"]
        mine = trials[(trials[[*CELL]] == list(key)).all(axis=1)].groupby("lr")["score"].mean()
        return self.tuned_score(key) - float(mine.min())

    def at_edge(self, key: Key) -> bool:
        """Return whether a cell's learning rate stands at or near the edge of several that were tried."""
        cell = self.cells.get(key)
        return cell is not None and bool(cell["lr_at_edge"]) and cell["lrs"] > 1

    def estimates(self, estimand: str, update: str = "", layers: str = ALL) -> list[Row]:
        """Return the rows of the comparisons table of an estimand, in the figures' order.

        Args:
            estimand: benefit, did or gap.
            update: Only this one; empty for every update.
            layers: The layers in the format.
        """
        rows = self.tables["comparisons"]
        rows = rows[(rows["estimand"] == estimand) & (rows["layers"] == layers)]
        return self.ordered(rows[rows["update"] == update] if update else rows)

    def figure(self, name: str) -> Figure:
        """Return a figure of the catalog.

        Raises:
            ReportError: Its file is missing.
        """
        spec, path = find_figure(name), self.figures / f"{name}.svg"
        if not path.is_file():
            raise ReportError(str(path), "the figure is missing", "Draw it with altgrad plot")
        return Figure(name, spec.title, spec.caption(self.tables), path)

    def ordered(self, data: pd.DataFrame) -> list[Row]:
        """Return a table's rows by update, storage and format, in the figures' order."""
        formats = list(self.encoding.labels)  # every format, references last
        storages = in_order(data["storage"], STORAGES)
        updates = self.encoding.updates
        rows = records(data)
        rows.sort(key=lambda r: (updates.index(r["update"]), storages.index(r["storage"]), formats.index(r["format"])))
        return rows

    def in_format_order(self, names: Iterable[str]) -> list[str]:
        """Return the names of formats, each once, in the figures' order."""
        return in_order(names, self.encoding.labels)
