"""Which format suits which layer type."""

from dataclasses import dataclass

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.sweet_spots import COUNTERS, LOSS, TIED
from altgrad.analysis.tables import Row, records
from altgrad.analysis.verdicts import NO_VERDICT
from altgrad.figures.style import STORAGE_ORDER, in_order
from altgrad.reporting.page import Page, Source, make_page
from altgrad.reporting.text import Cell, Grid, count, counted, difference, grid, interval, listed, plain, rate, word

FIGURES = ("layer_heatmap", "loss_by_format", "loss_curves")
PROBES = {
    "grid_alignment_mean": "grid alignment",
    "codes_used_fraction": "codes in use",
    "code_entropy_bits": "code entropy (bits)",
    "stable_rank": "stable rank",
}
"""Diagnostics of the final weights, and what they are called (DIAG-02, DIAG-07, RANK-01)."""


@dataclass(frozen=True)
class SweetSpotReport:
    """The content of `sweet_spot.md`.

    Attributes:
        page: What every report has.
        alone: Whether there are runs with one layer type alone in a format.
        best: The best of each layer type and storage.
        ranking: All of them, ranked.
        whole: Formats ranked with every layer in the format.
        probes: Diagnostics of the final weights by layer type and format.
    """

    page: Page
    alone: bool
    best: Grid
    ranking: Grid
    whole: Grid
    probes: Grid


def build(source: Source) -> SweetSpotReport:
    """Return the content of the report."""
    spots = _spots(source)
    return SweetSpotReport(
        page=make_page(source, "Which format suits which layer type", answer(source), FIGURES),
        alone=bool((spots["basis"] == LOSS).any()),
        best=best_grid(source, spots),
        ranking=ranking_grid(source, spots),
        whole=whole_grid(source),
        probes=probes_grid(source),
    )


def answer(source: Source) -> str:
    """Return, in plain words, the best format of each layer type, or that the study cannot say."""
    spots = _spots(source)
    if spots.empty:
        return "No run has ended, so nothing is known about formats by layer type."
    if not (spots["basis"] == LOSS).any():
        return (
            "This study has no runs with one layer type alone in a format, so it cannot say what a format costs there."
            f" {_least_lost(source, spots)}"
        )
    parts = []
    for kind in source.info.layer_types:
        for storage in in_order(spots["storage"], STORAGE_ORDER):
            part = spots[(spots["layer_type"] == kind) & (spots["storage"] == storage)]
            if len(part):
                parts.append(_best_words(kind, storage, part))
    return f"Lowest validation loss with that layer type alone in the format: {'; '.join(parts)}."


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


def _spots(source: Source) -> pd.DataFrame:
    """Return the ranking by layer type: by loss where there are such runs, else by counters."""
    spots = source.tables["sweet_spots"]
    single = spots[spots["layer_type"] != ALL]
    by_loss = single[single["basis"] == LOSS]
    return by_loss if len(by_loss) else single[single["basis"] == COUNTERS]


def _sorted(source: Source, data: pd.DataFrame) -> list[Row]:
    kinds = in_order(data["layer_type"], source.info.layer_types) if len(data) else []
    storages = in_order(data["storage"], STORAGE_ORDER)
    rows = source.ordered(data)
    return sorted(rows, key=lambda r: (kinds.index(r["layer_type"]), storages.index(r["storage"]), r["rank"]))


def _measure(spots: pd.DataFrame) -> tuple[str, ...]:
    if (spots["basis"] == LOSS).any():
        return ("gap to the baseline", "interval", "n", "verdict")
    return ("rate", "mean", "n")


def _place(row: Row) -> tuple[Cell, ...]:
    names = (word(row["storage"]), word(row["format"]), word(row["update"]))
    if row["basis"] == LOSS:
        measured = (difference(row["mean"]), interval(row["low"], row["high"]))
        return (*names, *measured, count(row["n"]), word(row["verdict"]))
    return (*names, word(row["metric"]), rate(row["mean"]), count(row["n"]))
