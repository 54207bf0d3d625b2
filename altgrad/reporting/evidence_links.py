"""From an estimate to the runs behind it: what the sections of `evidence.md` are called."""

from collections.abc import Iterable

from altgrad.analysis.cells import Key, cell_key
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Row
from altgrad.reporting.document import anchor
from altgrad.reporting.text import Cell, difference, linked, word

STEM = "evidence"
"""The report's file name without its suffix."""

WHAT_CELLS_DID = "What cells did"
"""The section with the table that correlations are taken over."""


def cell_title(key: Key) -> str:
    """Return the heading of a cell's runs: what their ids begin with."""
    return "-".join(key)


def cell_name(key: Key) -> str:
    """Return what a cell is called in a sentence, with its layers where they are not all."""
    return "-".join(key[:3] if key[3] == ALL else key)


def estimate_title(estimand: str, key: Key) -> str:
    """Return the heading of a benefit or a difference in differences: its family, and the format."""
    return f"{family_title(estimand, key)}: {key[0]}"


def family_title(estimand: str, key: Key) -> str:
    """Return the heading of the estimates that Holm's correction takes together: one a format."""
    _, update, storage, layers = key
    return f"{estimand} of {update}, {storage}, {layers}"


def cell_target(key: Key) -> str:
    """Return what leads to a cell's runs."""
    return f"{STEM}#{anchor(cell_title(key))}"


def estimate_target(estimand: str, key: Key) -> str:
    """Return what leads to the runs behind a row of the comparisons table; a gap's are those of its cell."""
    if estimand == "gap":
        return cell_target(key)
    return f"{STEM}#{anchor(estimate_title(estimand, key))}"


def family_links(rows: Iterable[Row]) -> tuple[Cell, ...]:
    """Return what leads to the runs behind rows of the comparisons table, one cell for those of all formats."""
    titles = (family_title(row["estimand"], cell_key(row)) for row in rows)
    return tuple(linked(word(title), f"{STEM}#{anchor(title)}") for title in dict.fromkeys(titles))


def estimated(row: Row) -> Cell:
    """Return the mean of a row of the comparisons table, which leads to the runs behind it."""
    return linked(difference(row["mean"]), estimate_target(row["estimand"], cell_key(row)))
