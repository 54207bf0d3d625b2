"""`altgrad diagnose`: what a run's final weights make of their formats."""

from pathlib import Path
from typing import Annotated

import typer


def diagnose(
    run: Annotated[Path, typer.Option(help="A finished run's folder, made by `altgrad train`.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
) -> None:
    """Measure the final weights of one run: grid alignment, capacity, ulps, range and stable rank.

    Reads config.json, summary.json and final.safetensors from RUN; writes one row for each quantized weight and metric.
    """
    from altgrad.training.diagnosis import diagnose_run

    diagnose_run(run, out)
