"""Every report by its file name. A new report is a file that builds its content, a template, and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from altgrad.errors import ReportError
from altgrad.reporting import failure_modes, index, manifold_vs_standard, sweet_spot, test_matrix
from altgrad.reporting.page import Source


@dataclass(frozen=True)
class ReportSpec:
    """A report: its file name, and what builds its content.

    Attributes:
        name: The file's name; its template is `templates/<name>.j2`.
        build: Builds its content.
    """

    name: str
    build: Callable[[Source], Any]


REPORTS: dict[str, ReportSpec] = {
    spec.name: spec
    for spec in (
        ReportSpec("sweet_spot.md", sweet_spot.build),
        ReportSpec("failure_modes.md", failure_modes.build),
        ReportSpec("manifold_vs_standard.md", manifold_vs_standard.build),
        ReportSpec("TEST_MATRIX.md", test_matrix.build),
        ReportSpec("index.html", index.build),
    )
}


def find_report(name: str) -> ReportSpec:
    """Return the report of a file name.

    Raises:
        ReportError: There is none of that name.
    """
    if name not in REPORTS:
        raise ReportError("report", f"{name!r} is not a report", f"Name the file one of {', '.join(REPORTS)}")
    return REPORTS[name]
