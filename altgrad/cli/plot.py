"""`altgrad plot`: tables and statistics to figures."""

from pathlib import Path
from typing import Annotated

import typer


def plot(
    tables: Annotated[Path, typer.Option(help="Folder that `altgrad tabulate` wrote.")],
    statistics: Annotated[Path, typer.Option(help="Folder that `altgrad analyse` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures, for example reports/figures.")],
    figure: Annotated[list[str] | None, typer.Option(help="Only this figure; may be given again.")] = None,
) -> None:
    """Draw the figures of a study, each as SVG and PNG."""
    from altgrad.analysis.tables import Tables
    from altgrad.figures.catalog import FIGURES, find_figure
    from altgrad.figures.style import save

    data = Tables.open(tables, statistics)
    for chosen in [find_figure(name) for name in figure] if figure else FIGURES.values():
        save(chosen, data, out)
