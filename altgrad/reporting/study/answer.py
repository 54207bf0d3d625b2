"""The answer in one paragraph. It follows from the tables' verdicts and says no more."""

import math
from collections.abc import Sequence

from altgrad.analysis.cells import cell_key
from altgrad.analysis.comparisons import WORDS
from altgrad.analysis.layers import ALL
from altgrad.analysis.sweet_spots import LOSS, TIED
from altgrad.analysis.tables import Row, records
from altgrad.analysis.verdicts import NO_DIFFERENCE, NO_VERDICT, NOT_AFTER_HOLM
from altgrad.reporting.document import Answer
from altgrad.reporting.evidence_links import STEM, family_links
from altgrad.reporting.source import Source
from altgrad.reporting.study.why import why
from altgrad.reporting.tally import PLACES, tally, too_small
from altgrad.reporting.text import counted, difference, interval, linked, listed, p_value, rate, word

QUESTION = "Which 8-bit format benefits most from geometry-aware updates?"

MORE, _ = WORDS["did"]

OVERALL = ("nearest", "master")
"""The storages whose lowest loss is named beside the answer."""


def answer(source: Source) -> Answer:
    """Return the answer, or what the study lacks for one."""
    rows = source.estimates("did", source.primary) if source.primary else []
    if not rows:
        return Answer(_nothing(source))
    judged = [row for row in rows if row["verdict"] not in NO_VERDICT]
    if not judged:
        return Answer(f"No answer: {too_small(source, rows)}.", _untested(source))
    top = max(judged, key=lambda row: row["mean"])
    shown = any(row["verdict"] == MORE for row in judged)
    rest = (
        _made_of(source, top),
        *(_benefits(source, storage) for storage in OVERALL),
        f"In the difference of the two, {tally(source, rows)}.",
        "" if shown else _could_have_shown(source),
        _stuck(rows),
        _diverged(rows),
        why(source),
        _lowest_losses(source),
    )
    benefits = [row for row in source.estimates("benefit", source.primary) if row["storage"] in OVERALL]
    behind = (*family_links([*rows, *benefits]), linked(word("every cell"), f"{STEM}#cells"))
    return Answer(_lead(source, judged, top), " ".join(filter(None, rest)), behind)


def _nothing(source: Source) -> str:
    """Return why there is no difference in differences at all."""
    if not source.primary:
        return "No answer: the update that was fixed beforehand (metric power 1/2) is not in this study."
    return (
        f"No answer: no format has runs of {source.primary} and adamw both under nearest rounding and with FP32 master"
        f" weights."
    )


def _untested(source: Source) -> str:
    """Return what may be read from a study that gives no verdict."""
    return "The tables below have what its runs came to; nothing in them is a finding."


def _lead(source: Source, judged: Sequence[Row], top: Row) -> str:
    """Return which format benefits most, as far as that is shown."""
    helped = [row["format"] for row in judged if row["verdict"] == MORE]
    number = f"difference in differences {_numbers(source, top, len(judged))}"
    if top["format"] in helped:
        if len(judged) == 1 or _probability(source, top) >= source.info.confidence:
            return f"{top['format']} benefits most from geometry-aware updates, beyond what masters gain: {number}."
        others = [row for row in judged if row["verdict"] == MORE and row is not top]
        rivals = listed(f"{row['format']} ({difference(row['mean']).text})" for row in others)
        return (
            f"{top['format']} has the largest benefit from geometry-aware updates beyond what masters gain, but which"
            f" format benefits most is not settled{f', against {rivals}' if rivals else ''}: {number}."
        )
    largest = f"The largest {number} is that of {top['format']}, {_against_zero(top)}."
    if helped:
        verb = "benefits" if len(helped) == 1 else "benefit"
        return (
            f"{listed(helped)} {verb} more from geometry-aware updates than masters do; which format benefits most is"
            f" not settled. {largest}"
        )
    return f"No format is shown to benefit more from geometry-aware updates than masters do. {largest}"


def _against_zero(row: Row) -> str:
    """Return what is shown of a largest difference that is not shown to be above 0."""
    if row["verdict"] == MORE + NOT_AFTER_HOLM:
        return "whose interval excludes 0, but not after Holm's correction over the formats"
    return "whose interval holds 0" if row["verdict"] == NO_DIFFERENCE else "and its interval lies below 0"


def _numbers(source: Source, row: Row, formats: int) -> str:
    """Return an estimate with everything that says how sure it is."""
    probability = _probability(source, row)
    told = formats > 1 and not math.isnan(probability)
    best = f", best of {formats} formats in {rate(probability).text} of bootstrap samples" if told else ""
    return (
        f"{difference(row['mean']).text} nats ({source.info.confidence:.0%} interval"
        f" {interval(row['low'], row['high']).text}, Holm p {p_value(row['p_holm']).text},"
        f" {counted(row['n'], 'seed')}{best})"
    )


def _probability(source: Source, row: Row) -> float:
    found = source.best.get((row["estimand"], cell_key(row)))
    return math.nan if found is None else float(found["probability"])


def _made_of(source: Source, top: Row) -> str:
    """Return the two benefits that the largest difference in differences is made of."""
    name, update, _, layers = cell_key(top)
    nearest, master = (source.comparisons["benefit", (name, update, place, layers)] for place in OVERALL)
    cells = [(name, rule, place, layers) for rule in (top["reference"], update) for place in OVERALL]
    at_edge = any(source.at_edge(cell) for cell in cells)
    edge = " A learning rate behind it stands at or near the edge of those tried." if at_edge else ""
    return (
        f"That is the benefit of {update} over adamw {PLACES['nearest']}, {difference(nearest['mean']).text}"
        f" ({nearest['verdict']}), less that {PLACES['master']}, {difference(master['mean']).text}"
        f" ({master['verdict']}).{edge}"
    )


def _could_have_shown(source: Source) -> str:
    """Return which difference would have been shown, where none was."""
    precision = source.tables["precision"]
    mine = precision[(precision["update"] == source.primary) & (precision["layers"] == ALL)]
    rows = records(mine.dropna(subset=["detectable"]))
    if not rows:
        return ""
    row = max(rows, key=lambda r: r["detectable"])
    power = f"{source.info.power:.0%}"
    if math.isinf(row["detectable"]):
        return (
            f"No difference, however large, could have passed the correction over the formats with"
            f" {counted(row['n'], 'seed')}."
        )
    return (
        f"A true difference of {row['detectable']:.4f} nats would have been shown with a probability of {power} in"
        f" every format, the least certain being {row['format']}."
    )


def _benefits(source: Source, storage: str) -> str:
    """Return what the update does in one storage."""
    rows = [row for row in source.estimates("benefit", source.primary) if row["storage"] == storage and row["n"]]
    if not rows:
        return ""
    low, high = (pick(rows, key=lambda row: row["mean"]) for pick in (min, max))
    span = (
        f"from {difference(low['mean']).text} ({low['format']}) to {difference(high['mean']).text} ({high['format']})"
    )
    where = f"{PLACES[storage][0].upper()}{PLACES[storage][1:]}"
    return f"{where}, benefits go {span} nats: {tally(source, rows)}."


def _stuck(rows: Sequence[Row]) -> str:
    """Return in which formats the answer is about whether runs learn at all."""
    names = [f"{int(row['stuck'])} of {4 * row['n']} in {row['format']}" for row in rows if row["stuck"] > 0]
    if not names:
        return ""
    return (
        f"Of the runs compared, {listed(names)} ended no better than a model that counts pairs of tokens. Differences"
        f" there are partly about whether runs learn at all; where hardly any does under nearest rounding, a difference"
        f" in differences is little more than masters' benefit with its sign changed."
    )


def _diverged(rows: Sequence[Row]) -> str:
    """Return in which formats runs that diverged enter the answer."""
    names = [f"{row['format']} ({row['diverged']})" for row in rows if row["diverged"]]
    if not names:
        return ""
    return f"Diverged runs are among those compared in {listed(names)}: their ln(vocabulary size) weighs heavily there."


def _lowest_losses(source: Source) -> str:
    """Return which format ends with the lowest loss, which is another question."""
    spots = source.tables["sweet_spots"]
    spots = spots[(spots["layer_type"] == ALL) & (spots["basis"] == LOSS)]
    parts = []
    for storage in OVERALL:
        rows = records(spots[spots["storage"] == storage].sort_values("rank", kind="stable"))
        if rows:
            tied = sum(row["verdict"] == TIED for row in rows)
            told = (
                f"{tied} of {len(rows) - 1} other combinations of format and update not told apart from it"
                if tied
                else "told apart from all others"
            )
            doubt = f"no verdict: {rows[0]['verdict']}" if rows[0]["verdict"] in NO_VERDICT else told
            best = rows[0]
            parts.append(
                f"{PLACES[storage]} it is {best['format']} with {best['update']}, {difference(best['mean']).text} nats"
                f" {interval(best['low'], best['high']).text} from {source.info.baseline_format} ({doubt})"
            )
    if not parts:
        return ""
    baseline = f"{source.info.baseline_format} was run with adamw alone, so that a loss below it is the update's too"
    return f"The lowest loss of all is another question: {'; '.join(parts)}. {baseline}."
