"""Where each format fails: in the forward pass, the backward pass, the optimizer, or by divergence."""

import pandas as pd

from altgrad.analysis.cells import cell_key
from altgrad.analysis.failures import DIVERGENCE, MARKS, NONE, STAGES
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Row, records
from altgrad.reporting.document import Answer, Block, Fold, Paragraph, Report, Section, anchor
from altgrad.reporting.evidence_links import cell_name, cell_target
from altgrad.reporting.failure_events import event_list_grid, events_grid
from altgrad.reporting.page import make_report
from altgrad.reporting.source import Source
from altgrad.reporting.stuck import STUCK
from altgrad.reporting.text import Cell, Grid, count, counted, grid, learning_rate, linked, listed, plain, rate, word

SHOWN_BY = {
    "Forward: the grid under the weights": ("stiffness_field", "grid_alignment", "capacity"),
    "Backward: gradients against FP32": ("gradient_quality",),
    "Optimizer: what becomes of an update": ("stall_and_flips", "edq", "ulp_histograms"),
    "Divergence: loss, rank and curvature": ("loss_curves", "rank_trends", "hessian_density"),
}
"""The figures that show each stage, by heading."""

PHRASES = {
    "forward": "in the forward pass",
    "backward": "in the backward pass, where gradients are cut or vanish",
    "optimizer": "in the optimizer, where updates are lost",
    DIVERGENCE: "by divergence",
}
RATES = ("overflow_rate", "underflow_rate", "stall_ratio", "update_underflow_rate", "zero_update_rate", "flip_rate")
CAST_RATES = ("input_overflow_rate", "input_underflow_rate", "grad_output_overflow_rate", "grad_output_underflow_rate")
CASTS = {"input": "inputs of layers", "grad_output": "gradients of layers' outputs"}
EVIDENCE = ("layer type", "rate", "value", "mark", "step")
STEM = "failure_modes"
AT_CHOSEN, STUCK_TITLE = "First failure at the chosen learning rate", "Runs that ended no better than bigrams"
NO_RUN = "No run with every layer in a format has ended."


def build(source: Source) -> Report:
    """Return the content of the report."""
    shown = (Section(heading, tuple(source.figure(name) for name in names)) for heading, names in SHOWN_BY.items())
    sections = [
        *_first_sections(source),
        _stuck_section(source),
        _events_section(source),
        *shown,
        _marks_section(source),
    ]
    return make_report(source, "Where each format fails", answer(source), sections)


def _first_sections(source: Source) -> list[Section]:
    first = (
        f"A stage fails where a rate over the whole run reaches its mark in some layer type; the step is the first"
        f" window that reaches it. The first failing stage is the one with the earliest step. Runs are those of"
        f" {listed(source.compared)} at their cell's chosen learning rate with every layer in the format; the"
        f" evidence is that of the run that fails earliest."
    )
    anywhere = (
        "A learning rate that is too high or too low fails too: these numbers are about the whole grid of rates, not"
        " the best."
    )
    rates = (
        "Whole-run rates over all weights, means over the seeds at the chosen learning rate. edq, the effective descent"
        " quality, is the share of an intended step that was made."
    )
    return [
        Section("First failure of each format", (Paragraph(first), by_format_grid(source))),
        Section(AT_CHOSEN, (first_grid(source),)),
        Section("First failure at any learning rate", (Paragraph(anywhere), all_runs_grid(source))),
        Section("Rates", (Paragraph(rates), rates_grid(source))),
    ]


def _events_section(source: Source) -> Section:
    blocks: list[Block] = [events_grid(source)]
    one_by_one = event_list_grid(source)
    if one_by_one.rows:
        unlisted = len(source.tables["events"]) - len(one_by_one.rows)
        more = f"; {unlisted} more stand in the table events" if unlisted else ""
        blocks.append(Fold(f"One by one{more}", one_by_one))
    return Section("Events", tuple(blocks))


def _stuck_section(source: Source) -> Section:
    how = f"{STUCK} They need not have passed any mark."
    return Section(STUCK_TITLE, (Paragraph(how), stuck_grid(source)))


def _marks_section(source: Source) -> Section:
    return Section(
        "The marks", (Paragraph(f"They are marks for reading, not tests. {_uncast(source)}".strip()), marks_grid())
    )


def answer(source: Source) -> Answer:
    """Return, in plain words, which formats fail where at their chosen learning rate, and where runs are stuck."""
    found = _marked(source)
    stuck = [f"{cell_name(cell_key(row))} ({int(row['stuck'])})" for row in _stuck_cells(source)]
    ended = f" Whatever the marks say, runs ended no better than bigrams in {listed(stuck)}." if stuck else ""
    archived = source.tables["runs"]["archived"].any()
    unknown = " Runs from an archive count once, at their end: of these, which stage failed first is not known."
    behind = tuple(linked(word(title), f"{STEM}#{anchor(title)}") for title in (AT_CHOSEN, STUCK_TITLE, "Events"))
    return Answer(found.lead, f"{found.rest}{ended}{unknown if archived else ''}".strip(), behind)


def _marked(source: Source) -> Answer:
    """Return where runs of the compared updates pass a mark or diverge."""
    chosen = _compared(source)
    if chosen.empty:
        return Answer("No run with every layer in a format has ended, so nothing is known about failures.")
    failing, updates = chosen[chosen["stage"] != NONE], listed(source.compared)
    if failing.empty:
        return Answer(
            f"At its chosen learning rate no cell of {updates} fails: {counted(len(chosen), 'run')}, and none passes a"
            f" mark or diverges."
        )
    parts = []
    for stage, phrase in PHRASES.items():
        where = failing[failing["stage"] == stage]
        names = [
            f"{name} ({listed(sorted(set(here['storage'])))}; {len(here)} of {(chosen['format'] == name).sum()} runs)"
            for name in source.encoding.formats
            if len(here := where[where["format"] == name])
        ]
        if names:
            parts.append(f"{listed(names)} {phrase}")
    passed = [name for name in source.encoding.formats if name in set(chosen["format"]) - set(failing["format"])]
    rest = f" Without a failure: {listed(passed)}." if passed else ""
    return Answer(f"At their chosen learning rates, some runs of {updates} fail first: {'; '.join(parts)}.{rest}")


def by_format_grid(source: Source) -> Grid:
    """Return, for each format, the earliest failure of the compared updates' runs at their chosen learning rates."""
    chosen = _compared(source)
    columns = ("format", "runs", "did not fail", "fails first in", "runs that do", "earliest in", *EVIDENCE)
    formats = [name for name in source.encoding.labels if name in set(chosen["format"])]
    rows = [_format_row(name, chosen[chosen["format"] == name]) for name in formats]
    return grid(columns, rows, NO_RUN)


def _format_row(name: str, runs: pd.DataFrame) -> tuple[Cell, ...]:
    """Return one format's row: how many of its runs fail, and the evidence of the one that fails earliest."""
    failing = runs[runs["stage"] != NONE]
    heads = (word(name), count(len(runs)), count(len(runs) - len(failing)))
    if failing.empty:
        return (*heads, word("did not fail"), count(0), word(""), *_values({"stage": NONE}))
    order = failing.assign(course=failing["stage"].map(STAGES.index)).sort_values(["step", "course"], kind="stable")
    row = records(order)[0]
    alike = count(int((failing["stage"] == row["stage"]).sum()))
    place = word(f"{row['storage']}, {row['update']}, seed {row['seed']}")
    return (*heads, word(row["stage"]), alike, place, *_values({**row, "low": row["value"], "high": row["value"]}))


def first_grid(source: Source) -> Grid:
    """Return, for each cell at its chosen learning rate, where its runs fail first."""
    first = _first(source)
    keys = ["format", "update", "storage", "layers", "stage", "layer_type", "metric"]
    groups = first[first["chosen"]].groupby(keys, sort=False, dropna=False)
    found = groups.agg(
        runs=("run_id", "size"),
        lr=("lr", "first"),
        low=("value", "min"),
        high=("value", "max"),
        step=("step", "min"),
        threshold=("threshold", "first"),
    ).reset_index()
    totals = first[first["chosen"]].groupby(keys[:4])["run_id"].size()
    columns = ("format", "storage", "update", "runs", "fails first in", *EVIDENCE)
    rows = []
    for row in source.ordered(found):
        total = totals[tuple(row[key] for key in keys[:4])]
        rows.append((word(row["format"]), word(row["storage"]), word(row["update"]), *_evidence(row, total)))
    return grid(columns, rows, NO_RUN)


def all_runs_grid(source: Source) -> Grid:
    """Return how many runs, at any learning rate, fail first in which stage."""
    first = _first(source)
    groups = first.groupby(["format", "update", "storage"], sort=False)["stage"]
    found = groups.value_counts().unstack(fill_value=0).reindex(columns=[*STAGES, NONE], fill_value=0).reset_index()
    columns = ("format", "storage", "update", "runs", *STAGES, "did not fail")
    rows = []
    for row in source.ordered(found):
        numbers = [int(row[stage]) for stage in (*STAGES, NONE)]
        names = (word(row["format"]), word(row["storage"]), word(row["update"]))
        rows.append((*names, count(sum(numbers)), *map(count, numbers)))
    return grid(columns, rows, NO_RUN)


def stuck_grid(source: Source) -> Grid:
    """Return the cells at their chosen learning rate with runs that ended no better than bigrams."""
    rows = [
        (
            *map(word, (row["format"], row["storage"], row["update"], row["layers"])),
            linked(count(row["stuck"]), cell_target(cell_key(row))),
            count(row["n"]),
            learning_rate(row["lr"]),
        )
        for row in _stuck_cells(source)
    ]
    empty = "There is none." if source.info.bigram_loss is not None else "The loss of bigrams was not computed."
    return grid(("format", "storage", "update", "layers", "stuck runs", "of", "lr"), rows, empty)


def _stuck_cells(source: Source) -> list[Row]:
    cells = source.tables["cells"]
    found = cells["chosen"] & (cells["stuck"] > 0) & (cells["format"] != source.info.baseline_format)
    return source.ordered(cells[found])


def rates_grid(source: Source) -> Grid:
    """Return whole-run rates over all layers, means over the seeds at the chosen learning rate."""
    rates = source.tables["layer_rates"]
    whole = rates[(rates["layers"] == ALL) & (rates["layer_type"] == ALL)]
    wide = whole.pivot(index=["format", "update", "storage"], columns="metric", values="mean")
    shown = (*RATES, *(name for name in CAST_RATES if name in wide.columns))
    wide = wide.reindex(columns=[*shown, "edq"]).reset_index()
    columns = ("format", "storage", "update", *(name.replace("_rate", "").replace("_", " ") for name in shown), "edq")
    rows = [
        (*map(word, (r["format"], r["storage"], r["update"])), *(rate(r[name]) for name in shown), plain(r["edq"]))
        for r in source.ordered(wide)
    ]
    return grid(columns, rows, "No run has counted anything.")


def marks_grid() -> Grid:
    """Return the marks, and why each stands where it does."""
    columns = ("stage", "rate", "mark", "in storages", "why")
    rows = [(word(m.stage), word(m.metric), rate(m.threshold), word(listed(m.storages)), word(m.reason)) for m in MARKS]
    return grid(columns, rows, "")


def _first(source: Source) -> pd.DataFrame:
    failures, baseline = source.tables["failures"], source.info.baseline_format
    return failures[failures["first"] & (failures["layers"] == ALL) & (failures["format"] != baseline)]


def _compared(source: Source) -> pd.DataFrame:
    """Return the first failures at the chosen learning rates of the updates that the study compares."""
    first = _first(source)
    return first[first["chosen"] & first["update"].isin(source.compared)]


def _uncast(source: Source) -> str:
    """Return which marks have nothing to mark, because the study casts weights alone."""
    names = [words for name, words in CASTS.items() if name not in source.info.features]
    return f"This study does not cast {listed(names)}: their marks have nothing to mark here." if names else ""


def _evidence(row: Row, total: int) -> tuple[Cell, ...]:
    stage = "did not fail" if row["stage"] == NONE else row["stage"]
    return word(f"{row['runs']} of {total}"), word(stage), *_values(row)


def _values(row: Row) -> tuple[Cell, ...]:
    """Return the cells of `EVIDENCE`: where a stage fails, by how much, and when."""
    if row["stage"] == NONE:
        return (word(""),) * len(EVIDENCE)
    if row["stage"] == DIVERGENCE:
        return word(""), word("nonfinite"), word(""), word(""), word(row["step"])
    low, high = rate(row["low"]).text, rate(row["high"]).text
    return (
        word(row["layer_type"]),
        word(row["metric"]),
        word(low if low == high else f"{low} to {high}"),
        word(rate(row["threshold"]).text),
        word(plain(row["step"]).text),
    )
