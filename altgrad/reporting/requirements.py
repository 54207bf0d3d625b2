"""Which requirement is shown by which columns, and which tests hold it: what TEST_MATRIX traces every run to."""

from collections.abc import Mapping

from altgrad.analysis.tables import Tables
from altgrad.reporting.evidence import (
    Requirement,
    beside_baseline,
    every,
    in_tensors,
    metrics,
    rows,
    tuned,
    watched_for_shifts,
)

COUNTING = ("tests/optim/test_counting.py", "tests/telemetry/test_counters.py", "tests/analysis/test_tabulate.py")
CASTING = ("tests/nn/test_casts.py", "tests/telemetry/test_counters.py", "tests/analysis/test_tabulate.py")
PROBED = ("tests/training/test_probing.py", "tests/analysis/test_probe_tables.py")
GRADIENTS = ("tests/telemetry/test_gradients.py", *PROBED)
WEIGHTS = ("tests/telemetry/test_probes.py", *PROBED)
UPDATES = ("tests/telemetry/test_descent.py", *PROBED)
RANKS = ("tests/telemetry/test_rank.py", *PROBED)
TRENDS = ("tests/telemetry/test_rank_trend.py", *PROBED)
HESSIAN = ("tests/telemetry/test_hessian.py", *PROBED)

CLASSIFIERS = r"(?:^|\.)(?:lm_head|c_proj)\."
ALIGNMENT = ("grid_alignment_mean", "grid_alignment_p99")
CAPACITY = ("codes_used_fraction", "code_entropy_bits")
ULPS = ("ulp_median", "ulp_p90", "ulp_p99", "ulp_lost_fraction")

REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement(
        "STAB-01",
        "weights that overflow or round to 0; intended updates that move nothing",
        "tensors: overflow, underflow, update_underflow",
        in_tensors("overflow", "underflow", "update_underflow"),
        COUNTING,
    ),
    Requirement(
        "STAB-01",
        "inputs of layers that overflow or round to 0",
        "tensors: input_overflow_rate, input_underflow_rate",
        in_tensors("input_overflow_rate", "input_underflow_rate"),
        CASTING,
        switch="input",
        part="inputs",
    ),
    Requirement(
        "STAB-01",
        "gradients in the backward pass that overflow or round to 0",
        "tensors: grad_output_overflow_rate, grad_output_underflow_rate",
        in_tensors("grad_output_overflow_rate", "grad_output_underflow_rate"),
        CASTING,
        switch="grad_output",
        part="output gradients",
    ),
    Requirement(
        "STAB-02",
        "nonfinite values stop a run, and divergence is a result",
        "curves: nonfinite; runs: status; events",
        metrics("curves", "nonfinite"),
        ("tests/training/test_guards.py", "tests/training/test_run.py"),
    ),
    Requirement(
        "STAB-03", "amax and the range in use", "tensors: amax, range_bits", in_tensors("amax", "range_bits"), COUNTING
    ),
    Requirement("STAB-04", "updated elements whose rung stays", "tensors: stall", in_tensors("stall"), COUNTING),
    Requirement(
        "STAB-05",
        "gradient elements that partition-relative clipping holds",
        "tensors: clipped, clip_rate",
        in_tensors("clip_rate"),
        ("tests/training/test_partition_clip.py",),
        switch="partition_clip",
    ),
    Requirement(
        "STAB-06",
        "a format that cannot go on gives an exponent bit to the mantissa",
        "runs: status; events: mantissa_shift",
        watched_for_shifts,
        ("tests/training/test_shift.py",),
        switch="mantissa_shift",
    ),
    Requirement(
        "METR-01",
        "training and validation loss",
        "curves: train_loss, val_loss",
        metrics("curves", "train_loss", "val_loss"),
        ("tests/training/test_run.py", "tests/analysis/test_tabulate.py"),
    ),
    Requirement(
        "METR-02",
        "perplexity",
        "curves: val_perplexity",
        metrics("curves", "val_perplexity"),
        ("tests/training/test_run.py",),
    ),
    Requirement(
        "METR-03",
        "step time and its parts, tokens/s, peak memory",
        "timing_summary",
        rows("timing_summary"),
        ("tests/telemetry/test_recorder.py", "tests/analysis/test_tabulate.py"),
    ),
    Requirement(
        "METR-04",
        "loss figures overlay the baseline",
        "figures: loss_curves, loss_by_format, lr_basins",
        beside_baseline,
        ("tests/figures/test_content.py",),
    ),
    Requirement(
        "METR-05",
        "cosine of the gradient and that of the same weights in FP32",
        "probes: cosine",
        metrics("probes", "cosine"),
        GRADIENTS,
        switch="probes.gradients",
    ),
    Requirement(
        "GRAD-01",
        "gradient norms by tensor",
        "tensors: gradient_l2, gradient_linf",
        in_tensors("gradient_l2", "gradient_linf"),
        COUNTING,
    ),
    Requirement(
        "GRAD-02",
        "signal-to-noise ratio of the gradient",
        "probes: snr_db",
        metrics("probes", "snr_db"),
        GRADIENTS,
        switch="probes.gradients",
    ),
    Requirement(
        "GRAD-03",
        "hidden units that are dead on the probe batch",
        "probes: dead_fraction",
        metrics("probes", "dead_fraction"),
        GRADIENTS,
        switch="probes.gradients",
    ),
    Requirement("GRAD-04", "stored weights that stay", "tensors: zero_update", in_tensors("zero_update"), COUNTING),
    Requirement("FLIP-01", "rungs of q(W) that change", "tensors: flips", in_tensors("flips"), COUNTING),
    Requirement(
        "FLIP-02",
        "flip rate by tensor, window and epoch",
        "counters: flip_rate; flip_epochs",
        every(metrics("counters", "flip_rate"), rows("flip_epochs")),
        COUNTING,
    ),
    Requirement("UPDT-01", "elements with a gradient", "tensors: updates", in_tensors("updates"), COUNTING),
    Requirement("UPDT-02", "stall ratio", "tensors: stall_ratio", in_tensors("stall_ratio"), COUNTING),
    Requirement(
        "EDQ",
        "effective descent quality: what of an intended step was made",
        "tensors: edq; counters: edq",
        in_tensors("edq"),
        ("tests/optim/test_descent_quality.py", "tests/telemetry/test_descent.py", "tests/analysis/test_tabulate.py"),
    ),
    Requirement(
        "RANK-01",
        "stable rank of the final weights",
        "tensor_diagnostics: stable_rank",
        metrics("tensor_diagnostics", "stable_rank"),
        RANKS,
    ),
    Requirement(
        "RANK-01",
        "stable rank at every probe",
        "probes: stable_rank",
        metrics("probes", "stable_rank"),
        RANKS,
        switch="probes.rank",
        part="under way",
    ),
    Requirement(
        "RANK-02",
        "effective rank, and the entropy rank beside it",
        "probes: effective_rank, entropy_rank",
        metrics("probes", "effective_rank", "entropy_rank"),
        RANKS,
        switch="probes.rank",
    ),
    Requirement(
        "RANK-03",
        "early warning of a rank that falls",
        "probes: rank_warning; events: rank_warning",
        metrics("probes", "rank_warning"),
        TRENDS,
        switch="probes.rank",
    ),
    Requirement(
        "CLSF-01",
        "lm_head and every c_proj warn at half that loss",
        "probes: rank_warning; events: rank_warning",
        metrics("probes", "rank_warning", tensors=CLASSIFIERS),
        TRENDS,
        switch="probes.rank",
    ),
    Requirement(
        "DIAG-01",
        "the stiffness field: spacings of the grid at the weights",
        "distributions: stiffness; probes: stiffness_log2_p50",
        every(metrics("distributions", "stiffness"), metrics("probes", "stiffness_log2_p50")),
        WEIGHTS,
        switch="probes.weights",
    ),
    Requirement(
        "DIAG-02",
        "grid alignment of the final weights",
        "tensor_diagnostics: grid_alignment_mean, grid_alignment_p99",
        metrics("tensor_diagnostics", *ALIGNMENT),
        WEIGHTS,
    ),
    Requirement(
        "DIAG-02",
        "grid alignment at every probe",
        "probes: grid_alignment_mean, grid_alignment_p99",
        metrics("probes", *ALIGNMENT),
        WEIGHTS,
        switch="probes.weights",
        part="under way",
    ),
    Requirement(
        "DIAG-03",
        "rank correlation of gradients with spacings, and with magnitudes in a binade",
        "probes: stiffness_correlation, magnitude_correlation",
        metrics("probes", "stiffness_correlation", "magnitude_correlation"),
        GRADIENTS,
        switch="probes.gradients",
    ),
    Requirement(
        "DIAG-04",
        "intended updates in ulps, and what rounding to nearest would lose",
        "distributions: update_ulp; probes: ulp_median, ulp_p90, ulp_p99, ulp_lost_fraction",
        every(metrics("distributions", "update_ulp"), metrics("probes", *ULPS)),
        UPDATES,
        switch="probes.updates",
    ),
    Requirement(
        "DIAG-05",
        "the Hessian's largest eigenvalues and its spectral density",
        "curves: hessian_top_1; hessian",
        every(metrics("curves", "hessian_top_1"), rows("hessian")),
        HESSIAN,
        switch="probes.hessian",
    ),
    Requirement(
        "DIAG-06",
        "entropy of rung moves against that of value moves",
        "probes: rung_move_entropy_bits, value_move_entropy_bits",
        metrics("probes", "rung_move_entropy_bits", "value_move_entropy_bits"),
        UPDATES,
        switch="probes.updates",
    ),
    Requirement(
        "DIAG-07",
        "codes in use, and their entropy, of the final weights",
        "tensor_diagnostics: codes_used_fraction, code_entropy_bits",
        metrics("tensor_diagnostics", *CAPACITY),
        WEIGHTS,
    ),
    Requirement(
        "DIAG-07",
        "codes in use, and their entropy, at every probe",
        "probes: codes_used_fraction, code_entropy_bits",
        metrics("probes", *CAPACITY),
        WEIGHTS,
        switch="probes.weights",
        part="under way",
    ),
    Requirement(
        "MANI-04",
        "rungs of the weights",
        "probes: rung_p10, rung_p50, rung_p90",
        metrics("probes", "rung_p10", "rung_p50", "rung_p90"),
        ("tests/numerics/test_geometry.py", *WEIGHTS),
        switch="probes.weights",
    ),
    Requirement(
        "AUTO-01",
        "each cell at a learning rate that was searched for it, with the largest stable one and the basin's width",
        "tuning: lr, largest_stable_lr, basin_octaves; trials",
        tuned,
        ("tests/study/test_tuning.py", "tests/training/test_tune.py", "tests/analysis/test_tuned_studies.py"),
        switch="tuning",
    ),
)


def traced(tables: Tables) -> Mapping[str, set[str]]:
    """Return, for each requirement by its name, the runs that the tables show it for."""
    return {requirement.name: requirement.evidence(tables) for requirement in REQUIREMENTS}


def switched_off(shown: Mapping[str, set[str]], features: tuple[str, ...]) -> list[str]:
    """Return the names of the requirements that no run shows because the study does not switch them on.

    Args:
        shown: From `traced`.
        features: What the study switches on.
    """
    return [r.name for r in REQUIREMENTS if r.switch and r.switch not in features and not shown[r.name]]
