"""Every table's columns: name, dtype, unit, meaning. The one place where they are written down.

The bench writes `TELEMETRY`, `TIMING` and `DIAGNOSTICS`, one file a run; the analysis reads them and writes the
tables of `TABLES`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: The column's name.
        dtype: `string`, `int32`, `int64`, `float64` or `bool`.
        unit: The unit, or an empty string for a plain number or a name.
        meaning: One sentence.
    """

    name: str
    dtype: str
    unit: str
    meaning: str


RUN_ID = Column("run_id", "string", "", "The run.")
STEP = Column("step", "int32", "steps", "Optimizer steps done when the row was written.")

TELEMETRY = (
    RUN_ID,
    STEP,
    Column("scope", "string", "", "What is measured: weight, input, grad_output, gradient, update or run."),
    Column("tensor", "string", "", "The parameter's dotted name; empty for the run."),
    Column("metric", "string", "", "The metric's name."),
    Column("value", "float64", "", "The value; counters are sums over the window that ends at the step."),
)

TIMING = (
    RUN_ID,
    STEP,
    Column(
        "tokens_per_s",
        "float64",
        "tokens/s",
        "Training tokens a second over the window, evaluation left out.",
    ),
    Column("step_s", "float64", "s", "Mean time of a training step over the window."),
    Column("data_s", "float64", "s", "The part of step_s that made batches."),
    Column("forward_backward_s", "float64", "s", "The part of step_s in forward and backward passes."),
    Column(
        "optimizer_s",
        "float64",
        "s",
        "The part of step_s in clipping and the optimizer's step, counting included.",
    ),
    Column("telemetry_s", "float64", "s", "The part of step_s that read counters back and wrote rows."),
    Column("peak_memory_bytes", "int64", "bytes", "Peak memory of the process (CPU) or the device (CUDA) so far."),
)

DIAGNOSTICS = (
    RUN_ID,
    Column("tensor", "string", "", "The parameter's dotted name."),
    Column("metric", "string", "", "The diagnostic's name."),
    Column("value", "float64", "", "Its value on the run's final weights."),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "telemetry": TELEMETRY,
    "timing": TIMING,
    "diagnostics": DIAGNOSTICS,
}
