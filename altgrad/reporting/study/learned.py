"""What was learned from context: how far below a model of pairs of tokens every cell ends."""

from altgrad.analysis.cells import Key
from altgrad.analysis.layers import ALL
from altgrad.reporting.document import Block, Paragraph, Section
from altgrad.reporting.evidence_links import cell_target
from altgrad.reporting.source import Source
from altgrad.reporting.study.answer import OVERALL
from altgrad.reporting.text import Cell, Grid, difference, grid, linked, nats, word


def section(source: Source) -> Section:
    """Return what the cells of the primary comparison learned beyond pairs of tokens."""
    info = source.info
    if info.bigram_loss is None:
        return Section("What was learned from context", (Paragraph("The losses of n-grams were not computed."),))
    what = (
        f"A model that only counts which token follows which (bigrams of all training text, smoothed by Witten and"
        f" Bell's method) has a loss of {nats(info.bigram_loss).text} nats on the text of evaluation, one that counts"
        f" single tokens {nats(info.unigram_loss or 0.0).text}. What a run gains below the former it learned from"
        f" further back. {_baseline(source, info.bigram_loss)}"
    )
    blocks: tuple[Block, ...] = (Paragraph(what), learned_grid(source))
    return Section("What was learned from context", blocks)


def learned_grid(source: Source) -> Grid:
    """Return how many nats below bigrams each cell of the primary comparison ends, one row a format."""
    keys = _columns(source)
    rows = [
        (word(name), *(_below(source, (name, *place, ALL)) for place in keys))
        for name in source.in_format_order(key[0] for key in source.cells)
        if any((name, *place, ALL) in source.cells for place in keys)
    ]
    return grid(("format", *(f"{update}, {storage}" for update, storage in keys)), rows, "No run has ended.")


def _columns(source: Source) -> list[tuple[str, str]]:
    return [(update, storage) for storage in OVERALL for update in source.compared]


def _gain(source: Source, key: Key) -> float:
    """Return how far below bigrams a cell ends, in nats; NaN where it has no runs."""
    cell, bigram = source.cells.get(key), source.info.bigram_loss
    return float("nan") if cell is None or bigram is None else bigram - cell["mean"]


def _below(source: Source, key: Key) -> Cell:
    cell = difference(_gain(source, key))
    return linked(cell, cell_target(key)) if key in source.cells else Cell("not run", float("inf"))


def _baseline(source: Source, bigram: float) -> str:
    """Return what the baseline learned."""
    name = source.info.baseline_format
    own = [cell["mean"] for key, cell in source.cells.items() if key[0] == name]
    if not own:
        return ""
    gain = bigram - min(own)
    did = f"gains {nats(gain).text} nats there" if gain > 0 else f"itself ends {nats(-gain).text} nats above it"
    return f"The {name} baseline {did}."
