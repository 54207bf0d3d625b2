"""Why: what is left of the benefit without the grid's geometry, or where no update is lost."""

from collections.abc import Callable, Mapping

from altgrad.analysis.cells import Key
from altgrad.analysis.comparisons import WORDS
from altgrad.analysis.estimates import estimate
from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import records
from altgrad.analysis.verdicts import NO_DIFFERENCE
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


def benefit_of(update: str, storage: str) -> Callable[[str], Key]:
    """Return what gives the cell of a format by which an update's benefit in a storage is found."""
    return lambda name: (name, update, storage, ALL)


def why(source: Source) -> str:
    """Return what controls and storages leave of the primary benefit under nearest rounding, where that is shown.

    Args:
        source: The study.

    Returns:
        A share for each format, over the seeds that both have, and how controls compare to the primary update seed by
        seed; nothing where no control and no such storage was run.
    """
    taken = controls(source)
    places = [
        *((f"{name} ({INSTEAD[metric]})", (name, "nearest")) for name, metric in taken.items()),
        *((f"{source.primary} {PLACES[storage]}", (source.primary, storage)) for storage in KNOCK_OUTS),
    ]
    said = [f"{who} {shares}" for who, place in places if (shares := _shares(source, *place))]
    if not said:
        return ""
    against = "; ".join(filter(None, (_against(source, name) for name in taken)))
    how = f"{source.info.confidence:.0%} intervals, not corrected for the number of formats"
    return (
        f"As to why, these gain, in shares of what {source.primary} gains by nearest rounding where it helps, over the"
        f" same seeds: {'; '.join(said)}.{f' Seed by seed, {against} ({how}).' if against else ''}"
    )


def _shares(source: Source, update: str, storage: str) -> str:
    """Return a benefit as shares of the primary one under nearest rounding, by format, where that is shown."""
    found = []
    for name, (whole, part) in _pairs(source, update, storage).items():
        row = source.comparisons["benefit", (name, update, storage, ALL)]
        doubt = " (not shown)" if row["verdict"] == NO_DIFFERENCE else ""
        found.append(f"{name} {100 * sum(part) / sum(whole):.0f} %{doubt}")
    return listed(found)


def _against(source: Source, control: str) -> str:
    """Return where a control gains less than the primary update, seed by seed, and where that is not shown."""
    words: dict[str, list[str]] = {"gains less than": [], "is not told apart from": [], "gains more than": []}
    for name, (whole, part) in _pairs(source, control, "nearest").items():
        found = estimate([a - b for a, b in zip(whole, part, strict=True)], source.info.confidence)
        less, more, alike = words["gains less than"], words["gains more than"], words["is not told apart from"]
        (alike if not found.excludes_zero else less if found.mean > 0 else more).append(name)
    parts = [f"{verb} {source.primary} in {listed(names)}" for verb, names in words.items() if names]
    return f"{control} {listed(parts)}" if parts else ""


def _pairs(source: Source, update: str, storage: str) -> Mapping[str, tuple[list[float], list[float]]]:
    """Return, for each format that the primary update helps, its benefit and another one, over the seeds of both."""
    found = {}
    for name in source.encoding.formats:
        whole, part = ((name, source.primary, "nearest", ALL), (name, update, storage, ALL))
        row = source.comparisons.get(("benefit", whole))
        if row is None or row["verdict"] != HELPS or ("benefit", part) not in source.comparisons:
            continue
        a, b = (source.benefits_by_seed.get(cell, {}) for cell in (whole, part))
        seeds = sorted(a.keys() & b.keys())
        found[name] = ([a[seed] for seed in seeds], [b[seed] for seed in seeds])
    return found
