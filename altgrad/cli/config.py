"""`altgrad config`: read a study's config, and say what follows from it."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Check a study's config, and list its runs.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

Files = Annotated[list[str], typer.Argument(help="config.yaml, then overlays, as in Snakemake's --configfile.")]


@app.command()
def check(files: Files) -> None:
    """Read a study through all its checks; print its name, its number of runs and their training steps."""
    from altgrad.study.grid import study_runs
    from altgrad.study.loading import load_study

    study = load_study(files)
    runs = study_runs(study)
    steps = sum(run.training.steps for run in runs)
    print(f"{study.study}: {study.title}. {len(runs)} runs, {steps} training steps in all.")


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="Write it to this file instead of standard output.")] = None,
) -> None:
    """Print the JSON schema of a study's config, for editors that complete and check keys."""
    from altgrad.study.loading import schema_text

    if out is None:
        print(schema_text(), end="")
    else:
        out.write_text(schema_text(), encoding="utf-8")


@app.command()
def runs(files: Files) -> None:
    """List the ids of a study's runs, one a line."""
    from altgrad.study.grid import study_runs
    from altgrad.study.loading import load_study

    for run in study_runs(load_study(files)):
        print(run.run_id)


@app.command()
def run(
    files: Files,
    run_id: Annotated[str, typer.Argument(help="One of the ids that `altgrad config runs` lists.")],
) -> None:
    """Print one run's config as JSON, as `altgrad train --config` takes it."""
    from altgrad.study.grid import canonical_json
    from altgrad.study.loading import find_run, load_study

    print(canonical_json(find_run(load_study(files), run_id)))
