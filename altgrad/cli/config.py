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
    from altgrad.study.grid import planned_runs
    from altgrad.study.loading import load_study
    from altgrad.study.tuned import tuned_arms

    study = load_study(files)
    runs, cells = planned_runs(study), len(tuned_arms(study))
    print(f"{study.study}: {study.title}. {runs} runs, {runs * study.training.steps} training steps in all.")
    if study.tuning is not None and cells:
        least, most = (n * len(study.tuning.seeds) for n in (study.tuning.start, study.tuning.max_lrs))
        print(f"Before them, {cells} cells are tuned, with {least} to {most} trials each.")


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


Tuning = Annotated[Path | None, typer.Option(help="Folder of what `altgrad tune` wrote, for example results/tuning.")]


@app.command()
def runs(files: Files, tuning: Tuning = None) -> None:
    """List the ids of a study's runs, one a line; those to be tuned only where --tuning has their learning rate."""
    from altgrad.study.grid import study_runs
    from altgrad.study.loading import load_study
    from altgrad.study.tuned import learning_rates, read_choices

    study = load_study(files)
    for run in study_runs(study, learning_rates(read_choices(study, tuning))):
        print(run.run_id)


@app.command()
def run(
    files: Files,
    run_id: Annotated[str, typer.Argument(help="One of the ids that `altgrad config runs` lists.")],
    tuning: Tuning = None,
) -> None:
    """Print one run's config as JSON, as `altgrad train --config` takes it."""
    from altgrad.study.grid import canonical_json, study_runs
    from altgrad.study.loading import find, load_study
    from altgrad.study.tuned import learning_rates, read_choices

    study = load_study(files)
    known = {run.run_id: run for run in study_runs(study, learning_rates(read_choices(study, tuning)))}
    print(canonical_json(find(known, run_id, "run", study.study)))


@app.command()
def arms(files: Files) -> None:
    """List a study's arms, one a line: cells with their learning rate, or cells to be tuned."""
    from altgrad.study.grid import study_arms
    from altgrad.study.loading import load_study

    for arm in study_arms(load_study(files)):
        print(arm.arm)


@app.command()
def arm(
    files: Files,
    name: Annotated[str, typer.Argument(help="One of the names that `altgrad config arms` lists.")],
    tuning: Annotated[bool, typer.Option("--tuning", help="As `altgrad tune --config` takes it.")] = False,
) -> None:
    """Print one arm's config as JSON, as `altgrad sweep --config` takes it."""
    from altgrad.study.grid import canonical_json, study_arms
    from altgrad.study.loading import find, load_study
    from altgrad.study.runs import TuneConfig

    study = load_study(files)
    found = find({arm.arm: arm for arm in study_arms(study)}, name, "arm", study.study)
    print(canonical_json(TuneConfig.model_validate({"arm": found, "tuning": study.tuning}) if tuning else found))
