"""What was done, in words: model, corpus, learning rates, estimands and statistics."""

from altgrad.analysis.run_tables import MISSING
from altgrad.figures.style import in_order
from altgrad.reporting.document import Section
from altgrad.reporting.page import corpus_words, distinct
from altgrad.reporting.source import STORAGES, Source
from altgrad.reporting.text import grid, word

Rows = list[tuple[str, str]]
"""What something is called, and how it was done."""

STORED = {
    "nearest": "rounded to nearest, onto the format's grid, after every step",
    "stochastic": "rounded up or down by chance, onto the grid, after every step, so that the mean is right",
    "eco": "rounded to nearest after every step, with the rounding error fed back into the momentum",
    "master": "kept in FP32, and rounded to the format in the forward pass",
}
"""Where weights are kept, by storage."""


def section(source: Source) -> Section:
    """Return the methods."""
    rows = (*_what_ran(source), *_estimands(source), *_statistics(source))
    return Section("Methods", (grid(("what", "how"), ((word(what), word(how)) for what, how in rows), ""),))


def _what_ran(source: Source) -> Rows:
    info, runs = source.info, source.tables["runs"]
    ended = runs[runs["status"] != MISSING]
    fingerprint = f"; fingerprint {info.corpus_fingerprint[:16]}" if info.corpus_fingerprint else ""
    description = f" {info.corpus_description.rstrip('.')}." if info.corpus_description else ""
    kept = "; ".join(f"{name}: {STORED[name]}" for name in in_order(runs["storage"], STORAGES) if name in STORED)
    return [
        ("model", f"{info.model}; {distinct(ended['parameters'].dropna().astype(int))} parameters"),
        ("corpus", f"{corpus_words(info)}{fingerprint}.{description}"),
        (
            "training",
            f"{info.steps} steps, {info.tokens_per_run:,} tokens a run. The arms of a seed share their initial weights"
            f" and batches.",
        ),
        ("loss", "of validation text, in nats a token, through the quantized weights at the end of the run"),
        ("update", _metric(source)),
        ("weights", f"{kept}. The baseline's are rounded to {info.baseline_format} in the same code path."),
        (
            "learning rate",
            f"{info.tuning or 'of lists in the config'}. Every cell of format, update, storage and layers has its own.",
        ),
    ]


def _metric(source: Source) -> str:
    if not source.primary:
        return "The geometry-aware update that was fixed beforehand (metric power 1/2) is not in this study."
    return (
        f"adamw is the standard one. {source.primary} multiplies its normalized step by the spacing of the format's"
        f" grid at the weight to the power 1/2, divided by the root mean square over the tensor. That power was fixed"
        f" beforehand; other updates are not the primary comparison."
    )


def _estimands(source: Source) -> Rows:
    return [
        (
            "benefit",
            "loss of adamw less loss of the update, for the same format and storage, paired by seed; above 0 helps",
        ),
        (
            "difference in differences (DiD)",
            "the primary estimand: benefit under nearest rounding less benefit with FP32 masters. The second term takes"
            " out what is merely a better optimizer.",
        ),
        (
            "gap",
            f"loss of a cell less loss of {source.info.baseline_format}, paired by seed. It ranks formats by loss,"
            f" which is another question than benefit.",
        ),
        ("diverged runs", "score ln(vocabulary size), the loss of a model that knows nothing; none is left out"),
    ]


def _statistics(source: Source) -> Rows:
    return [
        (
            "intervals",
            f"{source.info.confidence:.0%}, paired by seed, Student's t; beside them those that invert the sign-flip"
            f" test. They are not corrected for the number of formats.",
        ),
        (
            "tests",
            "sign-flip, two-sided, with Holm's correction over the formats of one update, storage and choice of layers."
            " A verdict of a difference asks for an interval that excludes 0 and for the corrected p. Gains more, or"
            " less, is said of a difference in differences: more or less than with masters.",
        ),
        (
            "best",
            "share of paired bootstrap samples over the seeds in which a format is first. It is about the seeds that"
            " were run, and too sure of itself where they are few.",
        ),
    ]
