"""The study on one page that stands alone: answers, headline tables, figures, and where the rest is."""

from dataclasses import dataclass

from altgrad.figures.catalog import FIGURES
from altgrad.reporting import failure_modes, manifold_vs_standard, sweet_spot, test_matrix
from altgrad.reporting.page import Page, Source, make_page
from altgrad.reporting.requirements import traced
from altgrad.reporting.text import Grid


@dataclass(frozen=True)
class Section:
    """One report as the index shows it.

    Attributes:
        title: Its heading.
        link: Its file, relative to the index.
        answer: Its answer; empty where the page has said it.
        grids: Its headline tables, by heading.
    """

    title: str
    link: str
    answer: str
    grids: dict[str, Grid]


@dataclass(frozen=True)
class IndexReport:
    """The content of `index.html`.

    Attributes:
        page: What every report has.
        sections: The other reports.
    """

    page: Page
    sections: tuple[Section, ...]


def build(source: Source) -> IndexReport:
    """Return the content of the report."""
    spots = sweet_spot.build(source)
    sections = (
        Section(
            "Geometry-aware against standard updates",
            "manifold_vs_standard.md",
            "",  # the page opens with it
            {
                "Benefit over adamw, paired by seed": manifold_vs_standard.benefits_grid(source),
                "Difference in differences, nearest - master": manifold_vs_standard.dids_grid(source),
                "Gap to the baseline": manifold_vs_standard.gaps_grid(source),
            },
        ),
        Section(
            "Where each format fails",
            "failure_modes.md",
            failure_modes.answer(source),
            {
                "First failing stage of each format": failure_modes.by_format_grid(source),
                "First failing stage of each cell, at its chosen learning rate": failure_modes.first_grid(source),
            },
        ),
        Section(
            "Which format suits which layer type",
            "sweet_spot.md",
            spots.page.answer,
            {"Best of each layer type and storage": spots.best},
        ),
        Section("Test matrix", "TEST_MATRIX.md", test_matrix.answer(source, traced(source.tables)), {}),
    )
    answer = manifold_vs_standard.answer(source)
    return IndexReport(make_page(source, source.info.title, answer, FIGURES, inline=True), sections)
