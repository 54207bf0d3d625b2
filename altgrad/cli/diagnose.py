"""`altgrad diagnose`: what weights make of their formats."""

from pathlib import Path
from typing import Annotated

import typer


def diagnose(
    out: Annotated[Path, typer.Option(help="The Parquet file to write; of several runs, the folder of RUN.parquet.")],
    run: Annotated[list[Path] | None, typer.Option(help="A run's folder, made by `altgrad train`; repeatable.")] = None,
    weights: Annotated[Path | None, typer.Option(help="In place of a run: any safetensors file, with --plan.")] = None,
    plan: Annotated[Path | None, typer.Option(help="With --weights: which weight is in which format (YAML).")] = None,
) -> None:
    """Measure the weights of one run or file: grid alignment, capacity, ulps, range and rank.

    Of a finished run it reads the final weights (config.json, summary.json, final.safetensors); of one that was
    interrupted, or still trains, the newest restart state. It writes one row for each quantized weight and metric.

    A plan maps globs on dotted module names to formats; the first match decides, and null leaves weights alone:

    \b
      "*.mlp.*": E3M4
      lm_head: null
      "*": E4M3
      per_row: false           # options of the scale; also power_of_two and scaling
    """  # noqa: D301 (click reads the backspace character: keep these lines)
    import sys

    from altgrad.errors import ConfigError

    if (not run) == (weights is None):
        raise ConfigError("diagnose", "it takes one of --run and --weights", "Give one of them")
    if (weights is None) != (plan is None):
        raise ConfigError("diagnose", "--plan goes with --weights", "Give both, or --run alone")
    from altgrad.training.diagnosis import diagnose_run, diagnose_weights

    if run:
        for folder in run:
            file = out if len(run) == 1 else out / f"{folder.name}.parquet"
            diagnose_run(folder, file, say=lambda message: print(message, file=sys.stderr))
    elif weights is not None and plan is not None:
        diagnose_weights(weights, plan, out)
