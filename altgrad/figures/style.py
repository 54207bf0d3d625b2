"""One style for every figure: color, line style and marker are the update, panels the formats, thin lines the seeds.

Colors are Okabe and Ito's, which color-blind readers can tell apart; in grey, updates are told apart by their line
styles and markers. Formats never share a panel as lines, so that they need no line style of their own.
Figures are drawn with the Agg object API: no global state, and the same tables give the same bytes.
"""

import io
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from altgrad.analysis.study_info import StudyInfo, from_frame
from altgrad.analysis.tables import Tables
from altgrad.errors import AltGradError, ReportError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 8.0
"""Width of every figure in inches: the column of a rendered Markdown page."""

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.4,
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "altgrad",
}

METADATA: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What to leave out of a file by suffix: dates and version strings, which would change with the day and the machine."""

# https://jfly.uni-koeln.de/color/ without its yellow, which is too light for lines; black is the baseline's.
UPDATE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
UPDATE_MARKERS = ("o", "s", "^", "D", "v", "P")
UPDATE_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (6, 1.2, 1, 1.2)),
    (0, (2.5, 1)),
    (0, (4, 1, 1, 1, 1, 1)),
)
MARKS = 6
"""How many marks a curve has, about; each update's begin at another point, so that they do not cover each other."""

CURVE: dict[str, Any] = {"linewidth": 1.1, "markersize": 3.0}
"""How wide a curve is, and how large its marks."""

BASELINE_COLOR = "#000000"
BAND_COLOR = "#C9C9C9"
MUTED = "#595959"

STORAGE_WORDS = {
    "master": "master (FP32 beside the format)",
    "nearest": "nearest (in the format)",
    "stochastic": "stochastic (in the format)",
}
STORAGE_ORDER = ("nearest", "stochastic", "master")


@dataclass(frozen=True)
class FigureSpec:
    """A figure: its file name, its title, how to draw it, and what to say under it.

    Attributes:
        name: The name of its files.
        title: What it shows, for headings and alternative texts.
        make: Draws it from the tables.
        caption: Says how to read it: intervals, n, and what the lines are.
    """

    name: str
    title: str
    make: Callable[[Tables], "Figure"]
    caption: Callable[[Tables], str]


@dataclass(frozen=True)
class Encoding:
    """Which color, marker and line style an update has, and what a format is called.

    Attributes:
        updates: Updates in their order.
        formats: Formats in their order, the references last.
        labels: A format's name with its bias and max, by name.
    """

    updates: tuple[str, ...]
    formats: tuple[str, ...]
    labels: dict[str, str]

    @classmethod
    def of(cls, tables: Tables) -> "Encoding":
        """Return the encoding that a study's tables give."""
        formats = tables["formats"]
        columns = (formats["format"], formats["bias"], formats["max"])
        labels = {name: f"bias {bias}, max {number_words(top)}" for name, bias, top in zip(*columns, strict=True)}
        return cls(
            updates=tuple(tables["updates"]["update"]),
            formats=tuple(formats.sort_values("reference", kind="stable")["format"]),
            labels=labels,
        )

    def color(self, update: str) -> str:
        """Return an update's color."""
        return UPDATE_COLORS[self.updates.index(update) % len(UPDATE_COLORS)]

    def marker(self, update: str) -> str:
        """Return an update's marker."""
        return UPDATE_MARKERS[self.updates.index(update) % len(UPDATE_MARKERS)]

    def dashes(self, update: str) -> Any:
        """Return an update's line style."""
        return UPDATE_DASHES[self.updates.index(update) % len(UPDATE_DASHES)]

    def curve(self, update: str, points: int) -> dict[str, Any]:
        """Return how to draw an update's curve of that many points: color, line, and a marker every few points."""
        number = self.updates.index(update)
        return {
            "color": self.color(update),
            "linestyle": self.dashes(update),
            "marker": self.marker(update),
            "markevery": marks_at(number, len(self.updates), points),
            **CURVE,
        }


def marks_at(number: int, curves: int, points: int) -> tuple[int, int]:
    """Return where the marks of one of several curves stand: the first, and how many points each is from the last."""
    every = max(1, points // MARKS)
    known = len(UPDATE_MARKERS)
    return number % known * every // min(curves, known), every


def study_of(tables: Tables) -> StudyInfo:
    """Return the study that tables belong to."""
    return from_frame(tables["study"])


def in_order(values: Iterable[str], order: Iterable[str]) -> list[str]:
    """Return the distinct values, those of `order` first and in that order, then the others by name."""
    present = set(values)
    known = [value for value in order if value in present]
    return known + sorted(present - set(known))


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> "Figure":
    """Return an empty figure that draws with Agg."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def empty_figure(words: str) -> "Figure":
    """Return a figure that says in words why there is nothing to draw."""
    figure = new_figure(1.4)
    figure.text(0.5, 0.5, words, ha="center", va="center", fontsize=9, color=MUTED, wrap=True)
    return figure


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


def number_words(value: float) -> str:
    """Return a limit of a format as a reader wants it: digits, and a power where they would be many.

    Example:
        >>> [number_words(x) for x in (0.9921875, 57344.0, 2.0**63, 4.5e9, 2.0**-9)]
        ['0.992188', '57344', '2^63', '4.5e+09', '2^-9']
    """
    mantissa, exponent = math.frexp(value)
    if mantissa == 0.5 and not 0.01 <= value < 1e6:
        return f"2^{exponent - 1}"
    return f"{value:.6g}" if 0.01 <= value < 1e6 else f"{value:.4g}"


def draw(spec: FigureSpec, tables: Tables) -> dict[str, bytes]:
    """Return a figure's files, by suffix: the same bytes for the same tables.

    Raises:
        ReportError: The tables cannot be drawn.
    """
    import matplotlib

    with matplotlib.rc_context(RC):
        try:
            figure = spec.make(tables)
        except AltGradError:
            raise
        except (KeyError, ValueError) as error:
            raise ReportError(
                f"figure {spec.name}", f"it cannot be drawn ({error})", "Make the tables again"
            ) from error
    return {suffix: encode(figure, suffix) for suffix in (".svg", ".png")}


def encode(figure: "Figure", suffix: str) -> bytes:
    """Return a figure as a file of that suffix, one of `METADATA`: the same bytes for the same figure."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(RC):
        figure.savefig(buffer, format=suffix[1:], metadata=METADATA[suffix], facecolor="white")
    return buffer.getvalue()


def save(spec: FigureSpec, tables: Tables, folder: Path) -> None:
    """Write a figure's SVG and PNG to a folder, each whole or not at all."""
    for suffix, data in draw(spec, tables).items():
        write(folder / f"{spec.name}{suffix}", data)


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
