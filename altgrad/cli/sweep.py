"""`altgrad sweep`: every seed of an arm, one after another in one process."""

from pathlib import Path
from typing import Annotated

import typer


def sweep(
    config: Annotated[str, typer.Option(help="The arm's config as JSON: a file, or - for standard input.")],
    corpus: Annotated[Path, typer.Option(help="A corpus folder made by `altgrad prepare`.")],
    out: Annotated[Path, typer.Option(help="The folder of the runs' folders, for example results/runs.")],
    tuning: Annotated[Path | None, typer.Option(help="What `altgrad tune` wrote, where the arm leaves out lr.")] = None,
) -> None:
    """Train the runs of an arm, which differ by their seed alone, each as `altgrad train` does.

    They share a process, and with it imports and compilation. Interrupted and started again, it goes on; finished runs
    are not trained again.

    `altgrad config arm STUDY.yaml ARM` prints an arm's config.
    """
    import sys

    from altgrad.errors import ConfigError
    from altgrad.study.loading import load_config
    from altgrad.study.runs import ArmConfig
    from altgrad.study.tuned import read_choice
    from altgrad.training.sweep import train_arm

    arm = load_config(ArmConfig, config)
    if (arm.lr is None) != (tuning is not None):
        raise ConfigError("--tuning", "it goes with an arm that leaves out lr", "Give it exactly then")
    lr = arm.lr if tuning is None else float(read_choice(tuning, arm)["lr"])
    assert lr is not None, "checked above"
    raise typer.Exit(train_arm(arm, lr, corpus, out, say=lambda message: print(message, file=sys.stderr)))
