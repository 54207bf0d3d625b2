"""Which format suits which layer type."""

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.sweet_spots import COUNTERS, LOSS, TIED
from altgrad.analysis.tables import Row, records
from altgrad.analysis.verdicts import NO_VERDICT
from altgrad.figures.style import in_order
from altgrad.reporting.document import Answer, Paragraph, Report, Section, anchor
from altgrad.reporting.evidence_links import STEM, cell_target, estimated
from altgrad.reporting.page import make_report
from altgrad.reporting.source import STORAGES, Source
from altgrad.reporting.text import (
    Cell,
    Grid,
    count,
    counted,
    difference,
    grid,
    interval,
    linked,
    listed,
    p_value,
    plain,
    rate,
    word,
)

ALONE = (
    "From runs with that layer type alone in the format and the rest in the baseline's. The best was picked among all"
    " formats and updates on the seeds that are shown, so its gap is a little optimistic."
)
NOT_ALONE = (
    "Runs with one layer type alone in a format are not in this study. Below are counters by layer type from runs with"
    " every layer in the format, under adamw: the share of updates that stall under nearest rounding, and of weights"
    " that vanish in the other storages. Low is good, but what a rate costs in loss cannot be read from it."
)
ANOTHER_QUESTION = (
    "Which format costs a layer type least is not the same question as which format gains most from geometry-aware"
    " updates there: a format may be the best with both updates and gain nothing. The benefit with that layer type"
    " alone in the format, adamw's loss minus the update's, says the second."
)
RANKING = "Ranking"

PROBES = {
    "grid_alignment_mean": "grid alignment",
    "codes_used_fraction": "codes in use",
    "code_entropy_bits": "code entropy (bits)",
    "stable_rank": "stable rank",
}
"""Diagnostics of the final weights, and what they are called (DIAG-02, DIAG-07, RANK-01)."""


def build(source: Source) -> Report:
    """Return the content of the report."""
    return make_report(source, "Which format suits which layer type", answer(source), _sections(source))


def _sections(source: Source) -> list[Section]:
    spots, figure = _spots(source), source.figure
    probes = (
        "Means over tensors and seeds of adamw's runs with every layer in the format. Grid alignment is the mean of"
        " |W - q(W)| / ulp(W): 0 on the grid, 0.25 for weights spread evenly between its points."
    )
    return [
        Section(
            "Best of each layer type",
            (Paragraph(ALONE if _by_loss(spots) else NOT_ALONE), best_grid(source, spots), figure("layer_heatmap")),
        ),
        Section("Benefit by layer type", (Paragraph(ANOTHER_QUESTION), benefits_grid(source))),
        Section(RANKING, (ranking_grid(source, spots),)),
        Section(
            "Every layer in the format",
            (
                Paragraph("Formats and updates by their gap to the baseline, within each storage."),
                whole_grid(source),
                figure("loss_by_format"),
                figure("loss_curves"),
            ),
        ),
        Section("Final weights by layer type", (Paragraph(probes), probes_grid(source))),
    ]


def answer(source: Source) -> Answer:
    """Return, in plain words, the best format of each layer type, or that the study cannot say."""
    spots = _spots(source)
    if spots.empty:
        return Answer("No run has ended, so nothing is known about formats by layer type.")
    if not _by_loss(spots):
        return Answer(
            "This study has no runs with one layer type alone in a format, so it cannot say what a format costs there."
            f" {_least_lost(source, spots)}"
        )
    parts, ran = [], set[str]()
    for kind in source.info.layer_types:
        for storage in in_order(spots["storage"], STORAGES):
            part = spots[(spots["layer_type"] == kind) & (spots["storage"] == storage)]
            if len(part):
                ran |= set(part["format"])
                parts.append(_best_words(kind, storage, part))
    return Answer(
        f"Lowest validation loss with that layer type alone in the format, of"
        f" {listed(in_order(ran, source.encoding.formats))}: {'; '.join(parts)}.",
        "This is not the question of which format gains most from geometry-aware updates there.",
        (linked(word(RANKING), f"sweet_spot#{anchor(RANKING)}"), linked(word("every cell"), f"{STEM}#cells")),
    )


def _best_words(kind: str, storage: str, rows: pd.DataFrame) -> str:
    best = records(rows.sort_values("rank"))[0]
    tied = int((rows["verdict"] == TIED).sum())
    if best["verdict"] in NO_VERDICT:
        doubt = f" (no verdict: {best['verdict']})"
    else:
        doubt = f" (not told apart from it: {counted(tied, 'other')})" if tied else ""
    return f"{kind} under {storage}: {best['format']} with {best['update']}{doubt}"


def _least_lost(source: Source, spots: pd.DataFrame) -> str:
    nearest = spots[(spots["storage"] == "nearest") & (spots["rank"] == 1)]
    if nearest.empty:
        return "Nor has it runs under nearest rounding, whose counters would show where updates are lost."
    kinds: dict[str, list[str]] = {}
    for kind in in_order(nearest["layer_type"], source.info.layer_types):
        rows = nearest[nearest["layer_type"] == kind]
        kinds.setdefault(listed(in_order(rows["format"], source.encoding.formats)), []).append(kind)
    parts = [f"in {names} ({listed(where)})" for names, where in kinds.items()]
    return (
        "Counters by layer type, from runs with every layer in the format, show only where updates are lost:"
        f" under nearest rounding with adamw the fewest updates stall {listed(parts)}."
    )


def best_grid(source: Source, spots: pd.DataFrame) -> Grid:
    """Return the best of each layer type and storage."""
    columns = ("layer type", "storage", "format", "update", *_measure(spots))
    rows = [(word(row["layer_type"]), *_place(row)) for row in _sorted(source, spots[spots["rank"] == 1])]
    return grid(columns, rows, "No run has ended.")


def ranking_grid(source: Source, spots: pd.DataFrame) -> Grid:
    """Return formats and updates ranked within each layer type and storage."""
    columns = ("layer type", "rank", "storage", "format", "update", *_measure(spots))
    rows = [(word(row["layer_type"]), count(row["rank"]), *_place(row)) for row in _sorted(source, spots)]
    return grid(columns, rows, "No run has ended.")


def whole_grid(source: Source) -> Grid:
    """Return formats and updates ranked with every layer in the format."""
    spots = source.tables["sweet_spots"]
    whole = spots[(spots["layer_type"] == ALL) & (spots["basis"] == LOSS)]
    columns = ("rank", "storage", "format", "update", "gap to the baseline", "interval", "n", "verdict")
    return grid(columns, [(count(r["rank"]), *_place(r)) for r in _sorted(source, whole)], "There is no baseline run.")


def probes_grid(source: Source) -> Grid:
    """Return diagnostics of the final weights by layer type, of runs with every layer in the format."""
    rates = source.tables["layer_rates"]
    mine = rates[
        rates["metric"].isin(list(PROBES))
        & (rates["layers"] == ALL)
        & (rates["layer_type"] != ALL)
        & (rates["update"] == "adamw")
        & (rates["format"] != source.info.baseline_format)
    ]
    wide = mine.pivot(index=["layer_type", "format", "storage"], columns="metric", values="mean")
    wide = wide.reindex(columns=list(PROBES)).reset_index().assign(update="adamw", rank=0)
    columns = ("layer type", "storage", "format", *PROBES.values())
    rows = [
        (
            word(row["layer_type"]),
            word(row["storage"]),
            word(row["format"]),
            plain(row["grid_alignment_mean"]),
            rate(row["codes_used_fraction"]),
            plain(row["code_entropy_bits"]),
            plain(row["stable_rank"]),
        )
        for row in _sorted(source, wide)
    ]
    return grid(columns, rows, "No diagnostics were given to the tables.")


def benefits_grid(source: Source) -> Grid:
    """Return every benefit with one layer type alone in the format, by layer type."""
    kinds = in_order(source.tables["comparisons"]["layers"], source.info.layer_types)
    columns = ("layer type", "format", "storage", "update", "benefit", "interval", "n", "p (Holm)", "verdict")
    rows = [
        (
            *(word(row[name]) for name in ("layers", "format", "storage", "update")),
            estimated(row),
            interval(row["low"], row["high"]),
            count(row["n"]),
            p_value(row["p_holm"]),
            word(row["verdict"]),
        )
        for kind in kinds
        if kind != ALL
        for row in source.estimates("benefit", layers=kind)
    ]
    return grid(columns, rows, "There are no runs of both updates with one layer type alone in a format.")


def _by_loss(spots: pd.DataFrame) -> bool:
    """Return whether a ranking is by loss, and not by counters."""
    return bool((spots["basis"] == LOSS).any())


def _spots(source: Source) -> pd.DataFrame:
    """Return the ranking by layer type: by loss where there are such runs, else by counters."""
    spots = source.tables["sweet_spots"]
    single = spots[spots["layer_type"] != ALL]
    by_loss = single[single["basis"] == LOSS]
    return by_loss if len(by_loss) else single[single["basis"] == COUNTERS]


def _sorted(source: Source, data: pd.DataFrame) -> list[Row]:
    kinds = in_order(data["layer_type"], source.info.layer_types) if len(data) else []
    storages = in_order(data["storage"], STORAGES)
    rows = source.ordered(data)
    return sorted(rows, key=lambda r: (kinds.index(r["layer_type"]), storages.index(r["storage"]), r["rank"]))


def _measure(spots: pd.DataFrame) -> tuple[str, ...]:
    if _by_loss(spots):
        return ("gap to the baseline", "interval", "n", "verdict")
    return ("rate", "mean", "n")


def _place(row: Row) -> tuple[Cell, ...]:
    names = (word(row["storage"]), word(row["format"]), word(row["update"]))
    if row["basis"] == LOSS:
        cell = (row["format"], row["update"], row["storage"], row["layer_type"])
        measured = (linked(difference(row["mean"]), cell_target(cell)), interval(row["low"], row["high"]))
        return (*names, *measured, count(row["n"]), word(row["verdict"]))
    return (*names, word(row["metric"]), rate(row["mean"]), count(row["n"]))
