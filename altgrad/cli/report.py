"""`altgrad report`: tables, statistics and figures to a finished document."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    tables: Annotated[Path, typer.Option(help="Folder that `altgrad tabulate` wrote.")],
    statistics: Annotated[Path, typer.Option(help="Folder that `altgrad analyse` wrote.")],
    figures: Annotated[Path, typer.Option(help="Folder that `altgrad plot` wrote.")],
    out: Annotated[
        Path, typer.Option(help="The document, whose file name says which, for example study.md; or a folder, for all.")
    ],
) -> None:
    """Write one report of a study, or all of them; links to figures are relative to it."""
    from altgrad.analysis.tables import Tables
    from altgrad.reporting.render import write_reports

    write_reports(out, Tables.open(tables, statistics), figures)
