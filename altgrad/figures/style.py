"""One style for every figure: color, line style and marker are the update, panels the formats, thin lines the seeds.

Colors are Okabe and Ito's and three dark ones, which color-blind readers can tell apart; in grey, updates are told
apart by their line styles and markers. The primary update's lines are wider than the others'. Formats need no line
style of their own: where cells of several share a panel, a digit in the mark says which it is.
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
from altgrad.study.grid import BASELINE_UPDATE

if TYPE_CHECKING:
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
# The last three are dark, and as far from the others, for three kinds of color blindness, as the others are at least.
UPDATE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4B0082", "#6E4A1E", "#004D40")
UPDATE_MARKERS = ("o", "s", "^", "D", "v", "P", ">", "p", "H")
UPDATE_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (6, 1.2, 1, 1.2)),
    (0, (2.5, 1)),
    (0, (4, 1, 1, 1, 1, 1)),
    (0, (8, 2)),
    (0, (1, 2)),
    (0, (8, 1.2, 2.5, 1.2)),
)
MARKS = 6
"""How many marks a curve has, about; each update's begin at another point, so that they do not cover each other."""

CURVE: dict[str, Any] = {"linewidth": 1.1, "markersize": 3.0, "zorder": 3}
"""How wide a curve is, how large its marks, and which curves it covers."""

PRIMARY_CURVE: dict[str, Any] = {"linewidth": 1.8, "markersize": 3.8, "zorder": 4}
"""The same of the primary update, which stands out."""

BASELINE_COLOR = "#000000"
BAND_COLOR = "#C9C9C9"
MUTED = "#595959"

STORAGE_WORDS = {
    "master": "master (FP32 beside the format)",
    "nearest": "nearest (in the format)",
    "stochastic": "stochastic (in the format)",
    "eco": "eco (rounding error fed back)",
}
STORAGE_ORDER = ("nearest", "master", "stochastic", "eco")
"""The two of the primary comparison, and then those that take away what it is about: lost updates."""


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
        updates: Updates in their order: adamw, the primary one, the others.
        primary: The geometry-aware update that was fixed beforehand; empty for none.
        formats: Formats in their order, the references last.
        labels: A format's name with its bias and max, by name.
        mantissa_bits: A format's mantissa bits, by name.
    """

    updates: tuple[str, ...]
    primary: str
    formats: tuple[str, ...]
    labels: dict[str, str]
    mantissa_bits: dict[str, int]

    @classmethod
    def of(cls, tables: Tables) -> "Encoding":
        """Return the encoding that a study's tables give."""
        formats, table = tables["formats"], tables["updates"]
        columns = (formats["format"], formats["bias"], formats["max"])
        primary = table.loc[table["primary"], "update"].tolist()
        plain = table.loc[table["update"] == BASELINE_UPDATE, "update"]
        return cls(
            updates=tuple(dict.fromkeys([*plain, *primary, *table["update"]])),
            primary=next(iter(primary), ""),
            formats=tuple(formats.sort_values("reference", kind="stable")["format"]),
            labels={name: f"bias {bias}, max {number_words(top)}" for name, bias, top in zip(*columns, strict=True)},
            mantissa_bits=dict(zip(formats["format"], map(int, formats["mantissa_bits"]), strict=True)),
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
            **(PRIMARY_CURVE if update == self.primary else CURVE),
        }

    def finest_first(self, names: Iterable[str]) -> list[str]:
        """Return the distinct formats by falling mantissa bits, of equals in their order."""
        return sorted(in_order(names, self.formats), key=lambda name: -self.mantissa_bits[name])


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
