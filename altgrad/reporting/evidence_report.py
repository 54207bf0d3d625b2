"""The runs behind every estimate: what each cell scored by seed, and what is subtracted from what."""

import pandas as pd

from altgrad.analysis.cells import CELL, Key, cell_key, chosen_runs
from altgrad.analysis.tables import Row, records
from altgrad.reporting.document import Answer, Block, Fold, Paragraph, Report, Section
from altgrad.reporting.evidence_links import (
    WHAT_CELLS_DID,
    cell_target,
    cell_title,
    estimate_title,
    family_title,
)
from altgrad.reporting.page import make_report
from altgrad.reporting.source import Source
from altgrad.reporting.text import (
    Cell,
    Grid,
    count,
    counted,
    difference,
    grid,
    learning_rate,
    linked,
    nats,
    plain,
    rate,
    word,
)

HEADINGS = {"did": "Differences in differences", "benefit": "Benefits"}
"""The sections of estimates that are differences between cells, by estimand, in their order."""

MEASURES = {
    "score": nats,
    "gap": difference,
    "benefit": difference,
    "edq": plain,
    "stall_ratio": rate,
    "flip_rate": rate,
    "update_ulps": plain,
    "ulp_spread": plain,
    "sign_kept": rate,
    "code_entropy_bits": plain,
}
"""Columns of the mechanism table, and how each is printed."""


def build(source: Source) -> Report:
    """Return the content of the report."""
    runs = chosen_runs(source.tables["runs"], source.tables["cells"])
    by_cell = {key: records(group) for key, group in _by_cell(runs)}
    sections: list[Section] = []
    for estimand, heading in HEADINGS.items():
        sections += [Section(heading, ()), *_families(source, by_cell, estimand)]
    sections += [Section(WHAT_CELLS_DID, (_mechanism_grid(source),)), *_cells(source, by_cell)]
    return make_report(source, "Runs behind the numbers", answer(source, len(runs)), sections)


def answer(source: Source, runs: int) -> Answer:
    """Return how much stands behind the study's numbers."""
    if not runs:
        return Answer("No run has ended, so nothing stands behind any number.")
    return Answer(
        f"Behind the study's numbers stand {counted(runs, 'run')} in {counted(len(source.cells), 'cell')}, each at its"
        f" cell's chosen learning rate.",
        "Every score that an estimate takes is here, by seed: an estimate is the mean of its last column. The same rows"
        " are in the tables runs, cells, comparisons and differences. Combinations at other learning rates are in the"
        " test matrix.",
    )


def _by_cell(data: pd.DataFrame) -> list[tuple[Key, pd.DataFrame]]:
    groups = data.groupby(CELL, sort=False)
    return [
        ((str(name), str(update), str(storage), str(layers)), rows) for (name, update, storage, layers), rows in groups
    ]


def _values(source: Source, estimand: str) -> dict[Key, dict[int, float]]:
    """Return the paired differences of an estimand by cell and seed."""
    rows = source.tables["differences"]
    found = _by_cell(rows[rows["estimand"] == estimand])
    return {key: dict(zip(group["seed"], group["value"], strict=True)) for key, group in found}


def _families(source: Source, by_cell: dict[Key, list[Row]], estimand: str) -> list[Section]:
    """Return a section for each family of estimates, and within it one for each format."""
    rows, values = source.tables["comparisons"], _values(source, estimand)
    sections: list[Section] = []
    for _, family in rows[rows["estimand"] == estimand].groupby(["update", "storage", "layers"], sort=False):
        keys = [cell_key(row) for row in source.ordered(family)]
        sections.append(Section(family_title(estimand, keys[0]), (), level=3))
        for key in keys:
            blocks = _estimate(source, by_cell, estimand, key, values.get(key, {}))
            sections.append(Section(estimate_title(estimand, key), blocks, level=4))
    return sections or [Section(f"No {estimand}", (Paragraph("There are no runs for it."),), level=3)]


def _parts(estimand: str, key: Key, reference: str) -> dict[Key, str]:
    """Return the cells that an estimate is made of, and the sign of each."""
    name, update, storage, layers = key
    if estimand == "benefit":
        return {(name, reference, storage, layers): "+", key: "-"}
    nearest, master = (_parts("benefit", (name, update, place, layers), reference) for place in ("nearest", "master"))
    return {**nearest, **{cell: "-" if sign == "+" else "+" for cell, sign in master.items()}}


def _estimate(
    source: Source, by_cell: dict[Key, list[Row]], estimand: str, key: Key, values: dict[int, float]
) -> tuple[Block, ...]:
    """Return what an estimate is made of: its cells with their runs, and every seed's scores and difference."""
    parts = _parts(estimand, key, source.comparisons[estimand, key]["reference"])
    scores = {cell: {row["seed"]: row["score"] for row in by_cell[cell]} for cell in parts}
    cells = grid(
        ("cell", "sign", "learning rate", "runs"),
        (
            (
                linked(word(cell_title(cell)), cell_target(cell)),
                word(sign),
                learning_rate(source.cells[cell]["lr"]),
                word(", ".join(row["run_id"] for row in by_cell[cell] if row["seed"] in values)),
            )
            for cell, sign in parts.items()
        ),
        "",
    )
    heads = [f"{sign} {cell[1]}, {cell[2]}" for cell, sign in parts.items()]
    by_seed = grid(
        ("seed", *heads, estimand),
        (
            (count(seed), *(nats(scores[cell][seed]) for cell in parts), difference(value))
            for seed, value in values.items()
        ),
        "No seed has all of its runs.",
    )
    return cells, by_seed


def _cells(source: Source, by_cell: dict[Key, list[Row]]) -> list[Section]:
    """Return a section for each cell: its runs at the chosen learning rate, and the trials that chose it."""
    gaps, trials = _values(source, "gap"), dict(_by_cell(source.tables["trials"]))
    sections = [Section("Cells", (Paragraph("A gap is the score less the baseline's of the same seed."),))]
    for key, runs in by_cell.items():
        blocks: list[Block] = [Paragraph(_chosen_words(source.cells[key])), _runs_grid(runs, gaps.get(key, {}))]
        if key in trials:
            blocks.append(Fold("The trials that chose the learning rate", _trials_grid(trials[key])))
        sections.append(Section(cell_title(key), tuple(blocks), level=3))
    return sections


def _chosen_words(cell: Row) -> str:
    """Return how a cell's learning rate was found, and what its runs came to."""
    if cell["tuned"]:
        how = f"tuned over {counted(cell['lrs'], 'learning rate')} on other seeds"
    elif cell["lrs"] > 1:
        how = f"the best of {cell['lrs']} on these seeds"
    else:
        how = "the only one that was run"
    edge = ", at or near the edge of those tried" if cell["lr_at_edge"] and cell["lrs"] > 1 else ""
    return (
        f"Learning rate {cell['lr']:g}, {how}{edge}. Mean {nats(cell['mean']).text} nats over"
        f" {counted(cell['n'], 'seed')}; {cell['diverged']} diverged."
    )


def _runs_grid(runs: list[Row], gaps: dict[int, float]) -> Grid:
    columns = ("run", "seed", "learning rate", "status", "score", "gap")
    rows = [
        (
            word(run["run_id"]),
            count(run["seed"]),
            learning_rate(run["lr"]),
            word(run["status"]),
            nats(run["score"]),
            difference(gaps.get(run["seed"], float("nan"))),
        )
        for run in runs
    ]
    return grid(columns, rows, "")


def _trials_grid(trials: pd.DataFrame) -> Grid:
    """Return a cell's trials, one row a learning rate."""
    rows = []
    for lr, group in trials.sort_values(["lr", "seed"]).groupby("lr"):
        scores = [
            f"seed {row['seed']}: {nats(row['score']).text}{' (diverged)' if row['diverged'] else ''}"
            for row in records(group)
        ]
        rows.append(
            (learning_rate(float(str(lr))), word("; ".join(scores)), word("yes" if group["chosen"].any() else ""))
        )
    return grid(("learning rate", "scores", "chosen"), rows, "")


def _mechanism_grid(source: Source) -> Grid:
    """Return what each cell's runs did beside what they scored: the table that correlations are taken over."""
    rows: list[tuple[Cell, ...]] = [
        (
            *(word(row[name]) for name in ("format", "storage", "update")),
            *(show(row[name]) for name, show in MEASURES.items()),
        )
        for row in source.ordered(source.tables["mechanism"])
    ]
    heads = (name.replace("_", " ") for name in MEASURES)
    return grid(("format", "storage", "update", *heads), rows, "No cell with every layer in a format has ended.")
