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

FORMAT = Column("format", "string", "", "The weights' format.")
UPDATE = Column("update", "string", "", "The update rule.")
STORAGE = Column("storage", "string", "", "Where a step lands: master, nearest or stochastic.")
LAYERS = Column("layers", "string", "", "The layers that are in the format.")
CELL = (FORMAT, UPDATE, STORAGE, LAYERS)
LR = Column("lr", "float64", "", "The peak learning rate.")
SEED = Column("seed", "int64", "", "The seed.")
TENSOR = Column("tensor", "string", "", "The parameter's dotted name.")
LAYER_TYPE = Column("layer_type", "string", "", "The tensor's layer type; all is every tensor in the run's format.")
METRIC = Column("metric", "string", "", "The metric's name.")
N = Column("n", "int64", "runs", "How many seeds.")
LOW = Column("low", "float64", "", "The interval's lower end; NaN where the seeds are too few.")
HIGH = Column("high", "float64", "", "The interval's upper end; NaN where the seeds are too few.")


def _count(name: str, meaning: str) -> Column:
    return Column(name, "int64", "elements x steps", meaning)


def _share(name: str, meaning: str) -> Column:
    return Column(name, "float64", "share", meaning)


COUNTS = (
    _count("elements", "Elements times steps: the denominator."),
    _count("flips", "Elements whose rung of q(W) changed at the step's scale (FLIP-01)."),
    _count("flips_among_updated", "Flips of elements with a nonzero gradient."),
    _count("updates", "Elements with a nonzero gradient (UPDT-01)."),
    _count("stall", "Elements with a nonzero gradient whose rung did not change (STAB-04)."),
    _count("zero_update", "Elements whose stored weight did not change (GRAD-04)."),
    _count("rescale_moves", "Elements that a changed scale moved; no flips."),
    _count("overflow", "Weights beyond scale * max before clamping (STAB-01, forward)."),
    _count("underflow", "Nonzero weights that round to 0 (STAB-01, forward)."),
    _count("update_underflow", "Nonzero intended updates that did not move the stored weight (STAB-01, optimizer)."),
    _count("clip_elements", "Gradient elements under partition-relative clipping; 0 where it is off."),
    _count("clipped", "Of these, elements that it held (STAB-05)."),
    _count("input_elements", "Elements of layers' inputs that were cast; 0 where inputs are not."),
    _count("input_overflow", "Of these, beyond scale * max before clamping (STAB-01, forward)."),
    _count("input_underflow", "Of these, nonzero ones that round to 0 (STAB-01, forward)."),
    _count("grad_output_elements", "Elements of layers' output gradients that were cast; 0 where they are not."),
    _count("grad_output_overflow", "Of these, beyond scale * max before clamping (STAB-01, backward)."),
    _count("grad_output_underflow", "Of these, nonzero ones that round to 0 (STAB-01, backward)."),
)
SUMS = (
    Column("intended_sq", "float64", "", "Sum of squares of intended updates, u - w_old; NaN where not summed."),
    Column("realised_dot", "float64", "", "Sum of intended times realised updates, q(w_new) - q(w_old); likewise."),
)
RATES = (
    _share("flip_rate", "flips / elements (FLIP-02)."),
    _share("stall_ratio", "1 - flips_among_updated / updates, in [0, 1] (UPDT-02)."),
    _share("zero_update_rate", "zero_update / elements (GRAD-04)."),
    _share("overflow_rate", "overflow / elements."),
    _share("underflow_rate", "underflow / elements."),
    _share("update_underflow_rate", "update_underflow / elements."),
    Column("edq", "float64", "", "realised_dot / intended_sq, the effective descent quality; 1: all of it (EDQ)."),
    _share("clip_rate", "clipped / clip_elements (STAB-05)."),
    _share("input_overflow_rate", "input_overflow / input_elements."),
    _share("input_underflow_rate", "input_underflow / input_elements."),
    _share("grad_output_overflow_rate", "grad_output_overflow / grad_output_elements."),
    _share("grad_output_underflow_rate", "grad_output_underflow / grad_output_elements."),
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
    Column("events", "int64", "", "How many events the run logged."),
)
TUNING = (
    *CELL,
    Column("lr", "float64", "", "The frozen learning rate: the best of the trials."),
    Column("lrs", "int64", "", "Learning rates that were tried."),
    Column("lr_at_edge", "bool", "", "Whether it is the lowest or highest that was tried."),
    Column("largest_stable_lr", "float64", "", "Up to it no trial diverged, and each learned; NaN for none (AUTO-01)."),
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
    _count("elements", "Elements times steps."),
    _count("flips", "Flips (FLIP-01)."),
    _share("flip_rate", "flips / elements (FLIP-02)."),
)
BIN = Column("bin", "int32", "", "k: values with floor(log2 value) = k.")
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
    _share("share", "Share of the layer type's elements in the bin."),
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

CELLS = (
    *CELL,
    LR,
    N,
    Column("mean", "float64", "nats", "Mean score (validation loss)."),
    Column("sd", "float64", "nats", "Its standard deviation over the seeds."),
    LOW,
    HIGH,
    Column("diverged", "int64", "runs", "Runs that diverged and scored ln(vocabulary size)."),
    Column("diverged_low", "float64", "share", "Lower end of the exact binomial interval of the divergence rate."),
    Column("diverged_high", "float64", "share", "Its upper end."),
    Column("chosen", "bool", "", "Whether it is the cell's: fewest diverged, then lowest mean, on shared seeds."),
    Column("lrs", "int64", "", "How many learning rates were run, in tuning where the cell is tuned."),
    Column("lr_at_edge", "bool", "", "Whether the learning rate is the lowest or highest of those."),
    Column("tuned", "bool", "", "Whether tuning chose the learning rate, on seeds that are not among these."),
)
COMPARISONS = (
    Column("estimand", "string", "", "benefit, did or gap; see altgrad.analysis.comparisons."),
    *CELL,
    Column("reference", "string", "", "What it is compared with."),
    LR,
    Column("reference_lr", "float64", "", "The reference's own chosen learning rate; NaN for did."),
    N,
    Column("mean", "float64", "nats", "Mean of the paired differences."),
    Column("sd", "float64", "nats", "Their standard deviation."),
    LOW,
    HIGH,
    Column("flip_low", "float64", "nats", "Lower end of the inverted sign-flip interval; -inf for too few seeds."),
    Column("flip_high", "float64", "nats", "Its upper end; inf for too few seeds."),
    Column("p_t", "float64", "", "Two-sided p-value of the paired t test."),
    Column("p_sign_flip", "float64", "", "Two-sided p-value of the sign-flip test."),
    Column("p_holm", "float64", "", "p_sign_flip after Holm's correction over the formats."),
    Column("verdict", "string", "", "What may be said; see altgrad.analysis.verdicts."),
    Column("diverged", "int64", "runs", "Diverged runs among the seeds compared."),
    Column("lr_at_edge", "bool", "", "Whether a learning rate involved stands at the edge of its grid."),
)
DIFFERENCES = (
    COMPARISONS[0],
    *CELL,
    SEED,
    Column("value", "float64", "nats", "The paired difference of one seed."),
)
BEST = (
    Column("estimand", "string", "", "benefit, did, or loss (low is good; over formats at the same update)."),
    *CELL[1:],
    FORMAT,
    N,
    Column("mean", "float64", "nats", "Mean over the seeds that all formats have."),
    Column("probability", "float64", "share", "Paired bootstrap samples in which the format is the best of all."),
)
RECOVERIES = (
    *CELL,
    N,
    Column("share", "float64", "share", "Benefit / gap of adamw to the baseline, where the gap's interval is above 0."),
    Column("low", "float64", "share", "Lower end of Fieller's interval."),
    Column("high", "float64", "share", "Its upper end."),
)
PRECISION = (
    FORMAT,
    UPDATE,
    LAYERS,
    Column("tuning_n", "int64", "seeds", "Tuning seeds that have the difference in differences."),
    Column("tuning_sd", "float64", "nats", "Its standard deviation over them, at the frozen learning rates."),
    Column("planned_sd", "float64", "nats", "Root mean square of the tuning_sd of formats with any: the plan's."),
    Column("planned_n", "int64", "seeds", "Seeds that show smallest_effect with the study's power, by planned_sd."),
    N,
    Column("sd", "float64", "nats", "Standard deviation over the evaluated seeds."),
    Column("half_width", "float64", "nats", "Half the width of the interval that was reached."),
    Column("detectable", "float64", "nats", "The smallest difference that n seeds of this sd show with the power."),
)
MECHANISM = (
    *CELL,
    LR,
    N,
    Column("score", "float64", "nats", "Mean score."),
    Column("gap", "float64", "nats", "Mean gap to the baseline, paired by seed."),
    Column("benefit", "float64", "nats", "Mean benefit over adamw in the same cell; NaN for adamw."),
    Column("edq", "float64", "", "Effective descent quality of the whole run, over all tensors in the format (EDQ)."),
    _share("stall_ratio", "Stall ratio of the whole run (UPDT-02)."),
    _share("flip_rate", "Flip rate of the whole run (FLIP-02)."),
    Column("update_ulps", "float64", "ulps", "Median intended update, meaned over tensors and probes (DIAG-04)."),
    Column("ulp_spread", "float64", "binades", "log2 of final weights' grid spacing, 90th minus 10th percentile."),
    _share("sign_kept", "Weights that end with the sign that they began with."),
    Column("code_entropy_bits", "float64", "bits", "Entropy of the codes in use (DIAG-07)."),
)
MECHANISM_TESTS = (
    Column("test", "string", "", "What is asked."),
    Column("storage", "string", "", "The storages whose cells take part, or all."),
    Column("x", "string", "", "A column of the mechanism table."),
    Column("y", "string", "", "Another."),
    Column("given", "string", "", "A third, whose ranks are held fixed; empty for none."),
    Column("n", "int64", "cells", "Cells."),
    Column("rho", "float64", "", "Spearman's rank correlation, partial where one is held fixed."),
    Column("p", "float64", "", "Its two-sided permutation p-value."),
)
HYPOTHESES = (
    Column("id", "string", "", "The hypothesis."),
    Column("claim", "string", "", "What it says."),
    Column("prediction", "string", "", "What was predicted of which estimate, in words, before the evaluation runs."),
    Column("result", "string", "", "What was found."),
    Column("verdict", "string", "", "supported, refuted, undecided, not enough seeds, or not run."),
    Column("n", "int64", "seeds", "The fewest seeds of an estimate that it rests on."),
)
PLAN = (
    Column("id", "string", "", "The hypothesis."),
    Column("claim", "string", "", "What it says."),
    Column("spec", "string", "", "The whole entry as JSON."),
    Column("file", "string", "", "The file that it stands in."),
    Column("sha256", "string", "", "That file's hash."),
)
BANDS = (
    *CELL,
    LR,
    LAYER_TYPE,
    METRIC,
    STEP,
    N,
    Column("mean", "float64", "", "Mean over the seeds at the chosen learning rate."),
    Column("low", "float64", "", "Smallest of the seeds."),
    Column("high", "float64", "", "Largest of the seeds."),
    Column("complete", "bool", "", "Whether every seed of the cell still runs at this step."),
)
DISTRIBUTION_BANDS = (
    *CELL,
    LR,
    LAYER_TYPE,
    METRIC,
    STEP,
    BIN,
    N,
    _share("share", "Mean share over the seeds at the chosen learning rate."),
)
HESSIAN_BANDS = (
    *CELL,
    LR,
    STEP,
    Column("eigenvalue", "float64", "", "As in the hessian table."),
    N,
    Column("density", "float64", "", "Mean density over the seeds at the chosen learning rate."),
)
LAYER_RATES = (
    *CELL,
    LAYER_TYPE,
    METRIC,
    N,
    Column("mean", "float64", "", "Mean over the seeds of the whole run's rate, or of the diagnostic over tensors."),
    Column("low", "float64", "", "Smallest of the seeds."),
    Column("high", "float64", "", "Largest of the seeds."),
)
FAILURES = (
    RUN_ID,
    *CELL,
    LR,
    SEED,
    Column("chosen", "bool", "", "Whether the run is at its cell's chosen learning rate."),
    Column("stage", "string", "", "forward, backward, optimizer, divergence or none; see altgrad.analysis.failures."),
    Column("first", "bool", "", "Whether it is the run's first failing stage; true for none."),
    LAYER_TYPE,
    METRIC,
    Column("value", "float64", "", "The whole run's rate, which is the evidence; NaN for a divergence."),
    Column("threshold", "float64", "", "From which value it is a failure."),
    Column("step", "int64", "steps", "Where it was first seen; -1 for none."),
)
SWEET_SPOTS = (
    Column("basis", "string", "", "loss (runs with this layer type alone in the format) or counters."),
    LAYER_TYPE,
    *CELL[:3],
    METRIC,
    Column("rank", "int64", "", "1 is the best of its layer type and storage."),
    N,
    Column("mean", "float64", "", "Mean gap to the baseline in nats (loss), or mean rate (counters); low is good."),
    LOW,
    HIGH,
    Column("verdict", "string", "", "best, not told apart from the best, worse than the best, or no verdict."),
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

STATISTICS: dict[str, tuple[Column, ...]] = {
    "cells": CELLS,
    "comparisons": COMPARISONS,
    "differences": DIFFERENCES,
    "best": BEST,
    "recoveries": RECOVERIES,
    "precision": PRECISION,
    "mechanism": MECHANISM,
    "mechanism_tests": MECHANISM_TESTS,
    "hypotheses": HYPOTHESES,
    "bands": BANDS,
    "distribution_bands": DISTRIBUTION_BANDS,
    "hessian_bands": HESSIAN_BANDS,
    "layer_rates": LAYER_RATES,
    "failures": FAILURES,
    "sweet_spots": SWEET_SPOTS,
}
"""What `altgrad analyse` writes."""

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
