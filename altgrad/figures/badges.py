"""Marks of single cells: the update's color and shape, and the format's mantissa bits as a digit inside."""

from typing import TYPE_CHECKING, Any

from altgrad.figures.style import Encoding

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIGIT_WORDS = "the digit in a mark is the number of its format's mantissa bits"
"""What a caption says of the digits."""


POINTED = {"^": 1.3, "v": 1.3, ">": 1.3}
"""How much larger markers are than others that have less room inside."""


def badge(
    axes: "Axes", encoding: Encoding, update: str, name: str, at: tuple[float, float], *, hollow: bool = False
) -> None:
    """Mark one cell of an update and format, one of the primary update larger and in front.

    Args:
        axes: The panel.
        encoding: What tells updates and formats apart.
        update: The update.
        name: The format.
        at: Where the mark stands.
        hollow: Whether the mark is white, and its digit colored.
    """
    first, marker = update == encoding.primary, encoding.marker(update)
    size = 9.0 if first else 7.5
    ink, paper = ("white", encoding.color(update))[:: -1 if hollow else 1]
    line: dict[str, Any] = {"linestyle": "none", "zorder": 6 if first else 5}
    edge: dict[str, Any] = {"markeredgecolor": ink, "markeredgewidth": 0.8 if hollow else 0.5}
    axes.plot(*at, marker=marker, markersize=size * POINTED.get(marker, 1.0), color=paper, **edge, **line)
    # A digit is a mark of its own, so that it stands in the middle at any size.
    digit = f"$\\mathdefault{{{encoding.mantissa_bits[name]}}}$"
    axes.plot(*at, marker=digit, markersize=0.45 * size, color=ink, markeredgewidth=0.3, **line)
