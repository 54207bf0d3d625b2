"""The README's headline: the answer and the figure of a study's report, put there by command and never by hand."""

import os
import re
from pathlib import Path

from altgrad.errors import ReportError
from altgrad.reporting.caveats import caveats, demonstration, paired_seeds
from altgrad.reporting.source import Source
from altgrad.reporting.study.answer import answer
from altgrad.reporting.study.report import HEADLINE
from altgrad.reporting.text import escape_markdown

START = "<!-- headline: what stands between these two comments is written by `altgrad headline` -->"
END = "<!-- end of the headline -->"


def with_headline(source: Source, report: Path, readme: Path) -> str:
    """Return the README's text with the study's headline between its two marks.

    Args:
        source: The study; its figures are those of the report.
        report: The study's `study.md`, which the headline links to.
        readme: The README.

    Raises:
        ReportError: The report or its figure is missing, the report gives another answer than the tables, or the README
            has no place for a headline.
    """
    block = _block(source, report, readme)
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    found, count = re.subn(
        f"{re.escape(START)}\n.*?{re.escape(END)}\n", lambda _: f"{START}\n{block}{END}\n", text, flags=re.DOTALL
    )
    if count != 1:
        raise ReportError(
            str(readme), "it has no place for a headline", f"Put these two lines where it belongs: {START} and {END}"
        )
    return found


def _block(source: Source, report: Path, readme: Path) -> str:
    """Return the headline: the answer, what limits it, and the figure."""
    found, figure = answer(source), source.figure(HEADLINE)
    written = report.read_text(encoding="utf-8") if report.is_file() else ""
    if escape_markdown(found.lead) not in written or escape_markdown(found.rest) not in written:
        raise ReportError(str(report), "it does not give the answer of these tables", "Write it with altgrad report")
    limits = demonstration(source.info, paired_seeds(source.tables))
    parts = [
        f"**{escape_markdown(found.lead)}** {escape_markdown(found.rest)}".rstrip(),
        f"> {escape_markdown(limits)}" if limits else "",
        "\n".join(f"- {escape_markdown(text)}" for text in caveats(source)),
        f"![{escape_markdown(figure.title)}]({_link(figure.path, readme)})",
        f"*{escape_markdown(figure.title)}. From the study {escape_markdown(source.info.title)}: how sure this is, why,"
        f" and what it cannot say stands in [its report]({_link(report, readme)}).*",
    ]
    return "".join(f"{part}\n\n" for part in parts if part).removesuffix("\n")


def _link(path: Path, readme: Path) -> str:
    return Path(os.path.relpath(path, readme.parent)).as_posix()
