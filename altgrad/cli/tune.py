"""`altgrad tune`: a cell's learning rate, found and frozen."""

from pathlib import Path
from typing import Annotated

import typer


def tune(
    config: Annotated[str, typer.Option(help="The cell and the rule as JSON: a file, or - for standard input.")],
    corpus: Annotated[Path, typer.Option(help="A corpus folder made by `altgrad prepare`.")],
    trials: Annotated[Path, typer.Option(help="The folder of the trials' folders, for example results/trials.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write: the frozen choice and every trial.")],
) -> None:
    """Find a cell's learning rate: train its trials in half octaves, further while the best stands at an edge.

    Every cell has the same start, the same rule and the same cap. Interrupted and started again, it goes on; finished
    trials are not trained again. A trial that diverges is a result.

    `altgrad config arm STUDY.yaml ARM --tuning` prints a cell's config.
    """
    import sys

    from altgrad.study.loading import load_config
    from altgrad.study.runs import TuneConfig
    from altgrad.training.tune import tune_cell

    given = load_config(TuneConfig, config)
    raise typer.Exit(tune_cell(given, corpus, trials, out, say=lambda message: print(message, file=sys.stderr)))
