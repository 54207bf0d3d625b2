"""From a study's tables to its statistics: the order in which they are made."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from altgrad.analysis.bands import bands_table, layer_rates_table, totals_by_layer
from altgrad.analysis.best_formats import best_table
from altgrad.analysis.cells import ChosenCell, Key, cells_table, chosen_cells, chosen_runs, scored_runs
from altgrad.analysis.comparisons import Comparison, compare, comparisons_table, differences_table
from altgrad.analysis.failures import failures_table
from altgrad.analysis.hypotheses import hypotheses_table
from altgrad.analysis.mechanism import mechanism_table, mechanism_tests_table
from altgrad.analysis.precision import precision_table
from altgrad.analysis.probe_bands import distribution_bands_table, hessian_bands_table
from altgrad.analysis.recoveries import recoveries_table
from altgrad.analysis.study_info import StudyInfo, from_frame
from altgrad.analysis.sweet_spots import sweet_spots_table
from altgrad.analysis.tables import Tables


@dataclass(frozen=True)
class Analysis:
    """The steps that several statistics share, each computed once.

    Attributes:
        tables: The study's tables.
    """

    tables: Tables

    @cached_property
    def info(self) -> StudyInfo:
        """The study."""
        return from_frame(self.tables["study"])

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The cells table."""
        return cells_table(self.tables["runs"], self.tables["tuning"], self.info)

    @cached_property
    def chosen_runs(self) -> pd.DataFrame:
        """Runs at their cell's chosen learning rate."""
        return chosen_runs(self.tables["runs"], self.cells)

    @cached_property
    def chosen_cells(self) -> dict[Key, ChosenCell]:
        """Each cell at its chosen learning rate."""
        return chosen_cells(self.tables["runs"], self.cells, self.info)

    @cached_property
    def compared(self) -> list[Comparison]:
        """Every comparison with its paired differences."""
        updates = self.tables["updates"]
        aware = updates.loc[updates["geometry_aware"], "update"]
        return compare(self.chosen_cells, aware, self.info.baseline_format)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """The comparisons table."""
        return comparisons_table(self.compared, self.info)

    @cached_property
    def totals(self) -> pd.DataFrame:
        """Whole-run rates by run and layer type."""
        return totals_by_layer(self.tables["tensors"])

    @cached_property
    def mechanism(self) -> pd.DataFrame:
        """The mechanism table."""
        return mechanism_table(self.cells, self.compared, self.layer_rates, self.chosen_runs, self.info.baseline_format)

    @cached_property
    def layer_rates(self) -> pd.DataFrame:
        """The layer_rates table."""
        tensors, diagnostics = self.tables["tensors"], self.tables["tensor_diagnostics"]
        return layer_rates_table(self.chosen_runs, self.totals, tensors, diagnostics)

    @cached_property
    def failures(self) -> pd.DataFrame:
        """The failures table, of every run that enters comparisons."""
        runs = scored_runs(self.tables["runs"])
        return failures_table(runs, set(self.chosen_runs["run_id"]), self.totals, self.tables["counters"])


STATISTIC_MAKERS: dict[str, Callable[[Analysis], pd.DataFrame]] = {
    "cells": lambda a: a.cells,
    "comparisons": lambda a: a.comparisons,
    "differences": lambda a: differences_table(a.compared),
    "best": lambda a: best_table(a.chosen_cells, a.compared, a.info),
    "recoveries": lambda a: recoveries_table(a.compared, a.info.confidence),
    "precision": lambda a: precision_table(a.tables["trials"], a.compared, a.info),
    "mechanism": lambda a: a.mechanism,
    "mechanism_tests": lambda a: mechanism_tests_table(a.mechanism),
    "hypotheses": lambda a: hypotheses_table(a.tables["plan"], a.compared, a.info),
    "bands": lambda a: bands_table(a.chosen_runs, a.tables["curves"], a.tables["counters"], a.tables["probes"]),
    "distribution_bands": lambda a: distribution_bands_table(a.chosen_runs, a.tables["distributions"]),
    "hessian_bands": lambda a: hessian_bands_table(a.chosen_runs, a.tables["hessian"]),
    "layer_rates": lambda a: a.layer_rates,
    "failures": lambda a: a.failures,
    "sweet_spots": lambda a: sweet_spots_table(a.chosen_cells, a.comparisons, a.layer_rates, a.info),
}
"""What makes each statistics table. A new statistic is a file, a line here and its columns in `schema.STATISTICS`."""


def analyse_study(tables: Tables) -> dict[str, pd.DataFrame]:
    """Return every statistics table of a study.

    Args:
        tables: What `altgrad tabulate` wrote.
    """
    analysis = Analysis(tables)
    return {name: make(analysis) for name, make in STATISTIC_MAKERS.items()}
