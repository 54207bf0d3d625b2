"""What a report is made of: an answer, and sections of paragraphs, lists, tables and figures.

Every report is one `Report`. One template writes it as Markdown, another as an HTML page.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from altgrad.reporting.text import Cell, Grid


@dataclass(frozen=True)
class Answer:
    """The answer of a report in plain words.

    Attributes:
        lead: Its first sentence or sentences, set in bold.
        rest: What follows in the same paragraph.
        behind: Cells that lead to the runs, or the table, that it rests on.
    """

    lead: str
    rest: str = ""
    behind: tuple[Cell, ...] = ()

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.lead} {self.rest}".strip()


@dataclass(frozen=True)
class Paragraph:
    """Sentences."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    kind: ClassVar[str] = "bullets"
    items: tuple[str, ...]


@dataclass(frozen=True)
class Fold:
    """A table that is folded away until it is asked for.

    Attributes:
        summary: What stands there in its place.
        grid: The table.
    """

    kind: ClassVar[str] = "fold"
    summary: str
    grid: Grid


@dataclass(frozen=True)
class Figure:
    """A figure as a report shows it.

    Attributes:
        name: Its name in the catalog.
        title: Its title.
        caption: What is said under it.
        path: Its SVG.
    """

    kind: ClassVar[str] = "figure"
    name: str
    title: str
    caption: str
    path: Path


Block = Paragraph | Bullets | Grid | Fold | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes:
        title: The heading.
        blocks: What stands under it.
        level: 2, or more for a section within the one before.
    """

    title: str
    blocks: tuple[Block, ...]
    level: int = 2

    @property
    def anchor(self) -> str:
        """Where links lead that mean this section."""
        return anchor(self.title)


@dataclass(frozen=True)
class Report:
    """The content of a report.

    Attributes:
        title: Its heading.
        study: The study's title.
        answer: The answer in plain words, first of all.
        demonstration: The sentence that says that the study is a demonstration; empty where it is more.
        caveats: What limits the answer.
        sections: The rest, in its order.
    """

    title: str
    study: str
    answer: Answer
    demonstration: str
    caveats: tuple[str, ...]
    sections: tuple[Section, ...]


def anchor(title: str) -> str:
    """Return the anchor of a heading, as GitHub makes it from the Markdown file.

    Example:
        >>> anchor("did of manifold, nearest - master: E4M3")
        'did-of-manifold-nearest---master-e4m3'
    """
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
