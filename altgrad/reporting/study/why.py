"""Why, in one sentence: what is left of the benefit without the grid's geometry, or where no update is lost."""

from collections.abc import Callable

from altgrad.analysis.cells import Key
from altgrad.analysis.comparisons import WORDS
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import records
from altgrad.reporting.source import Source
from altgrad.reporting.tally import PLACES
from altgrad.reporting.text import listed

KNOCK_OUTS = ("stochastic", "eco")
"""Storages under which updates are not lost for good."""

INSTEAD = {"smooth": "|w| in place of the grid's spacing", "permuted": "another weight's spacing in place of its own"}
"""What the metrics of the controls are."""

HELPS, _ = WORDS["benefit"]


def controls(source: Source) -> dict[str, str]:
    """Return the updates that take the grid's geometry away, each with its metric."""
    updates = records(source.tables["updates"])
    return {row["update"]: row["metric"] for row in updates if row["metric"] != "ulp" and row["geometry_aware"]}


def why(source: Source) -> str:
    """Return what controls and storages leave of the primary benefit under nearest rounding, where that is shown.

    Args:
        source: The study.

    Returns:
        One sentence with a share for each format, or nothing where no control and no such storage was run.
    """
    parts = [
        *((f"{name} ({INSTEAD[metric]})", (name, "nearest")) for name, metric in controls(source).items()),
        *((f"{source.primary} {PLACES[storage]}", (source.primary, storage)) for storage in KNOCK_OUTS),
    ]
    said = [f"{who} {shares}" for who, place in parts if (shares := _shares(source, *place))]
    if not said:
        return ""
    return (
        f"As to why, these gain, in shares of what {source.primary} gains by nearest rounding where it helps:"
        f" {'; '.join(said)}. Their intervals stand under Mechanism in the report."
    )


def benefit_of(update: str, storage: str) -> Callable[[str], Key]:
    """Return what gives the cell of a format by which an update's benefit in a storage is found."""
    return lambda name: (name, update, storage, ALL)


def _shares(source: Source, update: str, storage: str) -> str:
    """Return a benefit as shares of the primary one under nearest rounding, by format, where that is shown."""
    whole_of, part_of = benefit_of(source.primary, "nearest"), benefit_of(update, storage)
    found = []
    for name in source.encoding.formats:
        whole, part = (source.comparisons.get(("benefit", cell(name))) for cell in (whole_of, part_of))
        if whole is not None and part is not None and whole["verdict"] == HELPS:
            found.append(f"{name} {100 * part['mean'] / whole['mean']:.0f} %")
    return listed(found)
