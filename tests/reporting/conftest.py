from collections.abc import Callable
from pathlib import Path

import pytest

from altgrad.figures.catalog import FIGURES
from altgrad.reporting.page import Source
from altgrad.reporting.text import Grid
from tests.figures.conftest import Studies, studies

__all__ = ["studies"]

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 2"><title>stand-in</title></svg>'

SourceOf = Callable[[str, str], Source]


@pytest.fixture(scope="session")
def source_of(studies: Studies, tmp_path_factory: pytest.TempPathFactory) -> SourceOf:
    """Return what makes a report's source by study and file name; its figures are stand-ins."""
    reports = tmp_path_factory.mktemp("reports")
    figures: Path = reports / "figures"
    figures.mkdir()
    for name in FIGURES:
        (figures / f"{name}.svg").write_text(SVG)
    return lambda study, name: Source(studies(study), figures, reports / name)


def rows(table: Grid) -> list[dict[str, str]]:
    return [dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows]
