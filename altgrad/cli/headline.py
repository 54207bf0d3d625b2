"""`altgrad headline`: a study's answer to the README."""

from pathlib import Path
from typing import Annotated

import typer


def headline(
    tables: Annotated[Path, typer.Option(help="Folder that `altgrad tabulate` wrote.")],
    statistics: Annotated[Path, typer.Option(help="Folder that `altgrad analyse` wrote.")],
    report: Annotated[Path, typer.Option(help="The study.md that was written from them, its figures beside it.")],
    readme: Annotated[Path, typer.Option(help="The README, with the two marks of a headline in it.")],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with status 1 where the README is not up to date.")
    ] = False,
) -> None:
    """Write a study's answer and its headline figure into the README, between its two marks."""
    import sys

    from altgrad.analysis.tables import Tables
    from altgrad.reporting.headline import with_headline
    from altgrad.reporting.source import Source

    text = with_headline(Source(Tables.open(tables, statistics), report.parent / "figures"), report, readme)
    if text == readme.read_text(encoding="utf-8"):
        return
    if check:
        print(f"altgrad: {readme} is not up to date with {report}. Write it with altgrad headline.", file=sys.stderr)
        raise typer.Exit(1)
    readme.write_text(text, encoding="utf-8")
