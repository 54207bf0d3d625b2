"""How much of a format its weights use over the run: codes that occur, and the entropy of their histogram (DIAG-07)."""

from typing import TYPE_CHECKING

import pandas as pd

from altgrad.analysis.layers import ALL
from altgrad.analysis.tables import Tables
from altgrad.figures.curves import studied_bands, update_curves
from altgrad.figures.panels import STORAGES, format_rows, label_first
from altgrad.figures.style import (
    Encoding,
    FigureSpec,
    empty_figure,
    in_order,
    seeds_words,
    update_legend,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = {"codes_used_fraction": "codes used", "code_entropy_bits": "code entropy"}
LABELS = {"codes_used_fraction": "share of codes", "code_entropy_bits": "bits"}
LIMITS = {"codes_used_fraction": 1.0, "code_entropy_bits": 8.0}
"""Where the axes end: every code, and the bits of a code."""


def make(tables: Tables) -> "Figure":
    """Draw one row a format; codes used at the left, their entropy at the right."""
    encoding, bands = Encoding.of(tables), _bands(tables)
    if bands.empty:
        return empty_figure("No run with every layer in a format has probed which codes its weights use yet.")
    formats = in_order(bands["format"], encoding.formats)
    storages = in_order(bands["storage"], STORAGES)
    columns = [(metric, storage) for metric in METRICS for storage in storages]
    titles = [f"{METRICS[metric]}, {storage}" for metric, storage in columns]
    figure, rows = format_rows(encoding, formats, titles, share_y="col")
    for name, row in zip(formats, rows, strict=True):
        for axes, (metric, storage) in zip(row, columns, strict=True):
            same = (bands["format"] == name) & (bands["metric"] == metric) & (bands["storage"] == storage)
            update_curves(axes, encoding, bands[same])
        for number, metric in enumerate(METRICS):
            row[number * len(storages)].set_ylabel(LABELS[metric])
    label_first(rows, len(storages))
    for axes, (metric, _) in zip(rows[0], columns, strict=True):
        top = max(LIMITS[metric], bands.loc[bands["metric"] == metric, "high"].max())
        axes.set_ylim(-0.05 * top, 1.05 * top)
    for axes in rows[-1]:
        axes.set_xlabel("step")
    update_legend(figure, encoding, bands["update"])
    return figure


def caption(tables: Tables) -> str:
    """Say what full use would be."""
    return (
        f"Left: the share of a format's finite codes that occur among a tensor's weights. Right: the entropy of the"
        f" histogram of codes, of 8 bits in an 8-bit format; both are means over the tensors in the format. Look for"
        f" formats that leave most of their bits unused, and for lines that fall: weights then gather on fewer codes."
        f" Each cell is at its own chosen learning rate; lines are means over the seeds"
        f" ({seeds_words(_bands(tables)['n'])}), shades their range."
    )


def _bands(tables: Tables) -> pd.DataFrame:
    bands = studied_bands(tables, METRICS)
    storages = in_order(bands["storage"], STORAGES)[:2]
    return bands[(bands["layer_type"] == ALL) & bands["storage"].isin(storages)]


FIGURE = FigureSpec("capacity", "Codes in use over the run", make, caption)
