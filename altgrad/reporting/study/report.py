"""The study's own report: the answer first, then everything that it rests on."""

from altgrad.analysis.tables import Row
from altgrad.reporting.document import Paragraph, Report, Section
from altgrad.reporting.evidence_links import estimated
from altgrad.reporting.manifold_vs_standard import probability
from altgrad.reporting.page import make_report
from altgrad.reporting.source import Source
from altgrad.reporting.stuck import STUCK
from altgrad.reporting.study import certainty, hypotheses, learned, mechanism, methods, threats
from altgrad.reporting.study.answer import OVERALL, QUESTION, answer
from altgrad.reporting.text import Cell, Grid, count, difference, grid, interval, p_value, word

HEADLINE = "did_forest"
"""The figure that shows the answer."""

LEARNED = ("stuck runs", "DiD, none stuck")


def build(source: Source) -> Report:
    """Return the content of the report."""
    sections = [
        _by_format(source),
        *certainty.sections(source),
        methods.section(source),
        hypotheses.section(source),
        learned.section(source),
        *mechanism.sections(source),
        threats.section(source),
    ]
    return make_report(source, QUESTION, answer(source), sections)


def _by_format(source: Source) -> Section:
    how = (
        "DiD is the benefit under nearest rounding less the benefit with FP32 masters, both in the last columns. A"
        f" number that is a link leads to the runs behind it. {STUCK} The last column leaves their seeds out: it is"
        " chosen by outcome, so that it shows what they weigh and is no estimate."
    )
    return Section("The answer by format", (Paragraph(how), answer_grid(source), source.figure(HEADLINE)))


def answer_grid(source: Source) -> Grid:
    """Return the primary comparison: one row a format."""
    benefits = tuple(f"benefit, {storage}" for storage in OVERALL)
    columns = ("format", "DiD", "verdict", "interval", "n", "p (Holm)", "best", *benefits, *LEARNED)
    rows = [
        (
            word(row["format"]),
            estimated(row),
            word(row["verdict"]),
            interval(row["low"], row["high"]),
            count(row["n"]),
            p_value(row["p_holm"]),
            probability(source, row),
            *(_benefit(source, row["format"], row["layers"], storage) for storage in OVERALL),
            count(row["stuck"]),
            _learned(row),
        )
        for row in (source.estimates("did", source.primary) if source.primary else [])
    ]
    return grid(columns, rows, "There is no difference in differences of the update that was fixed beforehand.")


def _learned(row: Row) -> Cell:
    """Return the mean over the seeds none of whose runs is stuck, and how many they are."""
    mean = difference(row["learned_mean"])
    return Cell(f"{mean.text} (n = {row['learned_n']})", mean.order) if row["learned_n"] else mean


def _benefit(source: Source, name: str, layers: str, storage: str) -> Cell:
    row = source.comparisons.get(("benefit", (name, source.primary, storage, layers)))
    return difference(float("nan")) if row is None else estimated(row)
