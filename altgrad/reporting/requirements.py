"""Which requirement is shown by which columns, and which tests hold it: what TEST_MATRIX traces every run to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from altgrad.analysis.tables import Tables

Evidence = Callable[[Tables], set[str]]


@dataclass(frozen=True)
class Requirement:
    """One requirement and what shows it.

    Attributes:
        id: Its number.
        what: What it asks for.
        columns: Where the tables show it.
        evidence: Returns the ids of the runs that the tables show it for.
        tests: Files of the tests that hold it.
    """

    id: str
    what: str
    columns: str
    evidence: Evidence
    tests: tuple[str, ...]


def _tensors(*columns: str) -> Evidence:
    """Return the runs with a value in every one of these columns of the tensors table."""

    def evidence(tables: Tables) -> set[str]:
        tensors = tables["tensors"]
        return set(tensors.loc[tensors[list(columns)].notna().all(axis=1), "run_id"])

    return evidence


def _metrics(table: str, *names: str) -> Evidence:
    """Return the runs that have every one of these metrics in a table in long form."""

    def evidence(tables: Tables) -> set[str]:
        data: pd.DataFrame = tables[table]
        found = [set(data.loc[data["metric"] == name, "run_id"]) for name in names]
        return set.intersection(*found)

    return evidence


def _rows(table: str) -> Evidence:
    """Return the runs that have a row in a table."""
    return lambda tables: set(tables[table]["run_id"])


def _both(one: Evidence, other: Evidence) -> Evidence:
    """Return the runs that both pieces of evidence show."""
    return lambda tables: one(tables) & other(tables)


def _beside_baseline(tables: Tables) -> set[str]:
    """Return the runs that a loss figure shows over the baseline: all that have curves, where the baseline has."""
    curves, runs = tables["curves"], tables["runs"]
    drawn = set(curves.loc[curves["metric"] == "val_loss", "run_id"])
    return drawn if drawn & set(runs.loc[runs["role"] == "baseline", "run_id"]) else set()


COUNTING = ("tests/optim/test_counting.py", "tests/telemetry/test_counters.py", "tests/analysis/test_tabulate.py")
PROBING = ("tests/telemetry/test_probes.py", "tests/analysis/test_bands_and_sweet_spots.py")

REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement(
        "STAB-01",
        "weights that overflow or round to 0; intended updates that move nothing",
        "tensors: overflow, underflow, update_underflow",
        _tensors("overflow", "underflow", "update_underflow"),
        COUNTING,
    ),
    Requirement(
        "STAB-02",
        "nonfinite values stop a run, and divergence is a result",
        "curves: nonfinite; runs: status",
        _metrics("curves", "nonfinite"),
        ("tests/training/test_guards.py", "tests/training/test_run.py"),
    ),
    Requirement(
        "STAB-03", "amax and the range in use", "tensors: amax, range_bits", _tensors("amax", "range_bits"), COUNTING
    ),
    Requirement("STAB-04", "updated elements whose rung stays", "tensors: stall", _tensors("stall"), COUNTING),
    Requirement(
        "METR-01",
        "training and validation loss",
        "curves: train_loss, val_loss",
        _metrics("curves", "train_loss", "val_loss"),
        ("tests/training/test_run.py", "tests/analysis/test_tabulate.py"),
    ),
    Requirement(
        "METR-02",
        "perplexity",
        "curves: val_perplexity",
        _metrics("curves", "val_perplexity"),
        ("tests/training/test_run.py",),
    ),
    Requirement(
        "METR-03",
        "step time and its parts, tokens/s, peak memory",
        "timing_summary",
        _rows("timing_summary"),
        ("tests/telemetry/test_recorder.py", "tests/analysis/test_tabulate.py"),
    ),
    Requirement(
        "METR-04",
        "loss figures overlay the baseline",
        "figures: loss_curves, loss_by_format, lr_sweep",
        _beside_baseline,
        ("tests/figures/test_content.py",),
    ),
    Requirement(
        "GRAD-01",
        "gradient norms by tensor",
        "tensors: gradient_l2, gradient_linf",
        _tensors("gradient_l2", "gradient_linf"),
        COUNTING,
    ),
    Requirement("GRAD-04", "stored weights that stay", "tensors: zero_update", _tensors("zero_update"), COUNTING),
    Requirement("FLIP-01", "rungs of q(W) that change", "tensors: flips", _tensors("flips"), COUNTING),
    Requirement(
        "FLIP-02",
        "flip rate by tensor, window and epoch",
        "counters: flip_rate; flip_epochs",
        _both(_metrics("counters", "flip_rate"), _rows("flip_epochs")),
        COUNTING,
    ),
    Requirement("UPDT-01", "elements with a gradient", "tensors: updates", _tensors("updates"), COUNTING),
    Requirement("UPDT-02", "stall ratio", "tensors: stall_ratio", _tensors("stall_ratio"), COUNTING),
    Requirement(
        "DIAG-02",
        "grid alignment of the final weights",
        "tensor_diagnostics: grid_alignment_mean",
        _metrics("tensor_diagnostics", "grid_alignment_mean"),
        PROBING,
    ),
    Requirement(
        "DIAG-07",
        "codes in use, and their entropy",
        "tensor_diagnostics: codes_used_fraction, code_entropy_bits",
        _metrics("tensor_diagnostics", "codes_used_fraction", "code_entropy_bits"),
        PROBING,
    ),
    Requirement(
        "RANK-01",
        "stable rank of the final weights",
        "tensor_diagnostics: stable_rank",
        _metrics("tensor_diagnostics", "stable_rank"),
        PROBING,
    ),
)


def traced(tables: Tables) -> Mapping[str, set[str]]:
    """Return, for each requirement, the runs that the tables show it for."""
    return {requirement.id: requirement.evidence(tables) for requirement in REQUIREMENTS}
