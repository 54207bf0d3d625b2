"""`altgrad train`: one run, trained, resumed or handed out."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[str, typer.Option(help="The run's config as JSON: a file, or - for standard input.")],
    corpus: Annotated[Path, typer.Option(help="A corpus folder made by `altgrad prepare`.")],
    out: Annotated[Path, typer.Option(help="The run's folder, for example results/runs/RUN_ID.")],
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Keep the state of another config in OUT and train beside it.")
    ] = False,
) -> None:
    """Train one run to its end, from wherever an earlier process left it.

    Writes config.json, telemetry.parquet, timing.parquet, final.safetensors and summary.json to OUT. Killed at any
    step and started again with the same options, it goes on and ends with the same bytes. A finished run is a no-op.
    A run that diverges is a result: its summary says so, and the exit status is 0.

    `altgrad config run STUDY.yaml RUN_ID` prints a run's config.
    """
    import sys

    from altgrad.study.loading import load_config
    from altgrad.study.runs import RunConfig
    from altgrad.training.run import train_run

    run = load_config(RunConfig, config)
    status = train_run(run, corpus, out, set_aside, say=lambda message: print(message, file=sys.stderr))
    raise typer.Exit(status)
