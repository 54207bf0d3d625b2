"""Legends above the panels: of updates, and of the kinds of marks that a figure has."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from altgrad.figures.style import BAND_COLOR, BASELINE_COLOR, CURVE, PRIMARY_CURVE, Encoding, in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def update_legend(
    figure: "Figure",
    encoding: Encoding,
    updates: Iterable[str],
    baseline: str | None = None,
    *,
    band: bool = False,
    curves: bool = True,
) -> None:
    """Put a legend of the updates, and of the baseline where there is one, above the panels.

    Args:
        figure: The figure.
        encoding: What tells updates apart.
        updates: Those that the figure shows.
        baseline: The baseline's format, where it is drawn.
        band: Whether the baseline is drawn with a band.
        curves: Whether updates are drawn as curves, in their line styles; else as marks with bars.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D(
            [],
            [],
            color=encoding.color(u),
            linestyle=encoding.dashes(u) if curves else "-",
            linewidth=(PRIMARY_CURVE if u == encoding.primary else CURVE)["linewidth"],
            marker=encoding.marker(u),
            markersize=4,
            label=u,
        )
        for u in in_order(updates, encoding.updates)
    ]
    if baseline is not None:
        line = Line2D([], [], color=BASELINE_COLOR, linewidth=1.0, label=f"{baseline} baseline")
        handles.append((Patch(facecolor=BAND_COLOR), line) if band else line)
    labels = [h[1].get_label() if isinstance(h, tuple) else h.get_label() for h in handles]
    length, columns = 3.5 if curves else 2.0, min(len(handles), 6)
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, handlelength=length)
