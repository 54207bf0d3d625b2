"""Small multiples that several figures share: one row a format, one column a storage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from altgrad.figures.style import STORAGE_WORDS, Encoding, name_row, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_IN, HEAD_IN = 1.15, 0.75
"""Height in inches of a row of panels, and of what stands above and below them."""


def storage_title(storage: str) -> str:
    """Return the heading of a storage's column."""
    return STORAGE_WORDS.get(storage, storage)


def format_rows(
    encoding: Encoding, formats: Sequence[str], titles: Sequence[str], *, share_y: str = "row"
) -> tuple["Figure", list[list["Axes"]]]:
    """Return a figure with a row of panels a format and a column a title, the rows named at their right.

    Args:
        encoding: For the formats' labels.
        formats: The rows, from the top.
        titles: The columns' headings.
        share_y: `row` or `col`: which panels have the same vertical axis.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(HEAD_IN + ROW_IN * len(formats))
    grid = figure.subplots(len(formats), len(titles), sharex=True, sharey=share_y, squeeze=False)  # type: ignore[call-overload]
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


def say_empty(axes: "Axes") -> None:
    """Say in a panel that no run of it was made."""
    axes.text(0.5, 0.5, "no runs", transform=axes.transAxes, ha="center", va="center", fontsize=7, color="#7A7A7A")
