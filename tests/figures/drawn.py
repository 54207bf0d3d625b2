"""What a panel has drawn, read back from its marks."""

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from altgrad.analysis.tables import Tables
from altgrad.figures.style import RC, FigureSpec

Points = list[tuple[float, float]]


def make(spec: FigureSpec, tables: Tables) -> Figure:
    with rc_context(RC):
        return spec.make(tables)


def points(line: Line2D) -> Points:
    """Return a line's points; those of marks at a panel's edge have a share of its height."""
    return [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def lines(axes: Axes, color: str) -> list[Line2D]:
    """Return a panel's lines of a color that have any point."""
    return [line for line in axes.lines if to_hex(line.get_color()) == color.lower() and len(line.get_xdata())]


def marks(axes: Axes, color: str, marker: str) -> Points:
    """Return the points of all lines of a color that have a marker and no stroke."""
    found = [line for line in lines(axes, color) if line.get_marker() == marker and line.get_linestyle() == "None"]
    return [point for line in found for point in points(line)]


def strokes(axes: Axes, color: str) -> list[Points]:
    """Return the points of each line of a color that has a stroke."""
    return [points(line) for line in lines(axes, color) if line.get_linestyle() != "None"]


def bars(axes: Axes, color: str) -> list[Points]:
    """Return the ends of each bar of a color."""
    found = [c for c in axes.collections if hasattr(c, "get_segments") and to_hex(c.get_color()[0]) == color.lower()]
    return [[tuple(map(float, end)) for end in segment] for c in found for segment in c.get_segments()]


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]
