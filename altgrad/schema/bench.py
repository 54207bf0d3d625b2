"""What the bench writes, one file a run."""

from altgrad.schema.columns import RUN_ID, STEP, Column

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
    Column("probe_gradients_s", "float64", "s", "The time of gradient probes, as a mean over the window's steps."),
    Column("probe_weights_s", "float64", "s", "Likewise of weight probes."),
    Column("probe_updates_s", "float64", "s", "Likewise of probes of the intended update."),
    Column("probe_rank_s", "float64", "s", "Likewise of rank probes."),
    Column("probe_hessian_s", "float64", "s", "Likewise of Hessian probes."),
    Column("peak_memory_bytes", "int64", "bytes", "Peak memory of the process (CPU) or the device (CUDA) so far."),
)

PROBE_TIMES = tuple(column for column in TIMING if column.name.startswith("probe_"))
"""Times of probes, which are 0 in most windows; runs of revisions without probes lack the columns."""

DIAGNOSTICS = (
    RUN_ID,
    Column("tensor", "string", "", "The parameter's dotted name."),
    Column("metric", "string", "", "The diagnostic's name."),
    Column("value", "float64", "", "Its value on the run's final weights."),
)
