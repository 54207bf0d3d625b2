"""The study's front page: its answer, the question and answer of every report, and figures that no report shows."""

from collections.abc import Sequence

from altgrad.figures.catalog import FIGURES
from altgrad.reporting.document import Figure, Report, Section
from altgrad.reporting.page import ReportSpec, make_report
from altgrad.reporting.source import Source
from altgrad.reporting.text import grid, linked, word


def build(source: Source, others: Sequence[ReportSpec]) -> Report:
    """Return the content of the report.

    Args:
        source: What it is made from.
        others: Every other report, the one with the study's answer first.
    """
    built = {spec: spec.build(source) for spec in others}
    first = built[others[0]]
    rows = [(linked(word(spec.question), spec.stem), word(report.answer.lead)) for spec, report in built.items()]
    blocks = [block for report in built.values() for section in report.sections for block in section.blocks]
    shown = {block.name for block in blocks if isinstance(block, Figure)}
    headline = next(block for block in blocks if isinstance(block, Figure))
    more = tuple(source.figure(name) for name in FIGURES if name not in shown)
    sections = [Section("Reports", (grid(("question", "answer"), rows, ""), headline))]
    sections += [Section("More figures", more)] if more else []
    return make_report(source, "Reports of the study", first.answer, sections)
