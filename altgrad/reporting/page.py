"""What every report has: what it stands on, how far it may be trusted, its formats and its figures."""

import base64
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from altgrad.analysis.cells import scored_runs
from altgrad.analysis.comparisons import DID_STORAGE
from altgrad.analysis.run_folders import INCLUDED
from altgrad.analysis.run_tables import MISSING
from altgrad.analysis.study_info import StudyInfo, from_frame
from altgrad.analysis.tables import Row, Tables, records
from altgrad.errors import ReportError
from altgrad.figures.catalog import find_figure
from altgrad.figures.style import STORAGE_ORDER, Encoding, in_order, number_words
from altgrad.reporting.text import Grid, counted, grid, listed, word
from altgrad.reporting.text import count as count_cell

STORAGES = (*STORAGE_ORDER, DID_STORAGE)
"""The order in which storages are reported."""


@dataclass(frozen=True)
class FigureLink:
    """A figure as a report shows it.

    Attributes:
        name: Its name in the catalog.
        title: Its title.
        caption: What is said under it.
        link: Its SVG, relative to the report.
        data: The SVG as a data URI, for a report that stands alone; empty elsewhere.
    """

    name: str
    title: str
    caption: str
    link: str
    data: str


@dataclass(frozen=True)
class Source:
    """What a report is made from.

    Attributes:
        tables: The study's tables and statistics.
        figures: The folder of its figures.
        out: The report's file.
    """

    tables: Tables
    figures: Path
    out: Path

    @cached_property
    def info(self) -> StudyInfo:
        """The study."""
        return from_frame(self.tables["study"])

    @cached_property
    def encoding(self) -> Encoding:
        """The order of formats and updates, the same as in the figures."""
        return Encoding.of(self.tables)

    def figure(self, name: str, inline: bool = False) -> FigureLink:
        """Return a figure of the catalog.

        Args:
            name: Its name.
            inline: Whether its SVG is to stand in the report itself.

        Raises:
            ReportError: Its file is missing.
        """
        spec, path = find_figure(name), self.figures / f"{name}.svg"
        if not path.is_file():
            raise ReportError(str(path), "the figure is missing", "Draw it with altgrad plot")
        data = base64.b64encode(path.read_bytes()).decode() if inline else ""
        return FigureLink(
            name=name,
            title=spec.title,
            caption=spec.caption(self.tables),
            link=Path(os.path.relpath(path, self.out.parent)).as_posix(),
            data=f"data:image/svg+xml;base64,{data}" if inline else "",
        )

    def ordered(self, data: pd.DataFrame) -> list[Row]:
        """Return a table's rows by update, storage and format, in the figures' order."""
        formats = list(self.encoding.labels)  # every format, references last
        storages = in_order(data["storage"], STORAGES)
        updates = self.encoding.updates
        rows = records(data)
        rows.sort(key=lambda r: (updates.index(r["update"]), storages.index(r["storage"]), formats.index(r["format"])))
        return rows


@dataclass(frozen=True)
class Page:
    """What every report has.

    Attributes:
        title: Its heading.
        study: The study's title.
        answer: The answer in plain words, first of all.
        demonstration: The sentence that says that the study is a demonstration; empty where it is more.
        caveats: What limits the answer.
        formats: Every format that occurs, with bias and max.
        provenance: What the numbers stand on.
        figures: Figures by name.
    """

    title: str
    study: str
    answer: str
    demonstration: str
    caveats: tuple[str, ...]
    formats: Grid
    provenance: Grid
    figures: dict[str, FigureLink]


def demonstration(info: StudyInfo, seeds: int) -> str:
    """Return the sentence that says that the study is a demonstration, or nothing where it is more.

    Args:
        info: The study.
        seeds: The most paired seeds that any comparison has.
    """
    if seeds >= info.min_seeds and info.steps >= info.min_steps:
        return ""
    return (
        f"This is a demonstration: {counted(seeds, 'paired seed')} and {counted(info.steps, 'step')} a run, where a"
        f" verdict asks for at least {info.min_seeds} seeds and {info.min_steps} steps. It shows that the pipeline"
        f" works; its numbers answer nothing about the formats."
    )


def paired_seeds(tables: Tables) -> int:
    """Return the most paired seeds that any comparison has."""
    comparisons = tables["comparisons"]
    return int(comparisons["n"].max()) if len(comparisons) else 0


def caveats(source: Source) -> tuple[str, ...]:
    """Return what limits every answer of the study."""
    runs, cells, info = source.tables["runs"], source.tables["cells"], source.info
    found = [_tuning_caveat(cells)]
    missing = int((runs["status"] == MISSING).sum())
    if missing:
        found.append(f"{missing} of {info.planned_runs} planned runs are missing.")
    diverged = int((scored_runs(runs)["status"] == "diverged").sum())
    if diverged:
        found.append(
            f"{counted(diverged, 'run')} diverged; each counts with the loss of a model that knows nothing,"
            f" ln(vocabulary size), and none is left out."
        )
    shifted = int((runs["status"] == "shifted").sum())
    if shifted:
        found.append(
            f"{counted(shifted, 'run')} shifted the format of a tensor under way, and stand under the format that they"
            f" began with."
        )
    included = runs[runs["role"] == INCLUDED]
    if len(included):
        apart = int((~included["comparable"]).sum())
        left = f"; {apart} of them, of another model, training or corpus, enter no comparison" if apart else ""
        found.append(f"{counted(len(included), 'finished run')} from elsewhere stand beside the study's own{left}.")
    if info.synthetic:
        found.append("The corpus is synthetic text: no number here says anything about natural language.")
    return tuple(text for text in found if text)


def _tuning_caveat(cells: pd.DataFrame) -> str:
    chosen = cells[cells["chosen"]]
    if chosen.empty:
        return ""
    if (chosen["lrs"] == 1).all():
        return (
            "Every cell was run at a single learning rate. Nothing was tuned: a difference between updates may only"
            " say which of them that rate suits."
        )
    single = int((chosen["lrs"] == 1).sum())
    untuned = f" {single} of {len(chosen)} cells were run at one rate only." if single else ""
    edge = int(((chosen["lrs"] > 1) & chosen["lr_at_edge"]).sum())
    at_edge = (
        f" In {edge} of {len(chosen)} cells the best stands at the edge of the rates that were run (marked *): a"
        f" better one may lie beyond."
        if edge
        else ""
    )
    return (
        "Each cell's learning rate is the best of those run, chosen on the seeds that are reported here: losses are"
        f" therefore a little optimistic.{untuned}{at_edge}"
    )


def formats_grid(tables: Tables) -> Grid:
    """Return every format that occurs, with its bias and max."""
    columns = ("format", "E", "M", "bias", "max", "smallest positive", "range (bits)", "values", "defined by")
    rows = (
        (
            word(row["format"]),
            count_cell(row["exponent_bits"]),
            count_cell(row["mantissa_bits"]),
            count_cell(row["bias"]),
            word(number_words(row["max"])),
            word(number_words(row["smallest_subnormal"])),
            word(f"{row['range_bits']:.1f}"),
            count_cell(row["num_values"]),
            word(row["source"]),
        )
        for row in records(tables["formats"])
    )
    return grid(columns, rows, "No format occurs.")


def provenance(source: Source) -> Grid:
    """Return what the numbers stand on."""
    runs, info = source.tables["runs"], source.info
    ended = runs[runs["status"] != MISSING]
    planned, status = ended[ended["role"] != INCLUDED], scored_runs(runs)["status"].value_counts().sort_index()
    rows = [
        ("study", f"{info.study}, config {info.config_hash[:16]}"),
        ("runs", f"{len(planned)} of {info.planned_runs} planned and {len(ended) - len(planned)} included"),
        ("status", listed(f"{number} {name}" for name, number in status.items()) if len(status) else "none"),
        ("model", f"{info.model}; {_distinct(ended['parameters'].dropna().astype(int))} parameters"),
        ("training", f"{info.steps} steps, {info.tokens_per_run:,} tokens a run; revision {info.revision}"),
        ("switched on", listed(info.features) or "nothing"),
        ("corpus", _corpus(info)),
        ("corpus fingerprint", _distinct(ended["corpus_fingerprint"].str[:16])),
        ("device", _distinct(ended["device"])),
        ("versions", _versions(ended["versions"])),
        ("git revision", _distinct(ended["git_revision"])),
        ("seeds", _distinct(ended["seed"])),
    ]
    return grid(("what", "value"), ((word(name), word(value)) for name, value in rows), "")


def _corpus(info: StudyInfo) -> str:
    size = f"{info.train_tokens:,} training and {info.val_tokens:,} validation tokens" if info.train_tokens else ""
    kind = {"synthetic": "SYNTHETIC text, made by a generator", "eurlex": "EU legislation (EurLex)"}
    parts = [
        f"{info.corpus}: {kind.get(info.corpus_source, 'text files')}",
        f"licence {info.corpus_licence}",
        f"upstream revision {info.corpus_revision}" if info.corpus_revision else "",
        f"{info.tokenizer} tokens" + (f", {size}" if size else ""),
    ]
    return "; ".join(part for part in parts if part)


def _distinct(values: Iterable[object]) -> str:
    """Return distinct values as a list, or how many there are where they are many."""
    found = list(dict.fromkeys(str(value) for value in values))
    return ", ".join(found) if 0 < len(found) <= 12 else (f"{len(found)} different" if found else "none")


def _versions(texts: Iterable[str]) -> str:
    found: dict[str, set[str]] = {}
    for text in dict.fromkeys(texts):
        for name, version in json.loads(text).items():
            found.setdefault(name, set()).add(version)
    return ", ".join(f"{name} {' / '.join(sorted(versions))}" for name, versions in sorted(found.items())) or "none"


def make_page(source: Source, title: str, answer: str, figures: Iterable[str], inline: bool = False) -> Page:
    """Return what every report has.

    Args:
        source: What it is made from.
        title: Its heading.
        answer: The answer in plain words.
        figures: Names of the figures that it shows.
        inline: Whether they are to stand in the report itself.
    """
    return Page(
        title=title,
        study=source.info.title,
        answer=answer,
        demonstration=demonstration(source.info, paired_seeds(source.tables)),
        caveats=caveats(source),
        formats=formats_grid(source.tables),
        provenance=provenance(source),
        figures={name: source.figure(name, inline) for name in figures},
    )
