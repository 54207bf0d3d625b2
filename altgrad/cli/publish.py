"""`altgrad publish`: a study's small tables, as CSV beside its reports."""

from pathlib import Path
from typing import Annotated

import typer


def publish(
    tables: Annotated[Path, typer.Option(help="Folder that `altgrad tabulate` wrote.")],
    statistics: Annotated[Path, typer.Option(help="Folder that `altgrad analyse` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the CSV files, for example reports/tables.")],
) -> None:
    """Write the tables that a study's reports rest on as CSV files, and their provenance as JSON."""
    from altgrad.analysis.publish import publish as write
    from altgrad.analysis.tables import Tables

    write(Tables.open(tables, statistics), out)
