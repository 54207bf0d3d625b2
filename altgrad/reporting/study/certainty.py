"""How sure the answer is: seeds planned and reached, two kinds of intervals, divergence; and what would change it."""

import math
from collections.abc import Mapping

from altgrad.analysis.cells import Key, cell_key
from altgrad.analysis.layers import ALL
from altgrad.analysis.run_tables import MISSING
from altgrad.analysis.tables import Row, records
from altgrad.analysis.verdicts import NO_DIFFERENCE, NO_VERDICT
from altgrad.reporting.document import Bullets, Paragraph, Section
from altgrad.reporting.evidence_links import cell_name, estimated
from altgrad.reporting.source import Source
from altgrad.reporting.stuck import STUCK
from altgrad.reporting.study.answer import OVERALL
from altgrad.reporting.text import (
    Cell,
    Grid,
    count,
    counted,
    difference,
    grid,
    interval,
    listed,
    nats,
    rate_interval,
    word,
)
from altgrad.study.grid import BASELINE_UPDATE

NAN = float("nan")


def sections(source: Source) -> list[Section]:
    """Return how sure the answer is, and what would change it."""
    how = (
        "Shown from is the smallest true difference that the evaluated seeds, with their standard deviation, would have"
        f" shown with a probability of {source.info.power:.0%} after the first step of Holm's correction. Under sd,"
        " tuning is the standard deviation over the tuning seeds."
    )
    return [
        Section("How sure it is", (Bullets(tuple(certainty(source))), Paragraph(how), precision_grid(source))),
        Section("What would change it", (Bullets(tuple(what_would_change(source))),)),
    ]


def certainty(source: Source) -> list[str]:
    """Return in words how many seeds there are, whether the two intervals agree, and what diverged."""
    rows = source.estimates("did", source.primary) if source.primary else []
    if not rows:
        return ["There is no difference in differences of the update that was fixed beforehand: nothing can be sure."]
    said = (_seeds(source, rows), _intervals(rows), *_lost(source, rows), _frozen(source, rows))
    return [text for text in said if text]


def _seeds(source: Source, rows: list[Row]) -> str:
    """Return how many seeds there are, and how many the tuning seeds ask for."""
    seeds = sorted({row["n"] for row in rows})
    span = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    known = [row for row in _precision(source).values() if not math.isnan(row["planned_n"])]
    plan = "None were planned, because no tuning seeds have the difference in differences."
    if known:
        plan = (
            f"By the spread over {max(row['tuning_n'] for row in known)} tuning seeds of each format, pooled over the"
            f" formats ({known[0]['planned_sd']:.4f} nats), {int(known[0]['planned_n'])} would show a difference of"
            f" {source.info.smallest_effect:g} nats with a probability of {source.info.power:.0%}."
        )
    return (
        f"Seeds: {span} in every arm of a format's comparison; a verdict asks for {source.info.min_seeds}. {plan} All"
        f" arms of a seed share their initial weights and batches."
    )


def _intervals(rows: list[Row]) -> str:
    """Return whether the t interval and the sign-flip interval say the same of 0."""
    both = [row for row in rows if math.isfinite(row["flip_low"])]
    apart = [row["format"] for row in both if _excludes(row, "low", "high") != _excludes(row, "flip_low", "flip_high")]
    if not both:
        return "Intervals: too few seeds for a sign-flip interval, so that nothing checks the t intervals."
    two = "the t interval and the sign-flip interval, which asks for symmetry alone,"
    if not apart:
        more = len(rows) - len(both)
        rest = f"; in {counted(more, 'format')} too few seeds leave the second unbounded" if more else ""
        return f"Intervals: {two} agree on whether 0 lies within in {counted(len(both), 'format')}{rest}."
    return (
        f"Intervals: {two} disagree on whether 0 lies within in {listed(apart)}. Verdicts follow the t interval, which"
        f" takes the differences to be near normal."
    )


def _frozen(source: Source, rows: list[Row]) -> str:
    """Return what the differences would be if every cell had the loss of the best rate that was tried in tuning."""
    moved = []
    for row in rows:
        name, update, _, layers = cell_key(row)
        gains = (
            source.tuning_regret((name, row["reference"], place, layers))
            - source.tuning_regret((name, update, place, layers))
            for place in OVERALL
        )
        by = next(gains) - next(gains)
        if math.isfinite(by) and by:
            moved.append(f"{row['format']} {difference(row['mean'] - by).text}")
    if not moved:
        return ""
    return (
        f"Frozen rates: the parabola does not always take the rate with the lowest mean of tuning. If every cell were"
        f" as much better as its best rate was there, differences would come to {listed(moved)}. With few tuning seeds"
        f" the lowest mean is partly luck: this is no estimate, and shows how much a rate may weigh."
    )


def _excludes(row: Row, low: str, high: str) -> bool:
    return bool(row[low] > 0 or row[high] < 0)


def _lost(source: Source, rows: list[Row]) -> list[str]:
    """Return in which cells runs diverged, and in which they ended no better than bigrams, with exact intervals."""
    names = {row["format"] for row in rows}
    cells = {key: cell for key, cell in source.cells.items() if key[0] in names and _is_compared(source, key)}
    lost, stuck = (_rates(source, cells, name) for name in ("diverged", "stuck"))
    most = max(cell["diverged_high"] for cell in cells.values())
    none = (
        f"Divergence: none of the runs compared diverged. So few seeds leave rates of up to {100 * most:.0f} % open"
        f" in the cell with the fewest."
    )
    return [
        f"Divergence, each run counted with ln(vocabulary size): {lost}." if lost else none,
        f"Stuck runs: {stuck}. Their differences are of another size than the others, in which case both intervals are"
        f" too sure of themselves; docs/statistics.md has by how much. {STUCK}"
        if stuck
        else "",
    ]


def _rates(source: Source, cells: Mapping[Key, Row], name: str) -> str:
    """Return each cell with runs that are lost in some way, how many, and the exact interval of their rate."""
    return listed(
        f"{cell_name(key)} {int(cell[name])} of {cell['n']}"
        f" ({source.info.confidence:.0%} interval {rate_interval(cell[f'{name}_low'], cell[f'{name}_high']).text})"
        for key, cell in cells.items()
        if cell[name] > 0
    )


def precision_grid(source: Source) -> Grid:
    """Return, for each format, the precision that was planned and that was reached."""
    columns = (
        "format",
        "DiD",
        "n",
        "sd, tuning",
        "sd",
        "half width",
        "shown from",
        "t interval",
        "sign-flip interval",
    )
    precision = _precision(source)
    rows = []
    for row in source.estimates("did", source.primary) if source.primary else []:
        found = precision.get(row["format"], {})
        measured = (nats(found.get(name, NAN)) for name in ("tuning_sd", "sd", "half_width"))
        rows.append(
            (
                word(row["format"]),
                estimated(row),
                count(row["n"]),
                *measured,
                _detectable(found.get("detectable", NAN)),
                interval(row["low"], row["high"]),
                interval(row["flip_low"], row["flip_high"]),
            )
        )
    return grid(columns, rows, "There is no difference in differences of the update that was fixed beforehand.")


def _detectable(value: float) -> Cell:
    return Cell("nothing", math.inf) if math.isinf(value) else nats(value)


def _precision(source: Source) -> dict[str, Row]:
    """Return the precision table's rows of the primary update, by format."""
    rows = records(source.tables["precision"])
    return {row["format"]: row for row in rows if row["update"] == source.primary and row["layers"] == ALL}


def what_would_change(source: Source) -> list[str]:
    """Return what could turn the answer, as far as the tables show it."""
    rows = source.estimates("did", source.primary) if source.primary else []
    found = [
        _few_seeds(source, rows),
        _close_calls(rows),
        _edges(source),
        _missing(source),
        "Anything that is the same in every run here: the model, the corpus, the length of training, the schedule, and"
        " how weights are scaled. Nothing was varied there.",
    ]
    return [text for text in found if text]


def _few_seeds(source: Source, rows: list[Row]) -> str:
    """Return in which formats a difference that matters might have been missed."""
    small = [row["format"] for row in rows if row["verdict"] in NO_VERDICT]
    if small:
        return f"Enough runs for a verdict: {listed(small)} have none yet."
    precision = _precision(source)
    open_ = {row["format"]: precision[row["format"]]["detectable"] for row in rows if row["verdict"] == NO_DIFFERENCE}
    missed = [
        f"{name} ({_detectable(value).text})" for name, value in open_.items() if value > source.info.smallest_effect
    ]
    if not missed:
        return ""
    return (
        f"More seeds in {listed(missed)}: no difference is shown there, and one of less than the number in brackets, in"
        f" nats, may well have been missed."
    )


def _close_calls(rows: list[Row]) -> str:
    close = [row["format"] for row in rows if "not after" in row["verdict"]]
    if not close:
        return ""
    return (
        f"A few more seeds in {listed(close)}, whose interval excludes 0 and whose p does not pass Holm's correction."
    )


def _is_compared(source: Source, key: Key) -> bool:
    """Return whether a cell is one that the primary comparison may be made of."""
    _, update, storage, layers = key
    return update in (BASELINE_UPDATE, source.primary) and storage in ("nearest", "master") and layers == ALL


def _edges(source: Source) -> str:
    """Return which cells of the primary comparison have their learning rate at an edge."""
    names = [key for key in source.cells if _is_compared(source, key) and source.at_edge(key)]
    if not names:
        return ""
    return (
        f"More learning rates in {counted(len(names), 'cell')} whose best stands at or near the edge of those tried:"
        f" {listed('-'.join(key[:3]) for key in names)}. A better one there would change its loss and every difference"
        f" with it."
    )


def _missing(source: Source) -> str:
    missing = int((source.tables["runs"]["status"] == MISSING).sum())
    return f"The {counted(missing, 'planned run')} still missing." if missing else ""
