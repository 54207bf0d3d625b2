"""From a report's content to its file. Templates lay out; they compute nothing."""

import os
from functools import cache
from pathlib import Path

import jinja2

from altgrad.analysis.tables import Tables
from altgrad.reporting.catalog import find_report
from altgrad.reporting.page import Source
from altgrad.reporting.text import escape_markdown


def write_report(out: Path, tables: Tables, figures: Path) -> None:
    """Write one report, whole or not at all.

    Args:
        out: Its file; the name says which report it is.
        tables: The study's tables and statistics.
        figures: The folder of its figures.

    Raises:
        ReportError: There is no report of that name, or a figure is missing.
        TableError: A table is missing or damaged.
    """
    text = render(Source(tables, figures, out))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, out)


def render(source: Source) -> str:
    """Return the text of the report that `source.out` names."""
    spec = find_report(source.out.name)
    content = spec.build(source)
    template = _environment(html=source.out.suffix == ".html").get_template(f"{spec.name}.j2")
    return template.render(page=content.page, report=content)


@cache
def _environment(html: bool) -> jinja2.Environment:
    """Return the environment of a kind of report. An undefined name is an error, and HTML escapes everything."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("altgrad.reporting"),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = escape_markdown
    return environment
