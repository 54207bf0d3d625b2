"""What limits every answer of a study, whichever report it stands in."""

from collections import Counter

import pandas as pd

from altgrad.analysis.cells import cell_key, scored_runs
from altgrad.analysis.run_folders import INCLUDED
from altgrad.analysis.run_tables import MISSING
from altgrad.analysis.study_info import StudyInfo
from altgrad.analysis.tables import Tables, records
from altgrad.reporting.evidence_links import cell_name
from altgrad.reporting.source import Source
from altgrad.reporting.text import counted, difference, listed

LUCKY = 0.05
"""Evaluated seeds that end higher than those of tuning by more than this share: the rate was a lucky choice."""


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
    found = [_tuning_caveat(cells[cells["chosen"]]), _luck_caveat(source)]
    missing = int((runs["status"] == MISSING).sum())
    if missing:
        found.append(f"{missing} of {info.planned_runs} planned runs are missing.")
    scored = scored_runs(runs)
    diverged = scored[scored["status"] == "diverged"]
    if len(diverged):
        where = Counter(map(cell_key, records(diverged)))
        names = listed(f"{cell_name(key)} ({number})" for key, number in where.items())
        found.append(
            f"{counted(len(diverged), 'run')} diverged, in {names}; each counts with the loss of a model that knows"
            f" nothing, ln(vocabulary size), and none is left out."
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


def _tuning_caveat(chosen: pd.DataFrame) -> str:
    """Return how the cells' learning rates were found, and what is wrong with that."""
    tuned, single = chosen["tuned"], ~chosen["tuned"] & (chosen["lrs"] == 1)
    total, listed = len(chosen), int((~tuned & ~single).sum())
    if not total:
        return ""
    if single.all():
        return (
            "Every cell was run at a single learning rate. Nothing was tuned: a difference between updates may only"
            " say which of them that rate suits."
        )
    parts = []
    if tuned.any():
        where = "Each cell's" if tuned.all() else f"In {int(tuned.sum())} of {total} cells the"
        parts.append(f"{where} learning rate was tuned on seeds that are not among those reported.")
    if listed:
        where = "Each cell's" if listed == total else f"In {listed} of {total} cells the"
        parts.append(
            f"{where} learning rate is the best of those run, chosen on the seeds that are reported here: losses are"
            f" therefore a little optimistic."
        )
    if single.any():
        parts.append(f"{int(single.sum())} of {total} cells were run at one rate only.")
    edge = int(((chosen["lrs"] > 1) & chosen["lr_at_edge"]).sum())
    if edge:
        parts.append(
            f"In {edge} of {total} cells the best stands at or near the edge of the rates that were tried (marked *): a"
            f" better one may lie beyond."
        )
    return " ".join(parts)


def _luck_caveat(source: Source) -> str:
    """Return in which cells the rate did well by the seeds of tuning alone: there, another one may do better."""
    higher = {key: cell["mean"] - source.tuned_score(key) for key, cell in source.cells.items()}
    lucky = {key: by for key, by in higher.items() if by > LUCKY * source.tuned_score(key)}
    if not lucky:
        return ""
    names = listed(f"{cell_name(key)} ({difference(by).text})" for key, by in lucky.items())
    return (
        f"In {len(lucky)} of {len(source.cells)} cells the evaluated seeds ended more than {LUCKY:.0%} higher than"
        f" those of tuning at the same rate, in nats: {names}. Tuning was lucky there: another rate may be better, and"
        f" comparisons with these cells may be about a poorly chosen one."
    )
