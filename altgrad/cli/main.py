"""The `altgrad` command: its verbs, and how it ends.

A user's error is one line on standard error and exit status 2; anything else that goes wrong keeps its traceback.
Verb modules import what is heavy inside the verb, so that `altgrad --help` is quick.
"""

import sys
from typing import Annotated

import typer

from altgrad.cli import (
    analyse,
    archive,
    budget,
    config,
    diagnose,
    formats,
    headline,
    plot,
    prepare,
    publish,
    report,
    sweep,
    tabulate,
    train,
    tune,
    watch,
)
from altgrad.errors import AltGradError
from altgrad.version import __version__

USER_ERROR = 2
"""The exit status of an error that the user can mend."""

app = typer.Typer(
    name="altgrad",
    help="A test bench and pipeline for geometry-aware training in 8-bit floating-point formats.",
    epilog="The graph of a study calls these verbs in the order prepare, tune, sweep, diagnose, tabulate, analyse, "
    "plot, report: see the Snakefile.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("formats")(formats.formats)
app.command("budget")(budget.budget)
app.command("prepare")(prepare.prepare)
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("sweep")(sweep.sweep)
app.command("diagnose")(diagnose.diagnose)
app.command("tabulate")(tabulate.tabulate)
app.command("analyse")(analyse.analyse)
app.command("plot")(plot.plot)
app.command("report")(report.report)
app.command("publish")(publish.publish)
app.command("headline")(headline.headline)
app.command("watch")(watch.watch)
app.add_typer(config.app, name="config")
app.add_typer(archive.app, name="archive")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"altgrad {__version__}")
        raise typer.Exit


@app.callback()
def _altgrad(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the verb."""


def main() -> None:
    """Run the command line and exit."""
    try:
        app()
    except AltGradError as error:
        print(f"altgrad: error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)


if __name__ == "__main__":
    main()
