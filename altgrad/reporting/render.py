"""From a report's content to its files. Templates lay out; they compute nothing."""

import base64
import os
from functools import cache, partial
from pathlib import Path

import jinja2

from altgrad.analysis.tables import Tables
from altgrad.reporting.catalog import REPORTS, SUFFIXES, find_report
from altgrad.reporting.document import Figure, Report
from altgrad.reporting.source import Source
from altgrad.reporting.text import escape_markdown


def write_reports(out: Path, tables: Tables, figures: Path) -> None:
    """Write one report or all of them, each whole or not at all.

    Args:
        out: The file of one, whose name says which it is; or a folder, for all of them.
        tables: The study's tables and statistics.
        figures: The folder of its figures.

    Raises:
        ReportError: There is no report of that name, or a figure is missing.
        TableError: A table is missing or damaged.
    """
    source = Source(tables, figures)
    if out.suffix in SUFFIXES:
        _write(out, render(find_report(out.name).build(source), out))
        return
    built = {spec.stem: spec.build(source) for spec in dict.fromkeys(REPORTS.values())}
    for name, spec in REPORTS.items():
        _write(out / name, render(built[spec.stem], out / name))


def render(report: Report, out: Path) -> str:
    """Return the text of a report.

    Args:
        report: Its content.
        out: Its file: the suffix says what it is written as, and links are relative to it.
    """
    reports = {spec.stem: spec.title for spec in REPORTS.values()}
    template = _environment(out.suffix).get_template(f"report{out.suffix}.j2")
    return template.render(
        report=report, reports=reports, current=out.stem, href=partial(_href, out), source=partial(_source, out)
    )


def _write(out: Path, text: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, out)


def _source(out: Path, figure: Figure) -> str:
    """Return where a figure is: beside a Markdown file, and in an HTML page itself, which stands alone."""
    if out.suffix == ".md":
        return Path(os.path.relpath(figure.path, out.parent)).as_posix()
    return f"data:image/svg+xml;base64,{base64.b64encode(figure.path.read_bytes()).decode()}"


def _href(out: Path, target: str) -> str:
    """Return the address of what a cell leads to: another report of the same kind, or a place in this one."""
    stem, mark, anchor = target.partition("#")
    return f"{'' if stem == out.stem and mark else stem + out.suffix}{mark}{anchor}"


@cache
def _environment(suffix: str) -> jinja2.Environment:
    """Return the environment of a kind of report. An undefined name is an error, and HTML escapes everything."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("altgrad.reporting"),
        autoescape=suffix == ".html",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = escape_markdown
    return environment
