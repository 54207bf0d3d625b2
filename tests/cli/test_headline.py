"""`altgrad headline`: the README says what the study's report says, and only by command."""

import shutil
from pathlib import Path

import pytest
import typer

from altgrad.analysis.analyse import analyse_study
from altgrad.analysis.tables import Tables
from altgrad.analysis.tabulate import tabulate_study, write_tables
from altgrad.cli.headline import headline
from altgrad.cli.report import report
from altgrad.errors import ReportError
from altgrad.figures.catalog import FIGURES
from altgrad.reporting.headline import END, START
from altgrad.reporting.source import Source
from altgrad.reporting.study.answer import answer
from tests.analysis.fabricate import CORPUS_META, fabricate, make_study

ROOT = Path(__file__).parents[2]
README = f"# Project\n\nBefore *it*.\n\n{START}\nNothing yet.\n{END}\n\nAfter it.\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with tables, statistics, figures and the study's report, and no README."""
    folder = tmp_path_factory.mktemp("project")
    study = make_study()
    folders = fabricate(study, folder, lambda run: 2.0 - 0.1 * (run.update == "manifold") * run.seed)
    tables = tabulate_study(study, folders, corpus_meta=CORPUS_META)
    write_tables(folder / "tables", tables)
    write_tables(folder / "statistics", analyse_study(Tables.of(tables)))
    figures = folder / "reports" / "fake" / "figures"
    figures.mkdir(parents=True)
    for name in FIGURES:
        (figures / f"{name}.svg").write_text("<svg/>")
    report(folder / "tables", folder / "statistics", figures, figures.parent / "study.md")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "project")
    (tmp_path / "project" / "README.md").write_text(README)
    return tmp_path / "project"


def run(project: Path, check: bool = False, study: str = "study.md") -> None:
    paths = (project / "tables", project / "statistics", project / "reports" / "fake" / study, project / "README.md")
    headline(*paths, check=check)


def test_the_readme_gets_the_answer_the_figure_and_a_link(project: Path) -> None:
    run(project)
    text = (project / "README.md").read_text()
    assert text.startswith(f"# Project\n\nBefore *it*.\n\n{START}\n**No format is shown to benefit")
    assert text.endswith(f"[its report](reports/fake/study.md).*\n{END}\n\nAfter it.\n")
    found = answer(Source(Tables.open(project / "tables", project / "statistics"), project))
    assert found.text in text.replace("**", "").replace("\\", "")
    assert "](reports/fake/figures/did_forest.svg)" in text and "Nothing yet" not in text


def test_a_second_time_changes_nothing_and_the_check_passes(project: Path) -> None:
    run(project)
    before = (project / "README.md").read_bytes()
    run(project)
    run(project, check=True)
    assert (project / "README.md").read_bytes() == before


def test_the_check_ends_in_one_line_and_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        run(project, check=True)
    said = capsys.readouterr().err
    assert ended.value.exit_code == 1 and said.count("\n") == 1
    assert said.startswith("altgrad: ") and "README.md is not up to date with" in said
    assert (project / "README.md").read_text() == README


def test_a_demonstration_is_called_one(project: Path) -> None:
    study = make_study(analysis={"min_seeds": 4})
    folders = fabricate(study, project / "again", lambda run: 2.0)
    tables = tabulate_study(study, folders, corpus_meta=CORPUS_META)
    write_tables(project / "tables", tables)
    write_tables(project / "statistics", analyse_study(Tables.of(tables)))
    figures = project / "reports" / "fake" / "figures"
    report(project / "tables", project / "statistics", figures, figures.parent / "study.md")
    run(project)
    text = (project / "README.md").read_text()
    assert "**No answer: no comparison has the 4 paired seeds" in text and "\n> This is a demonstration: 3" in text


def test_a_report_of_other_tables_is_refused(project: Path) -> None:
    path = project / "reports" / "fake" / "study.md"
    path.write_text(path.read_text().replace("No format is shown to benefit", "E4M3 is shown to benefit"))
    with pytest.raises(ReportError, match=r"it does not give the answer of these tables. Write it with altgrad report"):
        run(project)
    with pytest.raises(ReportError, match="does not give the answer"):
        run(project, study="none.md")
    assert (project / "README.md").read_text() == README


def test_a_missing_figure_is_refused(project: Path) -> None:
    (project / "reports" / "fake" / "figures" / "did_forest.svg").unlink()
    with pytest.raises(ReportError, match=r"did_forest.svg: the figure is missing"):
        run(project)


@pytest.mark.parametrize("text", [None, "# No marks\n", README + README, README.replace(END, "")])
def test_a_readme_without_a_place_is_refused(project: Path, text: str | None) -> None:
    path = project / "README.md"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ReportError, match=r"README.md: it has no place for a headline. Put these two lines where it"):
        run(project)


def test_the_projects_own_readme_has_a_place_for_it() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(START) == text.count(END) == 1 and text.index(START) < text.index(END)
