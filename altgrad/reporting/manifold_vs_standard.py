"""Geometry-aware against standard updates: the headline."""

import math
from dataclasses import dataclass

import pandas as pd

from altgrad.analysis.comparisons import DID_STORAGE
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Row
from altgrad.analysis.verdicts import NO_DIFFERENCE, NO_VERDICT, NOT_AFTER_HOLM, NOT_ENOUGH_SEEDS
from altgrad.figures.style import in_order
from altgrad.reporting.page import STORAGES, Page, Source, make_page
from altgrad.reporting.text import (
    Cell,
    Grid,
    count,
    counted,
    difference,
    grid,
    interval,
    learning_rate,
    listed,
    nats,
    p_value,
    word,
)

FIGURES = ("benefit", "loss_curves", "loss_by_format", "lr_sweep")


@dataclass(frozen=True)
class ManifoldReport:
    """The content of `manifold_vs_standard.md`.

    Attributes:
        page: What every report has.
        confidence: Of the intervals, in percent.
        min_seeds: Fewer give no verdict.
        min_steps: Nor do shorter runs.
        benefits: Benefit by update, storage and format.
        details: Learning rates, divergence and every p-value behind it.
        dids: Difference in differences by update and format.
        gaps: Gap to the baseline by update, storage and format.
        updates: What each update is.
    """

    page: Page
    confidence: str
    min_seeds: int
    min_steps: int
    benefits: Grid
    details: Grid
    dids: Grid
    gaps: Grid
    updates: Grid


def build(source: Source) -> ManifoldReport:
    """Return the content of the report."""
    info = source.info
    return ManifoldReport(
        page=make_page(source, "Geometry-aware against standard updates", answer(source), FIGURES),
        confidence=f"{info.confidence:.0%}",
        min_seeds=info.min_seeds,
        min_steps=info.min_steps,
        benefits=benefits_grid(source),
        details=details_grid(source),
        dids=dids_grid(source),
        gaps=gaps_grid(source),
        updates=updates_grid(source),
    )


def answer(source: Source) -> str:
    """Return, in plain words, which formats the geometry-aware updates help and which they hurt."""
    comparisons = source.tables["comparisons"]
    rows = comparisons[comparisons["estimand"].isin(["benefit", "did"]) & (comparisons["layers"] == ALL)]
    if rows.empty:
        return "No geometry-aware update was run beside adamw, so there is nothing to compare."
    updates = source.tables["updates"]
    primary = list(updates.loc[updates["primary"], "update"])
    named = [name for name in primary if name in set(rows["update"])]
    chosen = named or [name for name in source.encoding.updates if name in set(rows["update"])]
    head = "" if named else "The update that was fixed beforehand (metric power 1/2) is not in this study. "
    return head + " ".join(_update_sentences(source, rows[rows["update"] == name], name) for name in chosen)


def _update_sentences(source: Source, rows: pd.DataFrame, update: str) -> str:
    if rows["verdict"].isin(NO_VERDICT).all():
        return f"No verdict on {update} against adamw: {_too_small(source, rows)} that a verdict asks for."
    places = {
        "nearest": "with weights stored in the format by nearest rounding",
        "stochastic": "with weights stored in the format by stochastic rounding",
        "master": "with FP32 master weights",
        DID_STORAGE: "in the difference in differences, nearest against masters",
    }
    parts = [
        f"{places.get(storage, storage)}, {_tally(source, rows[rows['storage'] == storage])}"
        for storage in in_order(rows["storage"], STORAGES)
    ]
    return f"{update} against adamw, each at its own chosen learning rate: {'; '.join(parts)}."


def _too_small(source: Source, rows: pd.DataFrame) -> str:
    """Return what a study without any verdict lacks."""
    info = source.info
    reasons = {
        f"no comparison has the {info.min_seeds} paired seeds": (rows["verdict"] == NOT_ENOUGH_SEEDS).all(),
        f"no run has the {info.min_steps} steps": info.steps < info.min_steps,
    }
    return listed(reason for reason, holds in reasons.items() if holds)


def _tally(source: Source, rows: pd.DataFrame) -> str:
    """Return which formats are helped and hurt, and for how many nothing is shown."""
    parts = []
    for verb in ("helps", "hurts"):
        for suffix, note in (("", ""), (NOT_AFTER_HOLM, " (not after Holm's correction)")):
            means = rows[rows["verdict"] == verb + suffix].set_index("format")["mean"]
            sizes = [
                f"{name} by {abs(means[name]):.4f} nats" for name in in_order(means.index, source.encoding.formats)
            ]
            if sizes:
                parts.append(f"it {verb} {listed(sizes)}{note}")
    unshown = int((rows["verdict"] == NO_DIFFERENCE).sum())
    if unshown:
        parts.append(f"no difference is shown in {unshown} of {counted(len(rows), 'format')}")
    few = int((rows["verdict"] == NOT_ENOUGH_SEEDS).sum())
    if few:
        parts.append(f"{counted(few, 'format')} with too few seeds for a verdict")
    return ", ".join(parts)


def benefits_grid(source: Source) -> Grid:
    """Return the headline table: both losses, their paired difference, and the verdict."""
    columns = ("format", "storage", "update", "loss adamw", "loss", *_tests("benefit"))
    rows = [
        (
            word(row["format"]),
            word(row["storage"]),
            word(row["update"]),
            nats(_mean(source, row, "adamw")),
            nats(_mean(source, row, row["update"])),
            *_estimate(row),
        )
        for row in _rows(source, "benefit")
    ]
    return grid(columns, rows, "No geometry-aware update has an adamw run beside it.")


def details_grid(source: Source) -> Grid:
    """Return what stands behind the headline table: learning rates, divergence, and every p-value."""
    columns = ("format", "storage", "update", "lr adamw", "lr", "diverged", "sd", "p (t)", "p (sign flip)", "p (Holm)")
    rows = [
        (
            word(row["format"]),
            word(row["storage"]),
            word(row["update"]),
            learning_rate(row["reference_lr"], _edge(source, row, "adamw")),
            learning_rate(row["lr"], _edge(source, row, row["update"])),
            count(row["diverged"]),
            nats(row["sd"]),
            p_value(row["p_t"]),
            p_value(row["p_sign_flip"]),
            p_value(row["p_holm"]),
        )
        for row in _rows(source, "benefit")
    ]
    return grid(columns, rows, "No geometry-aware update has an adamw run beside it.")


def dids_grid(source: Source) -> Grid:
    """Return the differences in differences."""
    rows = [(word(row["format"]), word(row["update"]), *_estimate(row)) for row in _rows(source, "did")]
    columns = ("format", "update", *_tests("DiD"))
    return grid(columns, rows, "No update was run both under nearest rounding and with masters.")


def gaps_grid(source: Source) -> Grid:
    """Return the gaps to the baseline."""
    rows = [
        (
            word(row["format"]),
            word(row["storage"]),
            word(row["update"]),
            learning_rate(row["lr"], _edge(source, row, row["update"])),
            nats(_mean(source, row, row["update"])),
            *_estimate(row),
        )
        for row in _rows(source, "gap")
    ]
    columns = ("format", "storage", "update", "lr", "loss", *_tests("gap"))
    return grid(columns, rows, "There is no baseline run to compare with.")


def updates_grid(source: Source) -> Grid:
    """Return what each update is."""
    columns = ("update", "optimizer", "metric power", "acts on", "role")
    rows = []
    for row in source.tables["updates"].to_dict("records"):
        role = "geometry-aware, fixed beforehand" if row["primary"] else "geometry-aware"
        rows.append(
            (
                word(row["update"]),
                word(row["optimizer"]),
                word(f"{row['metric_power']:g}"),
                word(row["precondition"]),
                word(role if row["geometry_aware"] else "standard"),
            )
        )
    return grid(columns, rows, "No update occurs.")


def _rows(source: Source, estimand: str) -> list[Row]:
    comparisons = source.tables["comparisons"]
    return source.ordered(comparisons[(comparisons["estimand"] == estimand) & (comparisons["layers"] == ALL)])


def _tests(name: str) -> tuple[str, ...]:
    return (name, "interval", "n", "p", "verdict")


def _estimate(row: Row) -> tuple[Cell, ...]:
    return (
        difference(row["mean"]),
        interval(row["low"], row["high"]),
        count(row["n"]),
        p_value(row["p_holm"]),
        word(row["verdict"]),
    )


def _chosen(source: Source, row: Row, update: str) -> Row | None:
    cells = source.tables["cells"]
    same = (
        cells["chosen"]
        & (cells["format"] == row["format"])
        & (cells["update"] == update)
        & (cells["storage"] == row["storage"])
        & (cells["layers"] == row["layers"])
    )
    return {str(k): v for k, v in cells[same].iloc[0].items()} if same.any() else None


def _mean(source: Source, row: Row, update: str) -> float:
    cell = _chosen(source, row, update)
    return math.nan if cell is None else float(cell["mean"])


def _edge(source: Source, row: Row, update: str) -> bool:
    cell = _chosen(source, row, update)
    return cell is not None and bool(cell["lr_at_edge"]) and cell["lrs"] > 1
