"""Why: what each cell's runs did, beside what it scored, and which of it goes with the score across cells."""

import pandas as pd

from altgrad.analysis.cells import CELL
from altgrad.analysis.comparisons import Comparison
from altgrad.analysis.layers import ALL
from altgrad.analysis.mediation import partial_rank_correlation, rank_correlation
from altgrad.analysis.tables import Row, frame, typed

_FROM_RATES = ("edq", "stall_ratio", "flip_rate", "sign_kept", "code_entropy_bits")

TESTS: tuple[tuple[str, str, str, str], ...] = (
    ("Does descent quality predict the loss?", "edq", "gap", ""),
    ("Does the stall ratio predict the loss?", "stall_ratio", "gap", ""),
    ("Does descent quality predict the loss beyond the stall ratio?", "edq", "gap", "stall_ratio"),
    ("Does the stall ratio predict the loss beyond descent quality?", "stall_ratio", "gap", "edq"),
    ("Does the spread of grid spacings predict the benefit?", "ulp_spread", "benefit", ""),
    ("Do kept signs predict the loss?", "sign_kept", "gap", ""),
)
"""Question, x, y, and what is held fixed."""


def mechanism_table(
    cells: pd.DataFrame,
    compared: list[Comparison],
    layer_rates: pd.DataFrame,
    chosen_runs: pd.DataFrame,
    baseline: str,
) -> pd.DataFrame:
    """Return one row for each cell at its chosen learning rate, with every layer in the format.

    Args:
        cells: The cells table.
        compared: Every comparison.
        layer_rates: The layer_rates table.
        chosen_runs: Rows of the runs table at their cell's chosen learning rate.
        baseline: The baseline's format, which takes no part.
    """
    chosen = cells[cells["chosen"] & (cells["layers"] == ALL) & (cells["format"] != baseline)]
    data = chosen.rename(columns={"mean": "score"})[[*CELL, "lr", "n", "score"]]
    for name in ("gap", "benefit"):
        means = [
            {**dict(zip(CELL, c.cell, strict=True)), name: sum(c.differences.values()) / len(c.differences)}
            for c in compared
            if c.estimand == name and c.differences
        ]
        data = data.merge(pd.DataFrame(means, columns=[*CELL, name]), on=CELL, how="left")
    whole = layer_rates[layer_rates["layer_type"] == ALL]
    wide = whole.pivot(index=CELL, columns="metric", values="mean").reset_index()
    spread = [f"stiffness_log2_p{percent}" for percent in (90, 10)]
    wide = wide.reindex(columns=[*CELL, *_FROM_RATES, *spread])
    wide["ulp_spread"] = wide[spread[0]] - wide[spread[1]]
    data = data.merge(wide, on=CELL, how="left")
    ulps = chosen_runs.groupby(CELL)["update_ulps"].mean().reset_index()
    return typed("mechanism", data.merge(ulps, on=CELL, how="left"))


def mechanism_tests_table(mechanism: pd.DataFrame) -> pd.DataFrame:
    """Return the rank correlations of `TESTS`, over all cells on the grid and over those of nearest storage.

    Cells that are the same runs, as those of all metrics on a uniform grid, count once.

    Args:
        mechanism: The mechanism table.
    """
    distinct = mechanism.drop_duplicates(["format", "storage", "score", "edq", "stall_ratio", "update_ulps"])
    on_grid = distinct[distinct["storage"] != "master"]
    nearest = distinct[distinct["storage"] == "nearest"]
    rows: list[Row] = []
    for storage, data in (("on the grid", on_grid), ("nearest", nearest)):
        for question, x, y, given in TESTS:
            sound = data.dropna(subset=[x, y, *([given] if given else [])])
            one, other = sound[x].to_numpy(float), sound[y].to_numpy(float)
            if given:
                found = partial_rank_correlation(one, other, sound[given].to_numpy(float))
            else:
                found = rank_correlation(one, other)
            place = {"test": question, "storage": storage, "x": x, "y": y, "given": given}
            rows.append({**place, "n": found.n, "rho": found.rho, "p": found.p})
    return frame("mechanism_tests", rows)
