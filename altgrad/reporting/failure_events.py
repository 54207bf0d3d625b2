"""What runs logged under way: nonfinite values, divergence, warnings about ranks, shifts of formats."""

import pandas as pd

from altgrad.analysis.tables import records
from altgrad.reporting.source import Source
from altgrad.reporting.text import Grid, count, grid, word

EVENTS_LISTED = 200
"""Events that a report lists one by one; the events table has all of them."""

NO_EVENT = "No run logged an event."


def events_grid(source: Source) -> Grid:
    """Return, for each format and kind of event, how many there are and where the first one is."""
    rows = []
    for (name, event), group in _events(source).groupby(["format", "event"], sort=False):
        first = records(group)[0]
        where = first["tensor"] or "the run"
        heads = (word(name), word(event), count(len(group)), count(group["run_id"].nunique()))
        rows.append((*heads, count(first["step"]), word(first["run_id"]), word(where), word(first["detail"])))
    columns = ("format", "event", "events", "runs", "first step", "in run", "of", "detail")
    return grid(columns, rows, NO_EVENT)


def event_list_grid(source: Source) -> Grid:
    """Return the events one by one, those of the earliest steps of each format first."""
    rows = [
        (*map(word, (e["format"], e["event"])), count(e["step"]), *map(word, (e["run_id"], e["tensor"], e["detail"])))
        for e in records(_events(source).head(EVENTS_LISTED))
    ]
    return grid(("format", "event", "step", "run", "tensor", "detail"), rows, NO_EVENT)


def _events(source: Source) -> pd.DataFrame:
    """Return the events with their runs' formats, by format, kind and step."""
    formats = list(source.encoding.labels)
    runs = source.tables["runs"]
    # A planned run may also stand there as missing, beside the included one of the same id: its events count once.
    places = runs.loc[runs["events"].notna(), ["run_id", "format"]].drop_duplicates("run_id")
    events = source.tables["events"].merge(places, on="run_id")
    order = events["format"].map(formats.index).rename("order")
    return events.assign(order=order).sort_values(["order", "event", "step"], kind="stable")
