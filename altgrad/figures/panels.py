"""Small multiples that several figures share: one row a format, one column a storage."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from altgrad.figures.style import STORAGE_WORDS, Encoding, in_order, name_row, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_IN, HEAD_IN = 1.15, 0.75
"""Height in inches of a row of panels, and of what stands above and below them."""

STORAGES = ("nearest", "master", "stochastic")
"""Of these the first two that a study has are drawn where panels are by metric too: four columns fit the width."""


def storage_title(storage: str) -> str:
    """Return the heading of a storage's column."""
    return STORAGE_WORDS.get(storage, storage)


def format_rows(
    encoding: Encoding, formats: Sequence[str], titles: Sequence[str], *, share_y: str = "row", share_x: str = "all"
) -> tuple["Figure", list[list["Axes"]]]:
    """Return a figure with a row of panels a format and a column a title, the rows named at their right.

    Args:
        encoding: For the formats' labels.
        formats: The rows, from the top.
        titles: The columns' headings.
        share_y: `row`, `col` or `all`: which panels have the same vertical axis.
        share_x: `col` or `all`: which have the same horizontal axis.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(HEAD_IN + ROW_IN * len(formats))
    grid = figure.subplots(len(formats), len(titles), sharex=share_x, sharey=share_y, squeeze=False)  # type: ignore[call-overload]
    rows: list[list[Axes]] = [list(row) for row in grid]
    for axes, title in zip(rows[0], titles, strict=True):
        axes.set_title(title)
    for row, name in zip(rows, formats, strict=True):
        name_row(row[-1], encoding, name)
    for axes in rows[-1]:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=True))
    return figure, rows


def name_row_plainly(axes: "Axes", name: str) -> None:
    """Write a name beside a row of panels."""
    axes.annotate(name, (1.03, 0.5), xycoords="axes fraction", ha="left", va="center", fontsize=8, fontweight="bold")


def label_first(rows: Sequence[Sequence["Axes"]], size: int) -> None:
    """Leave the vertical axis's numbers to the first of every `size` columns, which have the same axis."""
    for row in rows:
        for number, axes in enumerate(row):
            if number % size:
                axes.tick_params(labelleft=False)


def fullest(data: pd.DataFrame, column: str, order: Iterable[str]) -> str:
    """Return the value of a column that the most formats have, of equals the first in `order`.

    Args:
        data: Not empty; it has a column `format` too.
        column: The column.
        order: Values in their order.
    """
    formats = data.groupby(column)["format"].nunique()
    return max(in_order(data[column], order), key=lambda value: int(formats[value]))


def say_empty(axes: "Axes", words: str = "no runs") -> None:
    """Say in a panel why it is empty: that no run of it was made, if nothing else is said."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=7, color="#7A7A7A")
