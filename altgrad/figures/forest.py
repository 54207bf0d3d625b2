"""Forest plots: a row a format and update, with its mean, its intervals and its single seeds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from altgrad.analysis.verdicts import NO_VERDICT
from altgrad.figures.limits import led_range, mark_beyond
from altgrad.figures.style import MUTED, Encoding, in_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIRST_IN, OTHER_IN, GAP_IN = 0.2, 0.14, 0.1
"""Height in inches of a format's first row, of its other rows, and of the space between formats."""

MARGIN = 0.2
"""Room beyond what is in sight, as a share of its range; longer intervals are cut at the edge."""

LIGHT = 0.6
"""How opaque the marks are of all updates but the first."""


@dataclass(frozen=True)
class Forest:
    """The rows of a forest plot.

    Attributes:
        encoding: What tells updates apart.
        places: How far a row's middle is from the top in inches, by format and update.
        height: Of all rows, in inches.
    """

    encoding: Encoding
    places: dict[tuple[str, str], float]
    height: float

    @classmethod
    def of(cls, encoding: Encoding, data: pd.DataFrame) -> "Forest":
        """Return a row for each format and update that a table has, the finest mantissa and the primary update first.

        Args:
            encoding: What tells updates apart.
            data: Rows of the comparisons table.
        """
        places, top = {}, 0.0
        for name in encoding.finest_first(data["format"]):
            top += GAP_IN / 2
            for number, update in enumerate(in_order(data.loc[data["format"] == name, "update"], encoding.updates)):
                height = OTHER_IN if number else FIRST_IN
                places[name, update] = top + height / 2
                top += height
            top += GAP_IN / 2
        return cls(encoding, places, top)

    @property
    def first(self) -> str:
        """The update of the first row, which stands out."""
        return in_order((update for _, update in self.places), self.encoding.updates)[0]

    def dress(self, axes: "Axes", rows: pd.DataFrame, seeds: pd.DataFrame, ticks: int = 6) -> None:
        """Lay out a panel: its rows, a line at 0, and room for the first update's means and single seeds.

        Args:
            axes: The panel.
            rows: Rows of the comparisons table.
            seeds: Rows of the differences table.
            ticks: About how many numbers stand at its horizontal axis.
        """
        axes.axvline(0, color="black", linewidth=0.8, zorder=1)
        axes.set_ylim(self.height, 0)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        formats = list(dict.fromkeys(name for name, _ in self.places))
        for name in formats[1:]:
            edge = min(y for (other, _), y in self.places.items() if other == name) - (FIRST_IN + GAP_IN) / 2
            axes.axhline(edge, color="#E3E3E3", linewidth=0.5, zorder=0)
        values = pd.concat([rows.set_index("update")["mean"], seeds.set_index("update")["value"]])
        first = values.index == self.first
        low, high = led_range([0.0, *values[first]], values[~first])
        pad = MARGIN * (high - low) or 0.01
        axes.set_xlim(low - pad, high + pad)
        axes.locator_params(axis="x", nbins=ticks)

    def name_rows(self, axes: "Axes") -> None:
        """Write formats and updates at the left of a panel."""
        heads = {name: update for name, update in reversed(self.places)}
        axes.set_yticks(list(self.places.values()), [self._words(row, heads) for row in self.places])
        for (name, update), label in zip(self.places, axes.get_yticklabels(), strict=True):
            if heads[name] == update:
                label.set(fontsize=8, fontweight="bold")
            else:
                label.set(fontsize=6, color=self.encoding.color(update))

    def _words(self, row: tuple[str, str], heads: dict[str, str]) -> str:
        """Return what stands beside a row: the format at its first, the update where it is not that of the legend."""
        name, update = row
        if heads[name] != update:
            return update
        return name if update == self.first else f"{name} {update}"

    def draw(self, axes: "Axes", rows: pd.DataFrame, seeds: pd.DataFrame, *, flips: bool = False) -> None:
        """Draw means with their intervals, and single seeds lightly behind them; a mean out of sight is written.

        Args:
            axes: The panel, laid out.
            rows: Rows of the comparisons table.
            seeds: Rows of the differences table.
            flips: Whether to draw the inverted sign-flip intervals too, as caps on a thin line.
        """
        for (name, update), y in self.places.items():
            single = seeds.loc[(seeds["format"] == name) & (seeds["update"] == update), "value"]
            color = self.encoding.color(update)
            axes.plot(single, [y] * len(single), ".", markersize=3, color=color, alpha=0.3, zorder=2)
        for row in rows.to_dict("records"):
            self._estimate(axes, row, flips=flips)

    def _estimate(self, axes: "Axes", row: dict[Any, Any], *, flips: bool) -> None:
        update, y = row["update"], self.places[row["format"], row["update"]]
        first = update == self.first
        style: dict[str, Any] = {"color": self.encoding.color(update), "alpha": 1.0 if first else LIGHT, "zorder": 3}
        axes.hlines(y, row["low"], row["high"], linewidth=2.6 if first else 1.6, **style)
        if flips and np.isfinite([row["flip_low"], row["flip_high"]]).all():
            ends = [row["flip_low"], row["flip_high"]]
            axes.plot(
                ends, [y, y], linewidth=0.7, marker="|", markersize=7 if first else 5, markeredgewidth=0.9, **style
            )
        fill = "white" if row["verdict"] in NO_VERDICT else style["color"]
        shape: dict[str, Any] = {"marker": self.encoding.marker(update), "markersize": 5.0 if first else 3.5}
        axes.plot(row["mean"], y, linestyle="none", markerfacecolor=fill, **shape, **{**style, "zorder": 4})
        mark_beyond(axes, y, row["mean"], style["color"], sideways=True)


def forest_legend(figure: "Figure", forest: Forest, interval: str, *, flips: bool = False) -> None:
    """Put a legend of the marks above the panels.

    Args:
        figure: The figure.
        forest: Its rows.
        interval: What the bars are.
        flips: Whether sign-flip intervals are drawn.
    """
    from matplotlib.lines import Line2D

    update, encoding = forest.first, forest.encoding
    color = encoding.color(update)
    handles = [
        Line2D([], [], color=color, marker=encoding.marker(update), markersize=5, linestyle="none", label=update),
        Line2D([], [], color=color, linewidth=2.6, label=interval),
        Line2D([], [], color=MUTED, marker=".", markersize=3, linestyle="none", label="single seed"),
    ]
    if flips:
        caps = Line2D([], [], color=color, linewidth=0.7, marker="|", markersize=7, label="sign-flip interval")
        handles.insert(2, caps)
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), handlelength=2.0)
