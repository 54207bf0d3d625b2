"""Every report by its file name. A new report is a file that builds its content, and a line here."""

from altgrad.errors import ReportError
from altgrad.reporting import evidence_report, failure_modes, index, manifold_vs_standard, sweet_spot, test_matrix
from altgrad.reporting.page import ReportSpec
from altgrad.reporting.study import report as study
from altgrad.reporting.study.answer import QUESTION

SUFFIXES = (".md", ".html")
"""What every report is written as: for the repository's own view, and as a page that stands alone."""

_REPORTS = (
    ReportSpec("study", "The answer", QUESTION, study.build),
    ReportSpec(
        "manifold_vs_standard",
        "Benefits",
        "What do geometry-aware updates gain, for each format and storage?",
        manifold_vs_standard.build,
    ),
    ReportSpec("sweet_spot", "Layer types", "Which format suits which layer type?", sweet_spot.build),
    ReportSpec("failure_modes", "Failures", "Where does each format fail first?", failure_modes.build),
    ReportSpec("evidence", "Evidence", "Which runs stand behind a number?", evidence_report.build),
    ReportSpec("TEST_MATRIX", "Test matrix", "Which combinations were run, and how did they end?", test_matrix.build),
)
_INDEX = ReportSpec("index", "Overview", "What is there to read?", lambda source: index.build(source, _REPORTS))

REPORTS: dict[str, ReportSpec] = {f"{spec.stem}{suffix}": spec for spec in (_INDEX, *_REPORTS) for suffix in SUFFIXES}


def find_report(name: str) -> ReportSpec:
    """Return the report of a file name.

    Raises:
        ReportError: There is none of that name.
    """
    if name not in REPORTS:
        raise ReportError("report", f"{name!r} is not a report", f"Name the file one of {', '.join(REPORTS)}")
    return REPORTS[name]
