"""Numbers and tables as text: how a report prints them, in one place."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

LONG = 40
"""Characters up to which a cell stays on one line."""

NOT_AVAILABLE = "n/a"

UNBOUNDED = "unbounded"
"""What stands in place of an interval that so few seeds leave open at both ends."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&])")


@dataclass(frozen=True)
class Cell:
    """One cell of a printed table.

    Attributes:
        text: What is printed.
        order: What it is sorted by where a table can be sorted.
        target: Where it leads: a report's name without its suffix, and after a # an anchor; empty for nowhere.
    """

    text: str
    order: float | str
    target: str = ""

    @property
    def is_long(self) -> bool:
        """Whether it may be broken into lines."""
        return len(self.text) > LONG

    @property
    def is_number(self) -> bool:
        """Whether it is set flush right."""
        return not isinstance(self.order, str)


@dataclass(frozen=True)
class Grid:
    """A table ready to be printed.

    Attributes:
        columns: Headings.
        rows: Rows of as many cells.
        empty: What is said where there are no rows.
    """

    kind: ClassVar[str] = "grid"
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = "Nothing to show."

    def numeric(self, column: int) -> bool:
        """Whether a column is set flush right: all its cells are numbers."""
        return bool(self.rows) and all(row[column].is_number for row in self.rows)


def grid(columns: Iterable[str], rows: Iterable[Iterable[Cell]], empty: str) -> Grid:
    """Return a table of cells.

    Raises:
        AssertionError: A row has another number of cells than there are headings.
    """
    heads, body = tuple(columns), tuple(tuple(row) for row in rows)
    assert all(len(row) == len(heads) for row in body), "a row does not fit its headings"
    return Grid(heads, body, empty)


def word(value: object) -> Cell:
    """Return a cell with a name or a phrase."""
    return Cell(str(value), str(value))


def linked(cell: Cell, target: str) -> Cell:
    """Return a cell that leads somewhere."""
    return replace(cell, target=target)


def _number(value: float, show: Callable[[float], str]) -> Cell:
    missing = value is None or math.isnan(value)
    return Cell(NOT_AVAILABLE, math.inf) if missing else Cell(show(value), float(value))


def count(value: float) -> Cell:
    """Return a cell with a whole number."""
    return _number(value, lambda v: f"{int(v):,}")


def nats(value: float) -> Cell:
    """Return a cell with a loss."""
    return _number(value, lambda v: f"{v:.4f}")


def difference(value: float) -> Cell:
    """Return a cell with a difference of losses, signed."""
    return _number(value, lambda v: f"{v:+.4f}")


def rate(value: float) -> Cell:
    """Return a cell with a share, in percent to three significant digits."""
    return _number(value, lambda v: "0 %" if v == 0 else f"{100 * v:.3g} %")


def plain(value: float) -> Cell:
    """Return a cell with a number to four significant digits."""
    return _number(value, lambda v: f"{v:.4g}")


def p_value(value: float) -> Cell:
    """Return a cell with a p-value."""
    return _number(value, lambda v: "<0.0001" if v < 0.0001 else f"{v:.4f}")


def interval(low: float, high: float) -> Cell:
    """Return a cell with an interval of differences; an end that is infinite is not bounded by the data."""
    return _number(low, lambda v: f"[{v:+.4f}, {high:+.4f}]" if math.isfinite(v) else UNBOUNDED)


def share(value: float, low: float, high: float) -> Cell:
    """Return a cell with a share in percent and its interval."""
    return _number(value, lambda v: f"{100 * v:.0f} % [{100 * low:.0f}, {100 * high:.0f}]")


def rate_interval(low: float, high: float) -> Cell:
    """Return a cell with the interval of a rate, in percent."""
    return _number(low, lambda v: f"[{100 * v:.0f} %, {100 * high:.0f} %]")


def learning_rate(value: float, at_edge: bool = False) -> Cell:
    """Return a cell with a learning rate; an asterisk marks one at or near the edge of those tried."""
    return _number(value, lambda v: f"{v:g}{'*' if at_edge else ''}")


def at_least(value: float, censored: bool) -> Cell:
    """Return a cell with a learning rate that is a lower bound where it is `censored`."""
    return _number(value, lambda v: f"{'≥ ' if censored else ''}{v:g}")


def listed(words: Iterable[object]) -> str:
    """Return words as English lists them.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    items = [str(w) for w in words]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "run"), counted(2, "run"), counted(0, "run")
        ('1 run', '2 runs', 'no run')
    """
    return f"{number or 'no'} {noun}{'s' if number > 1 else ''}"


def escape_markdown(text: object) -> str:
    """Return text that Markdown prints as it stands, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))
