"""The figure of a run: the peers, what has a target, and what grows."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, NullLocator

from altgrad.figures.style import MUTED, RC, UPDATE_COLORS, UPDATE_MARKERS, encode, new_figure, write
from benchmarks.rows import PeerRow, Result, Row, Series
from benchmarks.setting import size_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MET, _MISSED = UPDATE_COLORS[0], UPDATE_COLORS[1]
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def draw(stem: Path, results: dict[str, Result], caption: str, judged: bool = True) -> bool:
    """Draw the panels that the results have data for, and write them as SVG and PNG.

    Args:
        stem: The files' path without its suffix.
        results: What was found, by section.
        caption: What stands over the panels.
        judged: Whether there is a panel of targets.

    Returns:
        Whether there was anything to draw; else nothing is written.
    """
    peers = [peer for result in results.values() for peer in result.peers if peer.ratios]
    aims = [row for r in results.values() for row in r.rows if judged and row.target is not None and row.unit == "x"]
    curves = _grouped([s for result in results.values() for s in result.series])
    heights = [0.22 * len(peers) + 0.9] * bool(peers) + [0.17 * len(aims) + 0.9] * bool(aims) + [2.7] * bool(curves)
    if not heights:
        return False
    with matplotlib.rc_context(RC):
        figure = new_figure(sum(heights) + 0.3)
        parts = list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
        if peers:
            _draw_peers(parts.pop(0).subplots(), peers)
        if aims:
            _draw_targets(parts.pop(0).subplots(), aims)
        if curves:
            for axes, group in zip(parts.pop(0).subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
                _draw_curves(axes, group)
        figure.suptitle(caption, fontsize=7, color=MUTED)
        for suffix in (".svg", ".png"):
            write(stem.with_suffix(suffix), encode(figure, suffix))
    return True


def _draw_peers(axes: "Axes", peers: Sequence[PeerRow]) -> None:
    """Draw each peer's times; open marks are wrong somewhere in the format's range."""
    sizes = sorted({n for peer in peers for n in peer.ratios})
    places = range(len(peers) - 1, -1, -1)
    for n, color, marker in zip(sizes, UPDATE_COLORS, UPDATE_MARKERS, strict=False):
        for place, peer in zip(places, peers, strict=True):
            row = peer.ratios[n]
            face = "white" if peer.wrong_in_range else color
            axes.plot([row.low or row.value, row.high or row.value], [place, place], color=color, linewidth=1)
            axes.plot([row.value], [place], marker=marker, color=color, markerfacecolor=face, markersize=5)
        axes.plot([], [], marker=marker, color=color, linestyle="", label=f"{size_words(n)} elements")
    axes.plot([], [], marker="o", color=MUTED, markerfacecolor="white", linestyle="", label="wrong in range")
    axes.set(xscale="log", xlabel="time / copy_", title="E4M3, to nearest, float32 to float32")
    axes.set_yticks(list(places), [peer.name for peer in peers])
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _draw_targets(axes: "Axes", rows: Sequence[Row]) -> None:
    """Draw every ratio over its target: what is on the good side of 1 has met it."""
    places = range(len(rows) - 1, -1, -1)
    for place, row in zip(places, rows, strict=True):
        assert row.target is not None
        share = row.target.limit / row.value if row.target.at_least else row.value / row.target.limit
        color, marker = (_MET, "o") if row.verdict() == "met" else (_MISSED, "X")
        axes.plot([share], [place], marker=marker, color=color, linestyle="", markersize=5)
    axes.axvline(1.0, color=MUTED, linewidth=0.8)
    for color, marker, label in ((_MET, "o", "met"), (_MISSED, "X", "missed")):
        axes.plot([], [], marker=marker, color=color, linestyle="", label=label)
    axes.set(xscale="log", xlabel="cost / allowed cost", title="Targets")
    ticks = [tick for tick in _TICKS if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(list(places), [f"{row.name} ({row.value:.3g}; {row.target})" for row in rows], fontsize=6)
    axes.legend(loc="best")


def _draw_curves(axes: "Axes", group: Sequence[Series]) -> None:
    """Draw curves over what they grow with, and a line of slope 1 through the last point of the first."""
    for series, color, marker in zip(group, UPDATE_COLORS, UPDATE_MARKERS, strict=False):
        label = textwrap.fill(series.name, 32)
        axes.plot(series.x, series.y, color=color, marker=marker, markersize=4, label=label)
    first = group[0]
    proportional = [first.y[-1] * x / first.x[-1] for x in first.x]
    axes.plot(first.x, proportional, color=MUTED, linewidth=0.8, linestyle=":", label="proportional")
    axes.set(xscale="log", yscale="log", xlabel=first.x_label, ylabel=first.y_label)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))  # labels of all would run into each other
    axes.xaxis.set_minor_formatter(EngFormatter(sep="") if first.x[-1] < 10 * first.x[0] else NullFormatter())
    axes.yaxis.set_minor_locator(LogLocator(subs="auto"))
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=6)  # above: curves fill the panel


def _grouped(series: Sequence[Series]) -> list[list[Series]]:
    """Return the series by what they show."""
    labels = list(dict.fromkeys(s.y_label for s in series))
    return [[s for s in series if s.y_label == label] for label in labels]
