from collections.abc import Callable
from pathlib import Path

import pytest

from altgrad.figures.catalog import FIGURES
from altgrad.reporting.source import Source
from altgrad.reporting.text import Grid
from tests.figures.conftest import Studies, studies
from tests.reporting.tuned import tuned_tables

__all__ = ["studies"]

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 2"><title>stand-in</title></svg>'

SourceOf = Callable[[str], Source]


@pytest.fixture(scope="session")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of stand-ins for every figure, in that of the reports."""
    folder = tmp_path_factory.mktemp("reports") / "figures"
    folder.mkdir()
    for name in FIGURES:
        (folder / f"{name}.svg").write_text(SVG)
    return folder


@pytest.fixture(scope="session")
def tuned(figures: Path, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Return a tuned study with hypotheses, controls, powers, knock-outs and single layer types."""
    return Source(tuned_tables(tmp_path_factory.mktemp("tuned")), figures)


@pytest.fixture(scope="session")
def source_of(studies: Studies, tuned: Source, figures: Path) -> SourceOf:
    """Return what gives a report's source by the name of a study."""
    return lambda study: tuned if study == "tuned" else Source(studies(study), figures)


def rows(table: Grid) -> list[dict[str, str]]:
    return [dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows]
