"""What each learning rate came to in tuning: means over the tuning seeds, for the figures that draw them."""

import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.study.grid import BASELINE_UPDATE


def whole_trials(tables: Tables) -> pd.DataFrame:
    """Return the trials of cells with every layer in the format."""
    trials = tables["trials"]
    return trials[trials["layers"] == ALL]


def lr_units(trials: pd.DataFrame) -> dict[str, float]:
    """Return how many times as large an update's learning rates are as adamw's at the same place on the ladder.

    An update whose rates have another unit climbs the same ladder, scaled. Updates that share no rung with adamw are
    left out.

    Args:
        trials: The trials table.
    """
    ladder = trials.groupby(["update", "rung"])["lr"].first().unstack("rung")
    if BASELINE_UPDATE not in ladder.index:
        return {}
    ratios = (ladder / ladder.loc[BASELINE_UPDATE]).median(axis=1).dropna()
    # Rates have four digits, so that their ratios are good to three.
    return {str(update): float(f"{ratio:.3g}") for update, ratio in ratios.items()}


def trial_means(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each cell and learning rate, by rising rate.

    Args:
        trials: Rows of the trials table.

    Returns:
        The cell, lr, n, the mean score as `mean`, how many diverged, whether the rate was chosen, and mean update_ulps.
    """
    groups = trials.groupby([*CELL, "lr"], sort=True)
    return groups.agg(
        n=("seed", "size"),
        mean=("score", "mean"),
        diverged=("diverged", "sum"),
        chosen=("chosen", "any"),
        update_ulps=("update_ulps", "mean"),
    ).reset_index()
