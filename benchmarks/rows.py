"""What sections hand back: rows for the table and the file, the peers' table, series for the figure."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Target(NamedTuple):
    """What a measurement is to reach.

    Attributes:
        limit: The number.
        at_least: Whether the measurement must not be below the limit; else it must not be above.
    """

    limit: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"

    def is_met_by(self, value: float) -> bool:
        """Return whether a measurement reaches the target."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        name: What was measured, and against what.
        value: The measurement.
        unit: `x` for a ratio; else the unit.
        low: The 25 % quantile over rounds, where there are rounds.
        high: The 75 % quantile.
        target: What it is to reach, where there is something.
        note: What a reader should know.
    """

    name: str
    value: float
    unit: str = "x"
    low: float | None = None
    high: float | None = None
    target: Target | None = None
    note: str = ""

    def verdict(self) -> str:
        """Return `met`, `missed`, or an empty string where there is no target."""
        if self.target is None:
            return ""
        return "met" if self.target.is_met_by(self.value) else "missed"


@dataclass
class PeerRow:
    """One line of the table of peers.

    Attributes:
        name: Who rounds.
        version: Its version; empty where there is none.
        ratios: Time over that of `copy_`, by number of elements; empty where the peer did not run.
        wrong: How many inputs come out wrong.
        wrong_in_range: How many of those are finite and at most the format's max in magnitude.
        inputs: How many inputs there were.
        why_not: Why it did not run, or empty.
    """

    name: str
    version: str
    ratios: dict[int, Row] = field(default_factory=dict)
    wrong: int = 0
    wrong_in_range: int = 0
    inputs: int = 0
    why_not: str = ""

    def exact(self) -> str:
        """Return in words whether it is exact."""
        if self.why_not:
            return self.why_not
        if not self.wrong:
            return "yes"
        share = f"{self.wrong} of {self.inputs} wrong"
        return f"in range; {share}" if not self.wrong_in_range else f"no; {share}, {self.wrong_in_range} in range"


@dataclass(frozen=True)
class Series:
    """Points for a figure.

    Attributes:
        name: For the legend.
        x_label: What x is, with its unit.
        y_label: What y is, with its unit.
        x: Points.
        y: Points.
    """

    name: str
    x_label: str
    y_label: str
    x: list[float]
    y: list[float]


@dataclass
class Result:
    """What a section found.

    Attributes:
        rows: Measurements.
        peers: The table of peers, from the section that has it.
        series: For the figure.
    """

    rows: list[Row] = field(default_factory=list)
    peers: list[PeerRow] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
