"""How far an axis reaches: adamw and the primary update set it, others widen it modestly, and what is beyond is said.

An update that fails by nats where others differ by tenths would else flatten all of them.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from altgrad.figures.panels import mark_edge
from altgrad.figures.style import Encoding
from altgrad.study.grid import BASELINE_UPDATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDER = 0.5
"""How far values of other updates move either end of an axis at most, as a share of the range of those that set it."""


def leading(encoding: Encoding, data: pd.DataFrame) -> "pd.Series[bool]":
    """Return which rows of a table set an axis: those of adamw and the primary update, or all where it has neither."""
    found = data["update"].isin([BASELINE_UPDATE, encoding.primary])
    return found if found.any() else ~found


def led_range(first: Iterable[float], others: Iterable[float]) -> tuple[float, float]:
    """Return the range of values that set an axis, widened at either end towards others by a share of it at most.

    Where there are no first ones, or all are equal, there is no range to take a share of: the others count in full.

    Args:
        first: Values that are all in sight.
        others: Values that may be beyond; one of all values at least is finite.

    Example:
        >>> led_range([0.0, 1.0], [-0.25, 40.0])
        (-0.25, 1.5)
    """
    own, rest = ([x for x in values if math.isfinite(x)] for values in (first, others))
    own = own or rest
    low, high = min(own), max(own)
    room = WIDER * (high - low) or math.inf
    return max(min([low, *rest]), low - room), min(max([high, *rest]), high + room)


def mark_beyond(axes: "Axes", place: float, value: float, color: str, *, sideways: bool = False) -> None:
    """Write a value that its axis does not reach beside an arrow at the edge; nothing where it is in sight.

    Args:
        axes: The panel, which has its limits.
        place: Where the value stands on the other axis.
        value: The value.
        color: The arrow's color.
        sideways: Whether the value's axis is the horizontal one.
    """
    low, high = axes.get_xlim() if sideways else axes.get_ylim()
    if low <= value <= high:
        return
    up, words = value > high, f"{value:.2f}"
    arrow: dict[str, Any] = {"color": color, "markersize": 4, "zorder": 5}
    if sideways:
        at, beside, align = (0.97, 0.93, "right") if up else (0.03, 0.07, "left")
        transform = axes.get_yaxis_transform()
        axes.plot([at], [place], ">" if up else "<", transform=transform, **arrow)
        axes.text(beside, place, words, transform=transform, ha=align, va="center", fontsize=6)
    else:  # above, crosses of runs that diverged stand nearer to the edge
        at, beside, align = (0.88, 0.82, "top") if up else (0.05, 0.11, "bottom")
        mark_edge(axes, pd.Series([place]), "^" if up else "v", at, **arrow)
        transform = axes.get_xaxis_transform()
        axes.text(place, beside, words, transform=transform, rotation=90, ha="center", va=align, fontsize=6)
