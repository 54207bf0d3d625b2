"""Histograms and spectral densities of each cell at its chosen learning rate: means over the seeds."""

import numpy as np
import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.tables import typed

_PLACE = [*CELL, "lr"]


def distribution_bands_table(chosen: pd.DataFrame, distributions: pd.DataFrame) -> pd.DataFrame:
    """Return, for each cell, the mean share of every bin; a seed without a row of a bin has nothing in it.

    Args:
        chosen: Rows of the runs table at their cell's chosen learning rate.
        distributions: The distributions table.
    """
    data = distributions.merge(chosen[["run_id", *_PLACE]], on="run_id")
    keys = [*_PLACE, "layer_type", "metric", "step"]
    seeds = data.groupby(keys, sort=False)["run_id"].nunique().rename("n").reset_index()
    summed = data.groupby([*keys, "bin"], sort=True)["share"].sum().reset_index().merge(seeds, on=keys)
    return typed("distribution_bands", summed.assign(share=summed["share"] / summed["n"]))


def hessian_bands_table(chosen: pd.DataFrame, hessian: pd.DataFrame) -> pd.DataFrame:
    """Return, for each cell, the mean of its seeds' spectral densities.

    Every seed has a grid of eigenvalues of its own. Between its points a density is read as a straight line, beyond
    them as 0, so that the mean over the points of all seeds is exact.

    Args:
        chosen: Rows of the runs table at their cell's chosen learning rate.
        hessian: The hessian table.
    """
    data = hessian.merge(chosen[["run_id", *_PLACE]], on="run_id")
    parts = []
    for key, group in data.groupby([*_PLACE, "step"], sort=False):
        grid = np.unique(group["eigenvalue"].to_numpy(float))
        seeds = [seed.sort_values("eigenvalue") for _, seed in group.groupby("run_id", sort=False)]
        densities = [np.interp(grid, s["eigenvalue"], s["density"], left=0.0, right=0.0) for s in seeds]
        place = dict(zip([*_PLACE, "step"], key, strict=True))
        mean = np.mean(densities, axis=0)
        parts.append(pd.DataFrame({**place, "eigenvalue": grid, "n": len(seeds), "density": mean}))
    return typed("hessian_bands", pd.concat(parts, ignore_index=True) if parts else pd.DataFrame())
