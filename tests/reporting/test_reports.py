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
from altgrad.reporting import render as rendering
from altgrad.reporting.catalog import REPORTS
from altgrad.reporting.page import Source
from altgrad.reporting.render import render, write_report
from altgrad.schema import ANALYSIS_TABLES, STATISTICS
from tests.reporting.conftest import SourceOf

MARKDOWN = [name for name in REPORTS if name.endswith(".md")]
STUDY_NAMES = ["sweep", "layers", "one seed", "all diverged", "empty"]
VOID = {"meta", "img", "br", "link", "hr", "input"}

# A new report is a row here: a heading that it must have.
HEADINGS = {
    "sweet_spot.md": "Best of each layer type",
    "failure_modes.md": "First failure at the chosen learning rate",
    "manifold_vs_standard.md": "Benefit, by storage and format",
    "TEST_MATRIX.md": "Combinations",
    "index.html": "Figures",
}


class Page(HTMLParser):
    """Collects a page's tags, and fails where they do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def rows(self) -> int:
        return sum(tag == "tr" for tag, _ in self.tags)


def markdown(text: str) -> Page:
    return Page(MarkdownIt("gfm-like", {"linkify": False}).render(text))


def test_every_report_has_a_row() -> None:
    assert set(HEADINGS) == set(REPORTS)


@pytest.mark.parametrize("study", STUDY_NAMES)
@pytest.mark.parametrize("name", HEADINGS)
def test_every_report_of_every_study_is_valid(source_of: SourceOf, name: str, study: str) -> None:
    source = source_of(study, name)
    text = render(source)
    page = Page(text) if name.endswith(".html") else markdown(text)
    assert HEADINGS[name] in "".join(page.words)
    assert "nan" not in re.findall(r"[a-z]+", html.unescape(re.sub(r"base64,\S+", "", text)))
    assert "None" not in text and "{{" not in text
    if name.endswith(".md"):
        assert "|" not in re.sub(r"`[^`]*`", "", "".join(w for w in page.words)).replace("|W - q(W)|", "")


@pytest.mark.parametrize("name", MARKDOWN)
def test_tables_keep_their_columns(source_of: SourceOf, name: str) -> None:
    page = markdown(render(source_of("sweep", name)))
    widths: list[int] = []
    for tag, _ in page.tags:
        if tag == "tr":
            widths.append(0)
        elif tag in ("td", "th"):
            widths[-1] += 1
    source = source_of("sweep", name)
    content = REPORTS[name].build(source)
    grids = [value for value in vars(content).values() if hasattr(value, "columns")]
    grids += [content.page.formats, content.page.provenance]
    expected = sorted(len(g.columns) for g in grids if g.rows for _ in range(1 + len(g.rows)))
    assert sorted(widths) == expected


@pytest.mark.parametrize("name", MARKDOWN)
def test_figures_are_linked_relative_to_the_report(source_of: SourceOf, name: str) -> None:
    source = source_of("sweep", name)
    links = [attrs["src"] for tag, attrs in markdown(render(source)).tags if tag == "img"]
    assert links == [f"figures/{figure}.svg" for figure in dict.fromkeys(Path(str(link)).stem for link in links)]
    assert all((source.out.parent / str(link)).is_file() for link in links)


def test_links_lead_from_a_folder_elsewhere(source_of: SourceOf, tmp_path: Path) -> None:
    source = source_of("sweep", "failure_modes.md")
    moved = Source(source.tables, source.figures, tmp_path / "deep" / "er" / "failure_modes.md")
    assert (moved.out.parent / moved.figure("benefit").link).resolve() == (source.figures / "benefit.svg").resolve()


def test_index_stands_alone(source_of: SourceOf) -> None:
    page = Page(render(source_of("sweep", "index.html")))
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == len(FIGURES)
    assert all(str(image["src"]).startswith("data:image/svg+xml;base64,") and image["alt"] for image in images)
    assert not [tag for tag, attrs in page.tags if tag in ("link", "iframe") or (tag == "script" and "src" in attrs)]
    links = [str(attrs["href"]) for tag, attrs in page.tags if tag == "a"]
    ids = [f"#{attrs['id']}" for _, attrs in page.tags if "id" in attrs]
    assert len(links) == len(MARKDOWN) + 3 and set(links) <= set(ids) and len(ids) == len(set(ids))
    assert all(sum(words.strip() == name for words in page.words) == 1 for name in MARKDOWN)
    assert page.rows() > 20


def named(source: Source, text: str) -> Source:
    """Return the source with `text` as the study's title and as the device's name."""
    frames = {name: source.tables[name] for name in (*ANALYSIS_TABLES, *STATISTICS)}
    study = frames["study"].copy()
    study.loc[study["key"] == "title", "value"] = json.dumps(text)
    runs = frames["runs"].assign(device=text)
    return Source(Tables.of({**frames, "study": study, "runs": runs}), source.figures, source.out)


@pytest.mark.parametrize("name", ["index.html", "sweet_spot.md"])
@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "A | B *c* _d_ [e](f)"])
def test_names_are_printed_as_they_stand(source_of: SourceOf, text: str, name: str) -> None:
    rendered = render(named(source_of("one seed", name), text))
    page = Page(rendered) if name.endswith(".html") else markdown(rendered)
    assert "".join(page.words).count(text) >= 2
    assert "<script>alert" not in rendered


def test_an_undefined_name_in_a_template_is_an_error() -> None:
    for kind in (True, False):
        with pytest.raises(jinja2.UndefinedError):
            rendering._environment(kind).from_string("{{ page.nothing }}").render(page=object())


def test_an_unknown_report_is_refused(source_of: SourceOf) -> None:
    with pytest.raises(ReportError, match=r"'notes.md' is not a report. Name the file one of sweet_spot.md, failure"):
        render(source_of("empty", "notes.md"))


def test_a_missing_figure_is_refused_and_an_old_report_stays(source_of: SourceOf, tmp_path: Path) -> None:
    out = tmp_path / "sweet_spot.md"
    out.write_text("old")
    with pytest.raises(ReportError, match=r"layer_heatmap.svg: the figure is missing. Draw it with altgrad plot"):
        write_report(out, source_of("empty", "sweet_spot.md").tables, tmp_path / "none")
    assert out.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["sweet_spot.md"]


def test_the_same_tables_give_the_same_bytes(source_of: SourceOf, tmp_path: Path) -> None:
    source = source_of("sweep", "index.html")
    for folder in ("one", "two"):
        write_report(tmp_path / folder / "index.html", source.tables, source.figures)
    assert (tmp_path / "one/index.html").read_bytes() == (tmp_path / "two/index.html").read_bytes()


@pytest.mark.parametrize("name", HEADINGS)
def test_the_answer_comes_first_and_provenance_is_there(source_of: SourceOf, name: str) -> None:
    source = source_of("sweep", name)
    text = render(source)
    page = REPORTS[name].build(source).page
    page_words = "".join((Page(text) if name.endswith(".html") else markdown(text)).words)
    before = page_words.split(page.answer)[0]
    assert len(re.sub(r"[^}]*}\s", "", before)) < 200
    for fact in ("abc123", "Test CPU", "CC-BY-4.0", "SYNTHETIC", "torch 2.13.0", source.info.config_hash[:16]):
        assert fact in page_words, fact
