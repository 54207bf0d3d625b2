"""Every table's columns: name, dtype, unit, meaning. The one place where they are written down.

The bench writes `TELEMETRY`, `TIMING` and `DIAGNOSTICS`, one file a run; the analysis reads them and writes the
tables of `TABLES`.
"""

from altgrad.schema.bench import DIAGNOSTICS, PROBE_TIMES, TELEMETRY, TIMING
from altgrad.schema.columns import COUNTS, RATES, SUMS, Column
from altgrad.schema.statistics import STATISTICS
from altgrad.schema.tables import ANALYSIS_TABLES, TIMING_SUMMARY, TRIALS, TUNING

__all__ = [
    "ANALYSIS_TABLES",
    "COUNTS",
    "DIAGNOSTICS",
    "PROBE_TIMES",
    "PUBLISHED",
    "RATES",
    "STATISTICS",
    "SUMS",
    "TABLES",
    "TELEMETRY",
    "TIMING",
    "TIMING_SUMMARY",
    "TRIALS",
    "TUNING",
    "Column",
]

PUBLISHED = (
    "study",
    "formats",
    "updates",
    "plan",
    "runs",
    "tuning",
    "trials",
    "timing_summary",
    "cells",
    "comparisons",
    "differences",
    "best",
    "recoveries",
    "precision",
    "mechanism",
    "mechanism_tests",
    "hypotheses",
    "layer_rates",
    "failures",
    "sweet_spots",
)
"""What `altgrad publish` writes beside the reports: the tables that are small, and what the reports quote."""

TABLES: dict[str, tuple[Column, ...]] = {
    "telemetry": TELEMETRY,
    "timing": TIMING,
    "diagnostics": DIAGNOSTICS,
    **ANALYSIS_TABLES,
    **STATISTICS,
}
