"""The number lines of formats: where their values lie, in linear measure and by powers of two."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from altgrad.errors import ReportError
from altgrad.figures.style import METADATA, RC, UPDATE_COLORS, encode, new_figure, write

_NORMAL, _SUBNORMAL = UPDATE_COLORS[:2]


@dataclass(frozen=True)
class NumberLine:
    """One row of the figure.

    Args:
        label: The format's name, with what tells it from others of that name.
        magnitudes: Its positive finite values in rising order.
        smallest_normal: Values under it are subnormal.
    """

    label: str
    magnitudes: tuple[float, ...]
    smallest_normal: float


def draw_number_lines(lines: Sequence[NumberLine]) -> Figure:
    """Draw one row a format: left the values as shares of max, right their powers of two.

    Args:
        lines: The rows, top to bottom; at least one.

    Returns:
        A figure of the common width, subnormal values in a color of their own.
    """
    with matplotlib.rc_context(RC):
        figure = new_figure(0.9 + 0.24 * len(lines))
        linear, binary = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.4))
    for row, line in enumerate(lines):
        top = line.magnitudes[-1]
        _draw_row(linear, row, line, [value / top for value in line.magnitudes])
        _draw_row(binary, row, line, [math.log2(value) for value in line.magnitudes])
    linear.set_yticks(range(len(lines)), [line.label for line in lines])
    linear.set_ylim(len(lines) - 0.4, -0.6)
    linear.set_xlabel("value / max")
    binary.set_xlabel("log2 of the value (subnormal values in orange)")
    for axes in (linear, binary):
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return figure


def _draw_row(axes: Axes, row: int, line: NumberLine, places: Sequence[float]) -> None:
    """Draw one tick a value; both signs look the same, so the positive one stands for both."""
    normal = [place for place, value in zip(places, line.magnitudes, strict=True) if value >= line.smallest_normal]
    subnormal = list(places[: len(places) - len(normal)])
    for ticks, color in ((normal, _NORMAL), (subnormal, _SUBNORMAL)):
        axes.vlines(ticks, row - 0.35, row + 0.35, colors=color, linewidth=0.5)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file, the same bytes for the same figure.

    Args:
        figure: The figure.
        path: Ends in .svg, .png or .pdf; folders are made.

    Raises:
        ReportError: If the suffix is another.
    """
    suffix = path.suffix.lower()
    if suffix not in METADATA:
        raise ReportError(
            str(path), f"{suffix or 'no suffix'} is not a figure's", f"End the name in one of {', '.join(METADATA)}"
        )
    write(path, encode(figure, suffix))
