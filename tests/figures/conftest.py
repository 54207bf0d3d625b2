import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from altgrad.analysis.tables import Tables
from altgrad.schema import ANALYSIS_TABLES, STATISTICS
from altgrad.study.config import StudyConfig
from altgrad.study.runs import RunConfig
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import Rates, make_study

Studies = Callable[[str], Tables]


def loss(run: RunConfig) -> float | None:
    """Return a loss with an optimum at 0.02; E7M0 diverges under nearest at 0.04, and is worse than E4M3."""
    if run.format == "E7M0" and run.storage == "nearest" and run.lr == 0.04 and run.seed == 2:
        return None
    cost = {"BF16": 0.0, "FP16": 0.01, "E4M3": 0.05, "E7M0": 0.25}[run.format]
    help_ = 0.04 * (run.update == "manifold" and run.storage == "nearest") * (1 + 0.1 * run.seed)
    return 2.0 + cost - help_ + 0.01 * run.seed + 0.1 * abs(math.log2(run.lr / 0.02))


def rates(run: RunConfig, tensor: str) -> Rates:
    """Return rates by which `lm_head` stalls, and under nearest everything does a little more."""
    still = 500 if tensor == "lm_head.weight" else 200
    return Rates(flips=900 - still - 100 * (run.storage == "nearest"), updates=900)


GRID: dict[str, Any] = {"storages": ["master"], "layers": ["all"], "seeds": [1, 2, 3]}

STUDIES: dict[str, StudyConfig] = {
    "reference": make_study(
        grids=[
            {**GRID, "formats": ["FP16"], "updates": ["adamw"], "lrs": [0.02, 0.04]},
            {**GRID, "formats": ["E4M3"], "updates": ["adamw", "manifold"], "lrs": [0.02, 0.04]},
        ]
    ),
    "sweep": make_study(lrs=[0.01, 0.02, 0.04]),
    "layers": make_study(layers=["all", "mlp", "lm_head"], storages=["nearest"], lrs=[0.02]),
    "one seed": make_study(seeds=[1], formats=["E4M3"], lrs=[0.02]),
}

MADE: dict[str, Tables] = {}
"""Studies made so far in this process: the tests of figures and of reports share them."""


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    """Return what gives a study's tables and statistics by name; `empty` has no run at all."""

    def get(name: str) -> Tables:
        if name not in MADE:
            folder: Path = tmp_path_factory.mktemp("results")
            if name == "empty":
                MADE[name] = Pipeline(folder)(make_study(), lambda run: math.nan)
            elif name == "all diverged":
                MADE[name] = Pipeline(folder)(make_study(), lambda run: None)
            else:
                MADE[name] = Pipeline(folder)(STUDIES[name], loss, rates)
        return MADE[name]

    return get


def replaced(tables: Tables, **frames: pd.DataFrame) -> Tables:
    """Return the tables with some of them replaced."""
    return Tables.of({**{name: tables[name] for name in (*ANALYSIS_TABLES, *STATISTICS)}, **frames})


@pytest.fixture(scope="session")
def distinct(studies: Studies) -> Tables:
    """The sweep with a value of its own in every row of the bands, so that no line can stand for another.

    Seeds are told apart from their mean, and histograms and densities of cells, layer types and steps from each other.
    """
    tables = studies("sweep")

    def numbered(name: str, column: str, low: float, high: float) -> pd.DataFrame:
        return tables[name].assign(**{column: np.linspace(low, high, len(tables[name]))})

    bands = numbered("bands", "mean", 0.2, 0.8)
    return replaced(
        tables,
        bands=bands.assign(low=bands["mean"] - 0.125, high=bands["mean"] + 0.125),
        distribution_bands=numbered("distribution_bands", "share", 0.125, 0.875),
        hessian_bands=numbered("hessian_bands", "density", 0.5, 2.0),
    )
