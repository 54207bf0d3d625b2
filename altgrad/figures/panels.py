"""Grids of panels that several figures share: one row a format; and what stands in any panel."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from altgrad.analysis.study_info import StudyInfo
from altgrad.figures.style import MUTED, STORAGE_ORDER, STORAGE_WORDS, Encoding, in_order, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

ROW_IN, HEAD_IN = 1.15, 0.75
"""Height in inches of a row of panels, and of what stands above and below them."""

GUIDE: dict[str, Any] = {"color": MUTED, "linewidth": 0.8, "linestyle": ":", "zorder": 1}
"""How a line is drawn that stands at a value with a meaning."""

COLORS = "cividis"
"""The colors of heat maps, made for color-blind readers; their lightness rises evenly, so that they print in grey."""


class Column(NamedTuple):
    """A column of panels.

    Attributes:
        title: Its heading.
        place: What its rows have in a table: a value by the table's column.
    """

    title: str
    place: Mapping[str, str]


class Panel(NamedTuple):
    """A panel, or the first of several that have an axis in common.

    Attributes:
        axes: Where to draw.
        place: What its rows have in a table: a value by the table's column.
    """

    axes: "Axes"
    place: Mapping[str, str]

    def of(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return a table's rows that belong here."""
        for column, value in self.place.items():
            data = data[data[column] == value]
        return data


@dataclass(frozen=True)
class PanelGrid:
    """A figure of panels.

    Attributes:
        figure: The figure.
        rows: Its panels from the top, each row from the left.
    """

    figure: "Figure"
    rows: list[list[Panel]]

    def __iter__(self) -> Iterator[Panel]:
        """Go through the panels, row by row."""
        return (panel for row in self.rows for panel in row)

    @property
    def first(self) -> "Axes":
        """The first panel, which has the vertical axis of all where they share one."""
        return self.rows[0][0].axes

    def by_format(self) -> list[Panel]:
        """Return each row's first panel, standing for all data of its format."""
        return [Panel(row[0].axes, {"format": row[0].place["format"]}) for row in self.rows]

    def by_metric(self) -> list[Panel]:
        """Return each column's first panel, standing for all data of its metric."""
        return [Panel(panel.axes, {"metric": panel.place["metric"]}) for panel in self.rows[0]]

    def label(self, x: str, *y: str) -> None:
        """Name the axes.

        Args:
            x: The horizontal axis, under the last row.
            y: The vertical axis, at the first column; several stand at equal distances.
        """
        for panel in self.rows[-1]:
            panel.axes.set_xlabel(x)
        for row in self.rows:
            for number, words in enumerate(y):
                row[number * len(row) // len(y)].axes.set_ylabel(words)


def storage_title(storage: str) -> str:
    """Return the heading of a storage's column, in two lines where it needs words."""
    return storage_words(storage).replace(" (", "\n(")


def storage_words(storage: str) -> str:
    """Return what a storage is called, with what it means."""
    return STORAGE_WORDS.get(storage, storage)


def storage_columns(data: pd.DataFrame) -> list[Column]:
    """Return a column for each storage that a table has."""
    return [
        Column(storage_title(storage), {"storage": storage}) for storage in in_order(data["storage"], STORAGE_ORDER)
    ]


def metric_columns(metrics: Mapping[str, str], data: pd.DataFrame) -> list[Column]:
    """Return a column for each metric, named by its words, and storage that a table has, at most two storages."""
    return [
        Column(f"{words}, {storage}", {"metric": metric, "storage": storage})
        for metric, words in metrics.items()
        for storage in first_storages(data)
    ]


def first_storages(data: pd.DataFrame) -> list[str]:
    """Return the at most two storages of a table that are drawn where panels are by metric or probe too."""
    return in_order(data["storage"], STORAGE_ORDER)[:2]


def in_first_storages(data: pd.DataFrame) -> pd.DataFrame:
    """Return a table's rows of its first storages, so that what is not drawn has no row, limit or part in a legend."""
    return data[data["storage"].isin(first_storages(data))]


def format_rows(
    encoding: Encoding, data: pd.DataFrame, columns: Sequence[Column], *, share_y: str = "row", share_x: str = "all"
) -> PanelGrid:
    """Return a grid with a row for each format that a table has, named at its right.

    Args:
        encoding: For the formats' order and labels.
        data: A table; not empty.
        columns: The columns, from the left.
        share_y: `row`, `col` or `all`: which panels have the same vertical axis.
        share_x: `col` or `all`: which have the same horizontal axis.
    """
    from matplotlib.ticker import MaxNLocator

    formats = in_order(data["format"], encoding.formats)
    figure = new_figure(HEAD_IN + ROW_IN * len(formats))
    grid = figure.subplots(len(formats), len(columns), sharex=share_x, sharey=share_y, squeeze=False)  # type: ignore[call-overload]
    for axes, column in zip(grid[0], columns, strict=True):
        axes.set_title(column.title)
    for row, name in zip(grid, formats, strict=True):
        name_row(row[-1], encoding, name)
    for axes in grid[-1]:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=True))
    rows = [
        [Panel(axes, {"format": name, **column.place}) for axes, column in zip(row, columns, strict=True)]
        for row, name in zip(grid, formats, strict=True)
    ]
    return PanelGrid(figure, rows)


def name_row(axes: "Axes", encoding: Encoding, name: str) -> None:
    """Write a format's name, bias and max beside a row of panels."""
    axes.annotate(name, (1.03, 0.58), xycoords="axes fraction", ha="left", va="bottom", fontsize=8, fontweight="bold")
    axes.annotate(
        encoding.labels[name].replace(", ", "\n"),
        (1.03, 0.54),
        xycoords="axes fraction",
        ha="left",
        va="top",
        fontsize=6.5,
        color=MUTED,
    )


def name_row_plainly(axes: "Axes", name: str) -> None:
    """Write a name beside a row of panels."""
    axes.annotate(name, (1.03, 0.5), xycoords="axes fraction", ha="left", va="center", fontsize=8, fontweight="bold")


def color_bar(figure: "Figure", colors: "ScalarMappable", axes: Iterable["Axes"], words: str) -> None:
    """Put the scale of a heat map's colors under the panels, and what it measures."""
    bar = figure.colorbar(colors, ax=list(axes), orientation="horizontal", aspect=60, pad=0.02, shrink=0.6)
    bar.set_label(words, fontsize=7.5)
    bar.outline.set_visible(False)


def keep_in_sight(axes: "Axes", low: float, high: float, room: float = 0.08) -> None:
    """Set the vertical axis to a range and some room beyond it, as a share of the range."""
    pad = room * (high - low) or 0.1
    axes.set_ylim(low - pad, high + pad)


def bigram_line(axes: "Axes", info: StudyInfo) -> None:
    """Draw where a model ends that knows only the token before, if the study knows it.

    Args:
        axes: The panel; its vertical axis is a loss.
        info: The study.
    """
    if info.bigram_loss is not None:
        axes.axhline(info.bigram_loss, **GUIDE)


def log_axis(axes: "Axes", values: pd.Series, *, sparse: bool = False) -> None:
    """Make the horizontal axis logarithmic and name round values on it, or, where few are in reach, those given.

    Args:
        axes: The panel.
        values: What is drawn, above 0.
        sparse: Whether to name powers of ten alone, where there are two.
    """
    from matplotlib.ticker import FixedLocator, NullFormatter

    axes.set_xscale("log")
    low, high = 0.99 * values.min(), 1.01 * values.max()
    tens = [10.0**power for power in range(-12, 10)]
    names = [x for x in tens if low <= x <= high]
    if not sparse or len(names) < 2:
        names = sorted(x for x in [*tens, *(3 * x for x in tens)] if low <= x <= high)
    axes.xaxis.set_major_locator(FixedLocator(names if len(names) > 1 else sorted(values.unique())))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def side_by_side(updates: Sequence[str], share: float) -> list[tuple[str, float]]:
    """Return updates with how far each stands from its format's place, all together over a share of that place."""
    return [(update, share * ((n + 0.5) / len(updates) - 0.5)) for n, update in enumerate(updates)]


def mark_edge(axes: "Axes", x: pd.Series, marker: str, height: float, **style: Any) -> None:
    """Mark places on the horizontal axis, at a share of the panel's height wherever the vertical axis ends."""
    axes.plot(x, [height] * len(x), marker, transform=axes.get_xaxis_transform(), **style)


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
