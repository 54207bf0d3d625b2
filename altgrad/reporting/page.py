"""What every report has around its own sections: how far it may be trusted, its formats, and what it stands on."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from altgrad.analysis.cells import scored_runs
from altgrad.analysis.run_folders import INCLUDED
from altgrad.analysis.run_tables import MISSING
from altgrad.analysis.study_info import StudyInfo
from altgrad.analysis.tables import Tables, records
from altgrad.figures.style import number_words
from altgrad.reporting.caveats import caveats, demonstration, paired_seeds
from altgrad.reporting.document import Answer, Report, Section
from altgrad.reporting.source import Source
from altgrad.reporting.text import Grid, grid, listed, word
from altgrad.reporting.text import count as count_cell


@dataclass(frozen=True)
class ReportSpec:
    """A report: what its files are called, what it is about, and what builds its content.

    Attributes:
        stem: Its files' name without the suffix.
        title: What links to it say.
        question: What it answers.
        build: Builds its content.
    """

    stem: str
    title: str
    question: str
    build: Callable[[Source], Report]


def make_report(source: Source, title: str, answer: Answer, sections: Iterable[Section]) -> Report:
    """Return a report: its answer and its own sections, with what every report has around them.

    Args:
        source: What it is made from.
        title: Its heading.
        answer: The answer in plain words.
        sections: Its own sections.
    """
    foot = (Section("Formats", (formats_grid(source.tables),)), Section("Provenance", (provenance(source),)))
    return Report(
        title=title,
        study=source.info.title,
        answer=answer,
        demonstration=demonstration(source.info, paired_seeds(source.tables)),
        caveats=caveats(source),
        sections=(*sections, *foot),
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
        ("tuning trials", f"{len(source.tables['trials']):,}"),
        ("model", f"{info.model}; {distinct(ended['parameters'].dropna().astype(int))} parameters"),
        ("training", f"{info.steps} steps, {info.tokens_per_run:,} tokens a run; revision {info.revision}"),
        ("switched on", listed(info.features) or "nothing"),
        ("corpus", corpus_words(info)),
        ("corpus fingerprint", distinct(ended["corpus_fingerprint"].str[:16])),
        ("device", distinct(ended["device"])),
        ("versions", _versions(ended["versions"])),
        ("git revision", distinct(ended["git_revision"])),
        ("seeds", distinct(ended["seed"])),
    ]
    return grid(("what", "value"), ((word(name), word(value)) for name, value in rows), "")


def corpus_words(info: StudyInfo) -> str:
    """Return what the corpus is, with its licence and its size."""
    size = f"{info.train_tokens:,} training and {info.val_tokens:,} validation tokens" if info.train_tokens else ""
    kind = {"synthetic": "SYNTHETIC text, made by a generator", "eurlex": "EU legislation (EurLex)"}
    parts = [
        f"{info.corpus}: {kind.get(info.corpus_source, 'text files')}",
        f"licence {info.corpus_licence}",
        f"upstream revision {info.corpus_revision}" if info.corpus_revision else "",
        f"{info.tokenizer} tokens" + (f", {size}" if size else ""),
    ]
    return "; ".join(part for part in parts if part)


def distinct(values: Iterable[object]) -> str:
    """Return distinct values as a list, or how many there are where they are many."""
    found = list(dict.fromkeys(str(value) for value in values))
    return ", ".join(found) if 0 < len(found) <= 12 else (f"{len(found)} different" if found else "none")


def _versions(texts: Iterable[str]) -> str:
    found: dict[str, set[str]] = {}
    for text in dict.fromkeys(texts):
        for name, version in json.loads(text).items():
            found.setdefault(name, set()).add(version)
    return ", ".join(f"{name} {' / '.join(sorted(versions))}" for name, versions in sorted(found.items())) or "none"
