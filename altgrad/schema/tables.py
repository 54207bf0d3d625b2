"""The tidy tables of a study, which `altgrad tabulate` writes."""

from altgrad.schema.bench import PROBE_TIMES, TIMING
from altgrad.schema.columns import (
    BIN,
    CELL,
    COUNTS,
    FORMAT,
    LAYER_TYPE,
    LR,
    METRIC,
    RATES,
    RUN_ID,
    SEED,
    STEP,
    SUMS,
    TENSOR,
    UPDATE,
    Column,
    count,
    share,
)

RUNS = (
    RUN_ID,
    Column("role", "string", "", "baseline, grid or included (a finished run from elsewhere)."),
    Column("study", "string", "", "The study that the run was made for."),
    *CELL,
    LR,
    SEED,
    Column("status", "string", "", "finished, diverged, shifted, or missing (planned, and not there)."),
    Column("comparable", "bool", "", "Whether it has the study's model, training and corpus, and enters comparisons."),
    Column("score", "float64", "nats", "val_loss, at most ln(vocabulary size), which a diverged run scores."),
    Column("val_loss", "float64", "nats", "Validation loss through the quantized weights at the end."),
    Column("val_perplexity", "float64", "", "exp(val_loss)."),
    Column("train_loss", "float64", "nats", "Mean training loss of the last window."),
    Column("steps", "int64", "steps", "Optimizer steps done."),
    Column("steps_planned", "int64", "steps", "Optimizer steps that the config asks for."),
    Column("tokens", "int64", "tokens", "Training tokens seen."),
    Column("tokens_per_s", "float64", "tokens/s", "Over the whole run, evaluation left out."),
    Column("wall_s", "float64", "s", "Time spent in training steps."),
    Column("peak_memory_bytes", "int64", "bytes", "Peak memory of the process (CPU) or the device (CUDA)."),
    Column("parameters", "int64", "", "Parameters of the model."),
    Column("device", "string", "", "What it ran on."),
    Column("versions", "string", "", "Versions that the result depends on, as JSON."),
    Column("git_revision", "string", "", "The commit that trained it."),
    Column("config_hash", "string", "", "SHA-256 of the config fields that decide the result."),
    Column("corpus_fingerprint", "string", "", "The corpus's fingerprint."),
    Column("revision", "int64", "", "The training stage's revision."),
    Column("update_ulps", "float64", "ulps", "Median intended update, meaned over tensors and probes (DIAG-04)."),
    Column("events", "int64", "", "How many events the run logged."),
    Column("archived", "bool", "", "Whether it came from an archive, which keeps few rows of telemetry."),
)
TUNING = (
    *CELL,
    Column("lr", "float64", "", "The frozen learning rate: a parabola's lowest rung around the best of the trials."),
    Column("lrs", "int64", "", "Learning rates that were tried."),
    Column("lr_at_edge", "bool", "", "Whether the search ended by its cap, and a better one may lie beyond."),
    Column("largest_stable_lr", "float64", "", "From lr to it no trial diverged and each learned; or NaN (AUTO-01)."),
    Column("stable_at_edge", "bool", "", "Whether that is the highest that was tried: the true one may be higher."),
    Column("basin_low_lr", "float64", "", "The lowest learning rate around the best with a loss within 1 % of it."),
    Column("basin_high_lr", "float64", "", "The highest, likewise."),
    Column("basin_octaves", "float64", "octaves", "log2 of their ratio: the basin's width."),
)
TRIALS = (
    RUN_ID,
    *CELL,
    LR,
    SEED,
    Column("rung", "int64", "half octaves", "Place on the ladder of learning rates; 0 is where every cell starts."),
    Column("status", "string", "", "finished, diverged or shifted."),
    Column("score", "float64", "nats", "val_loss, at most ln(vocabulary size), which a diverged run scores."),
    Column("val_loss", "float64", "nats", "Validation loss at the end."),
    Column("diverged", "bool", "", "Whether it diverged."),
    Column("update_ulps", "float64", "ulps", "Median intended update, meaned over tensors and probes (DIAG-04)."),
    Column("steps", "int64", "steps", "Optimizer steps done."),
    Column("tokens", "int64", "tokens", "Training tokens seen."),
    Column("wall_s", "float64", "s", "Time spent in training steps."),
    Column("chosen", "bool", "", "Whether it is at the frozen learning rate."),
    Column("config_hash", "string", "", "SHA-256 of the config fields that decide the result."),
)
CURVES = (RUN_ID, STEP, METRIC, Column("value", "float64", "", "The run-level metric's value at the step."))
COUNTERS = (
    RUN_ID,
    STEP,
    LAYER_TYPE,
    METRIC,
    Column("value", "float64", "", "A count or sum over the window and the layer type, or a rate of RATES."),
)
TENSORS = (
    RUN_ID,
    TENSOR,
    LAYER_TYPE,
    Column("studied", "bool", "", "Whether the tensor is in the run's format; else it is in the reference format."),
    *COUNTS,
    *SUMS,
    *RATES,
    Column("amax", "float64", "", "Largest magnitude in the last window that has a finite one (STAB-03)."),
    Column("range_bits", "float64", "bits", "log2(amax / smallest nonzero magnitude), likewise (STAB-03)."),
    Column("gradient_l2", "float64", "", "Root mean square of the gradient's finite L2 norms (GRAD-01)."),
    Column("gradient_linf", "float64", "", "Largest finite Linf norm of the gradient (GRAD-01)."),
)
FLIP_EPOCHS = (
    RUN_ID,
    TENSOR,
    LAYER_TYPE,
    Column("epoch", "int32", "epochs", "1 is the first; a window counts where it ends."),
    count("elements", "Elements times steps."),
    count("flips", "Flips (FLIP-01)."),
    share("flip_rate", "flips / elements (FLIP-02)."),
)
PROBES = (
    RUN_ID,
    STEP,
    Column("scope", "string", "", "As in the telemetry."),
    TENSOR,
    LAYER_TYPE,
    METRIC,
    Column("value", "float64", "", "What the probe found on the tensor at the step."),
)
DISTRIBUTIONS = (
    RUN_ID,
    STEP,
    LAYER_TYPE,
    Column("metric", "string", "", "stiffness (of weights, DIAG-01) or update_ulp (updates in ulps, DIAG-04)."),
    BIN,
    share("share", "Share of the layer type's elements in the bin."),
)
EVENTS = (
    RUN_ID,
    STEP,
    Column("event", "string", "", "nonfinite, diverged, rank_warning, partition_clip or mantissa_shift."),
    Column("tensor", "string", "", "The tensor that it concerns; empty for the run."),
    LAYER_TYPE,
    Column("detail", "string", "", "The event's further fields as JSON."),
)
HESSIAN = (
    RUN_ID,
    STEP,
    Column("eigenvalue", "float64", "", "An eigenvalue of the loss's Hessian in the weights (DIAG-05)."),
    Column("density", "float64", "", "The spectral density there, smoothed; its integral is 1."),
)
TENSOR_DIAGNOSTICS = (RUN_ID, TENSOR, LAYER_TYPE, METRIC, Column("value", "float64", "", "On the final weights."))
FORMATS = (
    FORMAT,
    Column("exponent_bits", "int32", "bits", "E."),
    Column("mantissa_bits", "int32", "bits", "M."),
    Column("bias", "int32", "", "Exponent bias."),
    Column("max", "float64", "", "Largest finite value."),
    Column("smallest_subnormal", "float64", "", "Smallest positive value."),
    Column("range_bits", "float64", "bits", "log2(max / smallest_subnormal)."),
    Column("num_values", "int64", "", "Distinct finite values."),
    Column("reference", "bool", "", "Whether it is a 16-bit reference format."),
    Column("source", "string", "", "The standard or tool that defines it."),
)
UPDATES = (
    UPDATE,
    Column("optimizer", "string", "", "manifold_adamw or rung_sgd."),
    Column("metric_power", "float64", "", "p of the metric S^p; 0 is AdamW."),
    Column("metric", "string", "", "What is raised to it: ulp (S), or a control, smooth (|w|) or permuted."),
    Column("precondition", "string", "", "What the metric multiplies: the update or the gradient."),
    Column("geometry_aware", "bool", "", "Whether it is compared with adamw as geometry-aware."),
    Column("primary", "bool", "", "Whether it is the geometry-aware update that was fixed beforehand."),
)
TIMING_SUMMARY = (
    RUN_ID,
    Column("windows", "int64", "", "Windows summed up: all but the first, which warms up, where there are more."),
    *(
        Column(c.name, c.dtype, c.unit, f"{'Mean' if c in PROBE_TIMES else 'Median'} over the windows. {c.meaning}")
        for c in TIMING[2:-1]
    ),
    Column("peak_memory_bytes", "int64", "bytes", "Largest over the windows."),
)
STUDY = (
    Column("key", "string", "", "A field of altgrad.analysis.study_info.StudyInfo."),
    Column("value", "string", "", "Its value as JSON."),
)

PLAN = (
    Column("id", "string", "", "The hypothesis."),
    Column("claim", "string", "", "What it says."),
    Column("spec", "string", "", "The whole entry as JSON."),
    Column("file", "string", "", "The file that it stands in."),
    Column("sha256", "string", "", "That file's hash."),
)
ANALYSIS_TABLES: dict[str, tuple[Column, ...]] = {
    "study": STUDY,
    "runs": RUNS,
    "tuning": TUNING,
    "trials": TRIALS,
    "curves": CURVES,
    "counters": COUNTERS,
    "tensors": TENSORS,
    "flip_epochs": FLIP_EPOCHS,
    "tensor_diagnostics": TENSOR_DIAGNOSTICS,
    "probes": PROBES,
    "distributions": DISTRIBUTIONS,
    "events": EVENTS,
    "hessian": HESSIAN,
    "formats": FORMATS,
    "updates": UPDATES,
    "plan": PLAN,
    "timing_summary": TIMING_SUMMARY,
}
"""What `altgrad tabulate` writes."""
