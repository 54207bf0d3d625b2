"""Every report of every study: valid, self-contained, and saying no more than the tables."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
from markdown_it import MarkdownIt

from altgrad.analysis.tables import Tables
from altgrad.errors import ReportError
from altgrad.figures.catalog import FIGURES
from altgrad.reporting import index
from altgrad.reporting import render as rendering
from altgrad.reporting.catalog import REPORTS, SUFFIXES
from altgrad.reporting.document import Figure, Fold, Report, anchor
from altgrad.reporting.render import render, write_reports
from altgrad.reporting.source import Source
from altgrad.reporting.text import Grid
from altgrad.schema import ANALYSIS_TABLES, STATISTICS
from tests.reporting.conftest import SourceOf

STUDY_NAMES = ["tuned", "sweep", "layers", "one seed", "all diverged", "empty"]
VOID = {"meta", "img", "br", "link", "hr", "input"}

# A new report is a row here: a heading that it must have.
HEADINGS = {
    "index": "Reports",
    "study": "The answer by format",
    "manifold_vs_standard": "Benefit, by storage and format",
    "sweet_spot": "Best of each layer type",
    "failure_modes": "First failure at the chosen learning rate",
    "evidence": "Differences in differences",
    "TEST_MATRIX": "Combinations",
}


class Page(HTMLParser):
    """Collects a page's tags, and fails where they do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings[-1] += data

    @property
    def links(self) -> list[str]:
        return [str(attrs["href"]) for tag, attrs in self.tags if tag == "a"]

    @property
    def anchors(self) -> set[str]:
        """Where links can lead: the ids of an HTML page, or what GitHub makes of a Markdown file's headings."""
        return {str(attrs["id"]) for _, attrs in self.tags if "id" in attrs} or set(map(anchor, self.headings))


def read(name: str, text: str) -> Page:
    return Page(text if name.endswith(".html") else MarkdownIt("gfm-like", {"linkify": False}).render(text))


def page_of(source: Source, name: str) -> tuple[str, Page]:
    text = render(REPORTS[name].build(source), source.figures.parent / name)
    return text, read(name, text)


def grids(report: Report) -> list[Grid]:
    """Return the tables of a report, folded ones too."""
    blocks = [block for section in report.sections for block in section.blocks]
    found = [block.grid if isinstance(block, Fold) else block for block in blocks]
    return [block for block in found if isinstance(block, Grid)]


def figures(report: Report) -> set[str]:
    """Return the names of a report's figures."""
    blocks = [block for section in report.sections for block in section.blocks]
    return {block.name for block in blocks if isinstance(block, Figure)}


def test_every_report_has_a_row() -> None:
    assert {f"{stem}{suffix}" for stem in HEADINGS for suffix in SUFFIXES} == set(REPORTS)


@pytest.mark.parametrize("study", STUDY_NAMES)
@pytest.mark.parametrize("name", REPORTS)
def test_every_report_of_every_study_is_valid(source_of: SourceOf, name: str, study: str) -> None:
    text, page = page_of(source_of(study), name)
    assert HEADINGS[REPORTS[name].stem] in page.headings
    assert "nan" not in re.findall(r"[a-z]+", html.unescape(re.sub(r"base64,\S+", "", text)))
    assert "None" not in re.sub(r"None (of|is|were|but)|all; none", "", text) and "{{" not in text
    if name.endswith(".md"):
        words = "".join(page.words).replace("|W - q(W)|", "").replace("|w|", "")
        assert "|" not in words


@pytest.mark.parametrize("name", REPORTS)
def test_tables_keep_their_columns(source_of: SourceOf, name: str) -> None:
    source = source_of("tuned")
    _, page = page_of(source, name)
    widths: list[int] = []
    for tag, _ in page.tags:
        if tag == "tr":
            widths.append(0)
        elif tag in ("td", "th"):
            widths[-1] += 1
    expected = [len(g.columns) for g in grids(REPORTS[name].build(source)) if g.rows for _ in range(1 + len(g.rows))]
    assert widths == expected


@pytest.mark.parametrize("stem", ["study", "manifold_vs_standard", "sweet_spot", "failure_modes"])
def test_an_answer_leads_to_what_is_behind_it(source_of: SourceOf, stem: str) -> None:
    source = source_of("tuned")
    behind = REPORTS[f"{stem}.md"].build(source).answer.behind
    assert behind
    for name in (f"{stem}.md", f"{stem}.html"):
        text, page = page_of(source, name)
        assert "Behind it:" in text and {cell.target.partition("#")[2] for cell in behind} <= {
            link.partition("#")[2] for link in page.links
        }


def test_every_link_of_every_report_leads_somewhere(source_of: SourceOf, tmp_path: Path) -> None:
    for study in ("tuned", "layers", "empty"):
        source = source_of(study)
        write_reports(tmp_path / study, source.tables, source.figures)
        pages = {name: read(name, (tmp_path / study / name).read_text()) for name in REPORTS}
        for name, page in pages.items():
            for link in page.links:
                file, _, place = link.partition("#")
                assert not place or place in pages[file or name].anchors, (name, link)
                assert not file or file.endswith(Path(name).suffix), (name, link)
            if name.endswith(".html"):
                ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
                assert len(ids) == len(set(ids)), name


@pytest.mark.parametrize("name", [name for name in REPORTS if name.endswith(".md")])
def test_figures_are_linked_relative_to_the_report(source_of: SourceOf, name: str) -> None:
    source = source_of("sweep")
    _, page = page_of(source, name)
    links = [str(attrs["src"]) for tag, attrs in page.tags if tag == "img"]
    assert links == [f"figures/{figure}.svg" for figure in dict.fromkeys(Path(link).stem for link in links)]
    assert all((source.figures.parent / link).is_file() for link in links)


def test_links_to_figures_lead_from_a_folder_elsewhere(source_of: SourceOf, tmp_path: Path) -> None:
    source = source_of("sweep")
    out = tmp_path / "deep" / "er" / "study.md"
    text = render(REPORTS["study.md"].build(source), out)
    links = re.findall(r"\]\(<(.*?)>\)", text)
    assert links and all((out.parent / link).resolve().parent == source.figures.resolve() for link in links)


def test_every_figure_stands_in_a_report(source_of: SourceOf) -> None:
    source = source_of("sweep")
    assert set.union(*(figures(REPORTS[f"{stem}.md"].build(source)) for stem in HEADINGS)) == set(FIGURES)


def test_the_index_shows_the_figures_that_no_report_shows(source_of: SourceOf) -> None:
    source = source_of("sweep")
    report = index.build(source, [REPORTS["study.md"]])
    (more,) = [section for section in report.sections if section.title == "More figures"]
    shown = figures(REPORTS["study.md"].build(source))
    names = [block.name for block in more.blocks if isinstance(block, Figure)]
    assert names == [name for name in FIGURES if name not in shown] and "edq" in names
    whole = REPORTS["index.md"].build(source)
    assert not [section for section in whole.sections if section.title == "More figures"]


@pytest.mark.parametrize("name", [name for name in REPORTS if name.endswith(".html")])
def test_pages_stand_alone(source_of: SourceOf, name: str) -> None:
    text, page = page_of(source_of("tuned"), name)
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert all(str(image["src"]).startswith("data:image/svg+xml;base64,") and image["alt"] for image in images)
    assert not [tag for tag, attrs in page.tags if tag in ("link", "iframe") or (tag == "script" and "src" in attrs)]
    assert not re.findall(r"url\(|@import|https?://", re.sub(r"base64,\S+", "", text))


def test_headings_of_tables_are_buttons(source_of: SourceOf) -> None:
    _, page = page_of(source_of("tuned"), "study.html")
    heads = sum(tag == "th" for tag, _ in page.tags)
    assert heads == sum(tag == "button" and attrs == {"type": "button"} for tag, attrs in page.tags) > 50
    cells = [attrs for tag, attrs in page.tags if tag == "td"]
    assert cells and all("data-order" in attrs for attrs in cells)


def named(source: Source, text: str) -> Source:
    """Return the source with `text` as the study's title and as the device's name."""
    frames = {name: source.tables[name] for name in (*ANALYSIS_TABLES, *STATISTICS)}
    study = frames["study"].copy()
    study.loc[study["key"] == "title", "value"] = json.dumps(text)
    runs = frames["runs"].assign(device=text)
    return Source(Tables.of({**frames, "study": study, "runs": runs}), source.figures)


@pytest.mark.parametrize("name", ["index.html", "study.html", "sweet_spot.md"])
@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "A | B *c* _d_ [e](f)"])
def test_names_are_printed_as_they_stand(source_of: SourceOf, text: str, name: str) -> None:
    rendered, page = page_of(named(source_of("one seed"), text), name)
    assert "".join(page.words).count(text) >= 2
    assert "<script>alert" not in rendered


def test_an_undefined_name_in_a_template_is_an_error() -> None:
    for suffix in SUFFIXES:
        with pytest.raises(jinja2.UndefinedError):
            rendering._environment(suffix).from_string("{{ report.nothing }}").render(report=object())


def test_an_unknown_report_is_refused(source_of: SourceOf) -> None:
    with pytest.raises(ReportError, match=r"'notes.md' is not a report. Name the file one of index.md, index.html, st"):
        write_reports(Path("notes.md"), source_of("empty").tables, Path("figures"))


def test_a_missing_figure_is_refused_and_an_old_report_stays(source_of: SourceOf, tmp_path: Path) -> None:
    out = tmp_path / "sweet_spot.md"
    out.write_text("old")
    with pytest.raises(ReportError, match=r"layer_heatmap.svg: the figure is missing. Draw it with altgrad plot"):
        write_reports(out, source_of("empty").tables, tmp_path / "none")
    assert out.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["sweet_spot.md"]


def test_the_same_tables_give_the_same_bytes_alone_and_with_the_others(source_of: SourceOf, tmp_path: Path) -> None:
    source = source_of("tuned")
    write_reports(tmp_path / "all", source.tables, source.figures)
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == sorted(REPORTS)
    for name in ("study.md", "study.html", "index.html"):
        write_reports(tmp_path / "one" / name, source.tables, source.figures)
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()


@pytest.mark.parametrize("name", REPORTS)
def test_the_answer_comes_first_and_provenance_is_there(source_of: SourceOf, name: str) -> None:
    source = source_of("sweep")
    _, page = page_of(source, name)
    words = " ".join("".join(page.words).split())
    before, found, _ = words.partition(REPORTS[name].build(source).answer.text)
    assert found and len(re.sub(r"[^}]*}\s", "", before)) < 200
    for fact in ("abc123", "Test CPU", "CC-BY-4.0", "SYNTHETIC", "torch 2.13.0", source.info.config_hash[:16]):
        assert fact in words, fact
