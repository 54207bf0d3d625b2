"""Why: the power of the metric, its controls, storages that lose no update, and what goes with the loss."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from altgrad.analysis.cells import Key, cell_key
from altgrad.analysis.tables import Row, records
from altgrad.analysis.verdicts import NO_DIFFERENCE, NO_VERDICT
from altgrad.figures.style import in_order
from altgrad.reporting.document import Block, Paragraph, Section, anchor
from altgrad.reporting.evidence_links import STEM, WHAT_CELLS_DID, estimated
from altgrad.reporting.source import STORAGES, Source
from altgrad.reporting.study.answer import OVERALL
from altgrad.reporting.study.why import HELPS, KNOCK_OUTS, benefit_of, controls
from altgrad.reporting.text import (
    Cell,
    Grid,
    count,
    grid,
    interval,
    linked,
    listed,
    p_value,
    plain,
    word,
)
from altgrad.study.grid import BASELINE_UPDATE

NAMES = {
    "edq": "descent quality",
    "stall_ratio": "stall ratio",
    "ulp_spread": "spread of grid spacings",
    "sign_kept": "share of kept signs",
    "gap": "gap to the baseline",
    "benefit": "benefit",
}
"""What the columns of the mechanism table are called."""

NO_CONTROLS = (
    "This study has no control updates, so that it cannot tell the grid's geometry from any other scaling of steps."
)

NO_CAUSE = (
    "Descent quality (EDQ) is the share of an intended step that was made; the stall ratio is the share of weights with"
    " a gradient whose stored value stayed. A rank correlation over cells says that two columns rise or fall together,"
    " and not that one makes the other: cells share formats and updates, so that they are fewer in kind than in number."
    " The p are not corrected for the number of rows."
)


def sections(source: Source) -> list[Section]:
    """Return what speaks for and against an explanation."""
    return [
        Section("Mechanism", (Paragraph(_said(source)), source.figure("benefit_by_geometry"))),
        Section("Power of the metric", _powers(source), level=3),
        Section("Controls", _controls(source), level=3),
        Section("Storages that lose no update", _knock_outs(source), level=3),
        Section("The size of an update on the grid", (source.figure("update_collapse"),), level=3),
        Section(
            "What goes with the loss across cells",
            (tests_grid(source), Paragraph(f"{NO_CAUSE} {_within(source)}".strip()), source.figure("mechanism")),
            level=3,
        ),
    ]


def _said(source: Source) -> str:
    return (
        "None of what follows is the primary comparison. An entry is the mean with its"
        f" {source.info.confidence:.0%} interval in nats; a verdict stands beside it where a difference is shown, and"
        " where there are too few seeds or steps for one."
    )


def _powers(source: Source) -> tuple[Block, ...]:
    """Return the benefit by power of the metric, where there is more than one."""
    swept = {
        row["update"]: f"p = {row['metric_power']:g}"
        for row in records(source.tables["updates"].sort_values("metric_power", kind="stable"))
        if row["geometry_aware"]
        and (row["optimizer"], row["metric"], row["precondition"]) == ("manifold_adamw", "ulp", "update")
    }
    if len(swept) < 2:
        return (Paragraph("The power p of the metric was not varied in this study."),)
    how = (
        "The benefit over adamw under nearest rounding, by the power p of the metric: above 0, steps are longer where"
        " the grid is coarser, below 0 where it is finer. No power but 1/2 was fixed beforehand as the comparison."
    )
    columns = {f"{name} ({power})": benefit_of(name, "nearest") for name, power in swept.items()}
    asked = tuple(f"{name} ({power})" for name, power in swept.items() if name != source.primary)
    return Paragraph(how), _matrix(source, columns, asked)


def _controls(source: Source) -> tuple[Block, ...]:
    """Return the benefits of updates that take the grid's geometry away, beside the primary's."""
    taken = controls(source)
    if not taken:
        return (Paragraph(NO_CONTROLS),)
    how = (
        "The benefit over adamw, under nearest rounding and, where it was run, with FP32 masters. smooth has |w| in"
        " place of the grid's spacing, and so no staircase; permuted has the spacing of another weight of the tensor,"
        " and so the same steps at the wrong weights. What a control gains as well is not due to knowing where the"
        " grid's points lie."
    )
    names, rows = [*filter(None, [source.primary]), *taken], source.estimates("benefit")
    storages = [s for s in OVERALL if any(row["update"] in taken and row["storage"] == s for row in rows)]
    columns = {f"{name}, {storage}": benefit_of(name, storage) for storage in storages for name in names}
    asked = tuple(f"{name}, {storage}" for storage in storages for name in taken)
    return Paragraph(how), _matrix(source, columns, asked)


def _knock_outs(source: Source) -> tuple[Block, ...]:
    """Return the primary's benefit by storage, if there is one that loses no update for good."""
    rows = source.estimates("benefit", source.primary) if source.primary else []
    storages = in_order((row["storage"] for row in rows), STORAGES)
    absent = [name for name in KNOCK_OUTS if name not in storages]
    lacking = f" This study has no runs of both updates under {listed(absent)}." if absent else ""
    if len(absent) == len(KNOCK_OUTS):
        return (Paragraph(f"Whether the benefit is due to lost updates is not tested.{lacking}"),)
    how = (
        f"The benefit of {source.primary} over adamw by storage. Under nearest rounding a step of less than half a"
        f" spacing is lost; stochastic rounding makes it on average, and eco carries its error on in the momentum. A"
        f" benefit that is due to lost updates goes away there.{lacking}"
    )
    columns = {storage: benefit_of(source.primary, storage) for storage in storages}
    return Paragraph(how), _matrix(source, columns, KNOCK_OUTS)


def _matrix(source: Source, columns: Mapping[str, Callable[[str], Key]], asked: tuple[str, ...]) -> Grid:
    """Return benefits, one row a format.

    Args:
        source: What the report is made from.
        columns: For each heading, what gives the cell of a format.
        asked: Headings of which a format must have one to be shown.
    """
    rows = []
    for name in source.encoding.formats:
        found = {head: source.comparisons.get(("benefit", cell(name))) for head, cell in columns.items()}
        if any(found.get(head) is not None for head in asked):
            rows.append((word(name), *map(_entry, found.values())))
    return grid(("format", *columns), rows, "There are no runs for it.")


def _entry(row: Row | None) -> Cell:
    """Return an estimate in one cell: mean, interval, and the verdict where there is something to say."""
    if row is None:
        return Cell("not run", math.inf)
    ends = "" if math.isnan(row["low"]) else f" {interval(row['low'], row['high']).text}"
    said = "no verdict" if row["verdict"] in NO_VERDICT else row["verdict"].replace(NO_DIFFERENCE, "")
    mean = estimated(row)
    return replace(mean, text=f"{mean.text}{ends} {said}".strip())


def _within(source: Source) -> str:
    """Return whether descent quality and stalls move with the benefit inside a format, under nearest rounding."""
    cells = {cell_key(row): row for row in records(source.tables["mechanism"])}
    words = []
    for name, title in (("edq", "descent quality is higher"), ("stall_ratio", "stall ratio is lower")):
        better, asked = [], []
        for form in source.encoding.formats:
            row = source.comparisons.get(("benefit", benefit_of(source.primary, "nearest")(form)))
            pair = [cells.get(benefit_of(update, "nearest")(form)) for update in (source.primary, BASELINE_UPDATE)]
            if row is None or row["verdict"] != HELPS or pair[0] is None or pair[1] is None:
                continue
            asked.append(form)
            if (pair[0][name] > pair[1][name]) == (name == "edq"):
                better.append(form)
        if asked:
            words.append(f"its {title} than adamw's in {listed(better) or 'none'} of {listed(asked)}")
    if not words:
        return ""
    return f"Within a format, where {source.primary} helps under nearest rounding, {'; '.join(words)}."


def tests_grid(source: Source) -> Grid:
    """Return the correlations over cells, each with what it says."""
    level = 1 - source.info.confidence
    rows = [
        (
            word(row["test"]),
            word(row["storage"]),
            linked(count(row["n"]), f"{STEM}#{anchor(WHAT_CELLS_DID)}"),
            plain(row["rho"]),
            p_value(row["p"]),
            word(_reading(row, level)),
        )
        for row in records(source.tables["mechanism_tests"])
    ]
    return grid(("question", "cells of", "n", "rank correlation", "p", "what it says"), rows, "No test was made.")


def _reading(row: Row, level: float) -> str:
    """Return what a correlation says in plain words, and no more."""
    if math.isnan(row["rho"]):
        return "nothing: too few cells, or all alike"
    held = f", at equal {NAMES[row['given']]}" if row["given"] else ""
    if row["p"] > level:
        return f"no relation is shown{held}"
    way = "larger" if row["rho"] > 0 else "smaller"
    return f"cells with a larger {NAMES[row['x']]} have a {way} {NAMES[row['y']]}{held}"
