"""Words that captions share: how many seeds are behind a mark, at which steps, and which part of a study is shown."""

from collections.abc import Iterable

import pandas as pd

from altgrad.analysis.study_info import StudyInfo


def seeds_words(counts: Iterable[int]) -> str:
    """Return how many seeds, for a caption: `n = 6 seeds`, or `n = 2 to 6 seeds`."""
    values = sorted(set(counts))
    if not values:
        return "n = 0 seeds"
    span = str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
    return f"n = {span} seed{'' if values == [1] else 's'}"


def means_words(counts: Iterable[int], marks: str = "lines") -> str:
    """Return what marks are means of, for a caption: each cell at its learning rate, over how many seeds."""
    return f"Each cell is at its own chosen learning rate; {marks} are means over the seeds ({seeds_words(counts)})"


def steps_words(steps: pd.Series) -> str:
    """Return at which steps, for a caption: `step 40`, or `steps 20 to 40`."""
    if steps.empty:
        return "no step"
    low, high = steps.min(), steps.max()
    return f"step {high}" if low == high else f"steps {low} to {high}"


def shown_words(data: pd.DataFrame, *columns: str) -> str:
    """Return a sentence that names what is shown of columns of which not everything is; nothing without rows."""
    places = data[list(columns)].drop_duplicates().itertuples(index=False, name=None)
    return "".join(f" Shown: {', '.join(place)}." for place in places)


def bigram_words(info: StudyInfo) -> str:
    """Return a sentence on the line of `panels.bigram_line`, for a caption; nothing where there is none."""
    if info.bigram_loss is None:
        return ""
    return (
        f" The dotted line, where in sight, is what counting pairs of tokens would give ({info.bigram_loss:.3f} nats):"
        f" what ends there is no better than that."
    )


def hollow_words(info: StudyInfo, hollow: pd.Series) -> str:
    """Return a sentence on hollow marks, for a caption; nothing where there is none.

    Args:
        info: The study, which says what a verdict asks for.
        hollow: Whether each mark carries no verdict.
    """
    least = f"{info.min_seeds} seeds or {info.min_steps} steps"
    return f" Hollow marks have fewer than {least} and carry no verdict." if hollow.any() else ""
