"""`altgrad analyse`: tables to statistics."""

from pathlib import Path
from typing import Annotated

import typer


def analyse(
    tables: Annotated[Path, typer.Option(help="Folder that `altgrad tabulate` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the statistics, for example results/statistics.")],
) -> None:
    """Write the statistics of a study: cells, comparisons paired by seed, failures, formats by layer type."""
    from altgrad.analysis.analyse import analyse_study
    from altgrad.analysis.tables import Tables
    from altgrad.analysis.tabulate import write_tables

    write_tables(out, analyse_study(Tables.open(tables)))
