"""The documents name what exists."""

import re
from pathlib import Path

from altgrad.analysis.probe_tables import PROBE_METRICS
from altgrad.figures.catalog import FIGURES
from altgrad.reporting.catalog import REPORTS
from altgrad.reporting.requirements import REQUIREMENTS
from altgrad.schema import TABLES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROW = r"\| [A-Z]{3,}(-\d+)? \|"
"""A row of a table in metrics.md that is about a requirement."""


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_metrics_define_every_requirement_that_reports_trace_to() -> None:
    rows = set(re.findall(r"^\| ([A-Z]+(?:-\d+)?) \|", text("metrics.md"), re.MULTILINE))
    defined = set(re.findall(r"^- \*\*([A-Z]+(?:-\d+)?)[*,]", text("metrics.md"), re.MULTILINE))
    assert rows == defined == {requirement.id for requirement in REQUIREMENTS}


def test_files_that_are_named_exist() -> None:
    for name in ("metrics.md", "figures.md", "reports.md"):
        named = re.findall(r"`((?:altgrad|tests|workflow|docs)/[\w/.]+\.\w+)`", text(name))
        assert named and not [path for path in named if not (ROOT / path).is_file()]
        links = re.findall(r"\]\(([\w.]+)\)", text(name))
        assert not [link for link in links if not (DOCS / link).is_file()]


def test_metrics_name_tables_that_exist() -> None:
    tables = [row.split("|")[5] for row in text("metrics.md").splitlines() if re.match(ROW, row)]
    named = {word.split(".")[0] for cell in tables for word in re.findall(r"`([\w.]+)`", cell)}
    assert named - {"gradient_linf"} <= set(TABLES)


def test_metrics_name_every_probe() -> None:
    named = set(re.findall(r"`(\w+/\w+)`", text("metrics.md")))
    probes = {f"{scope}/{metric}" for scope, metrics in PROBE_METRICS.items() for metric in metrics}
    in_words = {name for name in probes if re.search(r"stiffness_log2_p[19]0$", name)}  # "and so on"
    assert probes - in_words <= named


def test_every_figure_and_report_is_described() -> None:
    assert re.findall(r"^\| `(\w+)` \|", text("figures.md"), re.MULTILINE) == list(FIGURES)
    described = re.findall(r"^\| `(\w+)` \|", text("reports.md"), re.MULTILINE)
    assert described == list(dict.fromkeys(spec.stem for spec in REPORTS.values()))
