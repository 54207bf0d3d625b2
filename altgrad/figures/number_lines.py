"""The number lines of formats: where their values lie, in linear measure and by powers of two.

Both signs look the same, so the positive one stands for both.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from PIL import Image

from altgrad.errors import ReportError
from altgrad.figures.exact import exact_words
from altgrad.figures.style import (
    BASELINE_COLOR,
    METADATA,
    MUTED,
    RC,
    UPDATE_COLORS,
    WIDTH_IN,
    encode,
    new_figure,
    write,
)
from altgrad.numerics.format import FloatFormat

_NORMAL, _SUBNORMAL = UPDATE_COLORS[:2]
_TICK_WIDTH = 0.5
# The figure of one format is laid out in points: from left to right its names, its rulers, and room for the last label.
_WIDTH, _HEIGHT = 72 * WIDTH_IN, 100.0
_LEFT, _RIGHT = 68.0, 532.0
_TITLE, _LINEAR, _BINARY = 88.0, 53.0, 16.0
_SHORT, _LONG = 11.0, 17.0  # ticks of values, and of powers of two
_DROP = 10.5  # from a ruler to the base line of its labels
_CELL = 8.0  # one bit
# Ticks that are closer than this could not be told apart; they are drawn as one block.
_MERGED = 0.75
_SMALL = 7.0  # font size of labels
# Line drawings need few colors, and a palette makes a PNG a quarter of the size.
_PALETTE = 64


class _Label(NamedTuple):
    """What to write under a ruler."""

    value: float
    words: str
    color: str = MUTED


def draw_number_lines(formats: Sequence[FloatFormat]) -> Figure:
    """Draw one row a format: left the values as shares of max, right their powers of two.

    Args:
        formats: The rows, top to bottom; at least one.

    Returns:
        A figure of the common width, subnormal values in a color of their own.
    """
    with matplotlib.rc_context(RC):
        figure = new_figure(0.9 + 0.24 * len(formats))
        linear, binary = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.4))
    for row, fmt in enumerate(formats):

        def share(value: float, top: float = fmt.max) -> float:
            return value / top

        _draw_values(linear, fmt, share, row - 0.35, row + 0.35)
        _draw_values(binary, fmt, math.log2, row - 0.35, row + 0.35)
    labels = [f"{fmt.name} (bias {fmt.bias}, max {exact_words(fmt.max)})" for fmt in formats]
    linear.set_yticks(range(len(formats)), labels)
    linear.set_ylim(len(formats) - 0.4, -0.6)
    linear.set_xlabel("value / max")
    binary.set_xlabel("log2 of the value (subnormal values in orange)")
    for axes in (linear, binary):
        axes.autoscale_view(scaley=False)
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return figure


def draw_format(fmt: FloatFormat) -> Figure:
    """Draw one format: its bits, and its values on a ruler in linear measure and on one by powers of two.

    Powers of two are long ticks. Where values are too dense for ticks they are a block, which says how far apart they
    are. The smallest value, the smallest normal one and the largest are labeled in the colors of the ticks.

    Args:
        fmt: Any format, a 16-bit reference included.

    Returns:
        A flat figure of the common width.
    """
    with matplotlib.rc_context(RC):
        figure = new_figure(_HEIGHT / 72)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, _WIDTH), ylim=(0, _HEIGHT))
        axes.set_axis_off()
        _draw_title(axes, fmt)
        _draw_linear(axes, fmt)
        _draw_binary(axes, fmt)
    return figure


def _magnitudes(fmt: FloatFormat) -> tuple[tuple[list[float], str], tuple[list[float], str]]:
    """Return a format's positive normal and subnormal values, each in rising order and with their color."""
    values = [fmt.value_of_magnitude(k) for k in range(1, fmt.num_rungs + 1)]
    first_normal = (1 << fmt.mantissa_bits) - 1
    return (values[first_normal:], _NORMAL), (values[:first_normal], _SUBNORMAL)


def _draw_title(axes: Axes, fmt: FloatFormat) -> None:
    """Write the name, the bits, the bias, the colors' meaning, and how many values there are how far apart."""
    axes.text(2, _TITLE, fmt.name, fontsize=9.5)
    bits = "s" + "e" * fmt.exponent_bits + "m" * fmt.mantissa_bits
    low, high, left = _TITLE - 2.5, _TITLE + 8.5, max(_LEFT, 6.0 * len(fmt.name))
    edges = [left + k * _CELL for k in range(len(bits) + 1)]
    for x, bit in zip(edges, bits, strict=False):
        axes.text(x + _CELL / 2, _TITLE, bit, ha="center", fontsize=_SMALL, color=MUTED)
    frame = [[(left, y), (edges[-1], y)] for y in (low, high)]
    _stroke(axes, [*frame, *([(x, low), (x, high)] for x in edges)], MUTED)
    axes.text(edges[-1] + _CELL, _TITLE, f"bias {fmt.bias}", color=MUTED)
    for x, word, (values, color) in zip((325, 270), ("normal", "subnormal"), _magnitudes(fmt), strict=True):
        if values:
            axes.text(x, _TITLE, word, color=color)
    last_gap = fmt.max - fmt.value_of_magnitude(fmt.num_rungs - 1)
    gaps = dict.fromkeys((_power(fmt.smallest_subnormal), _power(last_gap)))
    axes.text(_RIGHT, _TITLE, f"{fmt.num_values} values, {' to '.join(gaps)} apart", ha="right", color=MUTED)


def _draw_linear(axes: Axes, fmt: FloatFormat) -> None:
    """Draw the ruler on which equal lengths are equal differences, with the spacing of its blocks."""

    def place(value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * value / fmt.max

    first = math.floor(math.log2(fmt.max))
    powers = [2.0**k for k in range(first, first - 8, -1) if 2.0**k >= fmt.smallest_subnormal]
    labels = [_Label(fmt.max, f"max {_exact(fmt.max)}", BASELINE_COLOR), _Label(0.0, "0")]
    _draw_ruler(axes, fmt, "linear", _LINEAR, place, [*labels, *(_Label(value, _exact(value)) for value in powers)])
    for value in powers:
        left, right = place(value), place(min(2 * value, fmt.max))
        gap = max(math.ldexp(value, -fmt.mantissa_bits), fmt.smallest_subnormal)
        if place(gap) - place(0.0) < _MERGED and right - left > 50:
            words, y = f"{_power(gap)} apart", _LINEAR + _SHORT / 2
            axes.text((left + right) / 2, y, words, ha="center", va="center", fontsize=_SMALL, color="white")


def _draw_binary(axes: Axes, fmt: FloatFormat) -> None:
    """Draw the ruler on which equal lengths are equal ratios."""
    low, high = math.log2(fmt.smallest_subnormal), math.log2(fmt.max)
    scale = (_RIGHT - _LEFT) / max(high - low, 1.0)

    def place(value: float) -> float:
        return _LEFT + scale * (math.log2(value) - low)

    smallest_color = _SUBNORMAL if fmt.smallest_subnormal < fmt.smallest_normal else _NORMAL
    labels = [
        _Label(fmt.max, f"max {_exact(fmt.max)}", BASELINE_COLOR),
        _Label(fmt.smallest_subnormal, _power(fmt.smallest_subnormal), smallest_color),
    ]
    if fmt.smallest_normal <= fmt.max:
        labels.append(_Label(fmt.smallest_normal, _power(fmt.smallest_normal), _NORMAL))
    step = next(step for step in (1, 2, 4, 8, 16, 32) if scale * step > 36 or step == 32)
    marks = range(math.ceil(low / step) * step, math.floor(high) + 1, step)
    _draw_ruler(axes, fmt, "log", _BINARY, place, [*labels, *(_Label(2.0**k, _power(2.0**k)) for k in marks)])
    axes.text(_LEFT - 11, _BINARY - _DROP, "smallest", ha="right", fontsize=_SMALL, color=smallest_color)


def _draw_ruler(
    axes: Axes, fmt: FloatFormat, name: str, y: float, place: Callable[[float], float], labels: Sequence[_Label]
) -> None:
    """Draw a ruler at the height `y`: ticks, its line, and those of the labels that find room, the first ones first."""
    axes.text(2, y + _SHORT / 2, name, va="center", color=MUTED)
    _draw_values(axes, fmt, place, y, y + _SHORT, _MERGED)
    for values, color in _magnitudes(fmt):
        powers = _runs([place(value) for value in values if math.frexp(value)[0] == 0.5], _MERGED)
        _stroke(axes, [[(x, y), (x, y + _LONG)] for x, _ in powers], color)
    taken: list[tuple[float, float]] = []
    for label in labels:
        x, half = place(label.value), 3 + 2.0 * len(re.sub(r"[${}^]|\\cdot", "", label.words))
        if all(abs(x - other) >= half + other_half for other, other_half in taken):
            taken.append((x, half))
            axes.text(x, y - _DROP, label.words, ha="center", fontsize=_SMALL, color=label.color)
    _stroke(axes, [[(_LEFT, y), (_RIGHT, y)], *([(x, y), (x, y - 2.5)] for x, _ in taken)], BASELINE_COLOR)


def _draw_values(
    axes: Axes, fmt: FloatFormat, place: Callable[[float], float], bottom: float, top: float, merged: float = 0.0
) -> None:
    """Draw one tick a value, and one block for ticks that are closer than `merged`."""
    for values, color in _magnitudes(fmt):
        runs = _runs(map(place, values), merged)
        blocks = [[(left, bottom), (left, top), (right, top), (right, bottom)] for left, right in runs if left < right]
        _stroke(axes, [[(left, bottom), (left, top)] for left, right in runs if left == right], color)
        _stroke(axes, [[*block, block[0]] for block in blocks], color, filled=True)


def _runs(places: Iterable[float], merged: float) -> list[tuple[float, float]]:
    """Return rising places as runs from first to last; in a run, neighbors are closer than `merged`."""
    runs: list[tuple[float, float]] = []
    for place in places:
        if runs and place - runs[-1][1] < merged:
            runs[-1] = (runs[-1][0], place)
        else:
            runs.append((place, place))
    return runs


def _stroke(axes: Axes, lines: Sequence[Sequence[tuple[float, float]]], color: str, filled: bool = False) -> None:
    """Draw lines as one path, which makes a vector file a fraction of the size that it has with one path a line."""
    if lines:
        codes = [code for line in lines for code in (Outline.MOVETO, *[Outline.LINETO] * (len(line) - 1))]
        outline = Outline([point for line in lines for point in line], codes)
        outline.should_simplify = False
        face = color if filled else "none"
        axes.add_patch(PathPatch(outline, facecolor=face, edgecolor=color, linewidth=_TICK_WIDTH, clip_on=False))


def _power(value: float) -> str:
    """Return a power of two as one, or in digits from 1 to a million."""
    return _exact(value) if value >= 1 else f"$2^{{{math.frexp(value)[1] - 1}}}$"


def _exact(value: float) -> str:
    """Return a number exactly, its powers raised."""
    words = exact_words(value)
    raised = re.sub(r"\^(-?[0-9]+)", r"^{\1}", words).replace(" * ", r" \cdot ")
    return f"${raised}$" if "^" in words else words


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
    data = encode(figure, suffix)
    write(path, _with_palette(data) if suffix == ".png" else data)


def _with_palette(png: bytes) -> bytes:
    """Return a PNG of a line drawing in few colors."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(_PALETTE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
