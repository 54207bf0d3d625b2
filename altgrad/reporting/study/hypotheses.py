"""What was predicted before the runs, and what became of it."""

import json

from altgrad.analysis.tables import Row, records
from altgrad.reporting.document import Block, Paragraph, Section, anchor
from altgrad.reporting.evidence_links import STEM, family_title
from altgrad.reporting.source import Source
from altgrad.reporting.text import Cell, Grid, count, grid, linked, listed, word


def section(source: Source) -> Section:
    """Return the hypotheses with their verdicts, and the plan that they come from."""
    plan = source.tables["plan"]
    if plan.empty:
        return Section("Hypotheses", (Paragraph("No hypotheses were written down for this study before its runs."),))
    verdicts = source.tables["hypotheses"]["verdict"].value_counts()
    files = listed(f"{file}, SHA-256 {sha}" for file, sha in plan[["file", "sha256"]].drop_duplicates().to_numpy())
    blocks: tuple[Block, ...] = (
        Paragraph(
            f"What was predicted before the runs, and what became of it:"
            f" {listed(f'{number} {verdict}' for verdict, number in verdicts.items())}."
        ),
        hypotheses_grid(source),
        Paragraph(
            f"A claim is refuted by one format whose interval contradicts it, and supported where those of all formats"
            f" agree with it; an order of formats is judged by its steps. Where a share of another estimate is"
            f" predicted, the result is the estimate less that share. Intervals are {source.info.confidence:.0%} t"
            f" intervals, corrected neither for the number of formats nor for that of hypotheses."
        ),
        Paragraph(
            f"The plan is {files}. The hash shows which text was judged; that it was written before the runs, only the"
            f" history of the repository can show."
        ),
        *_deviations(source),
    )
    return Section("Hypotheses", blocks)


def _deviations(source: Source) -> tuple[Block, ...]:
    """Return a warning where the study was changed after results were seen."""
    if not source.info.deviations:
        return ()
    return (Paragraph("The study was changed after results were seen: the threats to validity begin with how."),)


def hypotheses_grid(source: Source) -> Grid:
    """Return every hypothesis with its prediction, its result and its verdict."""
    specs = {row["id"]: json.loads(row["spec"]) for row in records(source.tables["plan"])}
    rows = [
        (
            word(row["claim"]),
            word(row["verdict"]),
            _seeds(source, row, specs[row["id"]]["of"]),
            word(row["prediction"]),
            word(row["result"]),
        )
        for row in records(source.tables["hypotheses"])
    ]
    return grid(("claim", "verdict", "n", "prediction", "result"), rows, "")


def _seeds(source: Source, row: Row, of: Row) -> Cell:
    """Return the fewest seeds that a hypothesis rests on, which leads to the runs behind it where there are any."""
    seeds = count(row["n"])
    key = (of["formats"][0], of["update"], of["storage"], of["layers"])
    if not row["n"]:
        return seeds
    title = "Cells" if of["estimand"] == "gap" else family_title(of["estimand"], key)
    return linked(seeds, f"{STEM}#{anchor(title)}")
