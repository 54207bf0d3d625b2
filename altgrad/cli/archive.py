"""`altgrad archive`: a study's finished runs in one small file, and back."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Pack a study's finished runs into one small file, and unpack them elsewhere.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def pack(
    results: Annotated[Path, typer.Option(help="A study's results folder, for example results/demo.")],
    out: Annotated[Path, typer.Option(help="The archive, for example reports/demo/archive.tar.xz.")],
    telemetry: Annotated[
        int, typer.Option(min=1, metavar="POINTS", help="Windows that a run's losses are thinned to.")
    ] = 10,
    counters: Annotated[
        int, typer.Option(min=1, metavar="WINDOWS", help="Windows that tensors' counts are merged into.")
    ] = 1,
) -> None:
    """Write all finished runs and trials to an archive: all but their weights, telemetry and timing in few rows.

    Totals of counts and sums stay exact. Runs that an archive of that name has and the folder has not stay in it.
    """
    from altgrad.training.archive import pack
    from altgrad.training.archive_runs import Thinning

    pack(results, out, Thinning(telemetry, counters), say=print)


@app.command()
def unpack(
    archive: Annotated[Path, typer.Argument(help="The archive.")],
    results: Annotated[Path, typer.Option(help="The study's results folder; what it has already is left alone.")],
) -> None:
    """Put an archive's runs and trials where they are found finished: the graph hands them out without training."""
    from altgrad.training.archive import unpack

    unpack(archive, results, say=print)
