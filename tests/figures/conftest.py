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
from altgrad.study.runs import ArmConfig, RunConfig
from tests.analysis.conftest import Pipeline
from tests.analysis.fabricate import Rates, make_study
from tests.analysis.tuned import tuned_study, tuned_tables

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


def best_rung(arm: ArmConfig) -> int:
    """Return a cell's best rung: nearest wants four times the rate of masters."""
    return {"nearest": 4, "master": 0}[arm.storage]


def trial_loss(arm: ArmConfig, lr: float, seed: int) -> float | None:
    """Return a loss that is best at a cell's best rung; under nearest the highest rung diverges for seed 102."""
    rung = round(2 * math.log2(lr / 0.01))
    if arm.storage == "nearest" and rung == 7 and seed == 102:
        return None
    base = {"BF16": 2.0, "E4M3": 2.1, "E7M0": 2.5}[arm.format] - 0.02 * (arm.update == "manifold")
    return base + 0.002 * (seed - 100) + 0.03 * (rung - best_rung(arm)) ** 2


def final_loss(run: RunConfig) -> float:
    """Return an evaluated loss, above that of tuning and apart for every cell and seed."""
    cost = {"BF16": 0.03, "E4M3": 0.13, "E7M0": 0.53}[run.format] + 0.01 * (run.storage == "nearest")
    return 2.0 + cost - 0.02 * (run.update == "manifold") * (1 + 0.1 * run.seed) + 0.004 * run.seed**2


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
    """Return what gives a study's tables and statistics by name; `empty` has no run at all, `tuned` tunes its rates."""

    def get(name: str) -> Tables:
        if name not in MADE:
            folder: Path = tmp_path_factory.mktemp("results")
            if name == "empty":
                MADE[name] = Pipeline(folder)(make_study(), lambda run: math.nan)
            elif name == "tuned":
                MADE[name] = tuned_tables(tuned_study(make_study), folder, best_rung, trial_loss, final_loss)
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


@pytest.fixture(scope="session")
def several(studies: Studies) -> Tables:
    """The sweep with a second geometry-aware update, `another`, beside the primary one, and sign-flip intervals."""
    tables = studies("sweep")

    def doubled(name: str) -> pd.DataFrame:
        data = tables[name]
        own = data[data["update"] == "manifold"]
        return pd.concat([own.assign(update="another"), data], ignore_index=True)

    compared = doubled("comparisons")
    compared = compared.assign(flip_low=compared["low"] - 0.01, flip_high=compared["high"] + 0.01)
    differences = doubled("differences")
    moved = {
        "mean": compared["mean"] - 0.05 * (compared["update"] == "another"),
        "flip_high": compared["flip_high"].where(compared["format"] != "E7M0", math.inf),
    }
    return replaced(
        tables,
        updates=doubled("updates").assign(primary=lambda data: data["update"] == "manifold"),
        comparisons=compared.assign(**moved),
        differences=differences.assign(value=np.linspace(-0.1, 0.1, len(differences))),
        mechanism=doubled("mechanism"),
    )
