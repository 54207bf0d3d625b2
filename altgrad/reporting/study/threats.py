"""What the study cannot say: what was not varied, what was simulated, and what the tables show to be weak."""

from altgrad.analysis.run_folders import INCLUDED
from altgrad.analysis.run_tables import MISSING
from altgrad.reporting.caveats import paired_seeds
from altgrad.reporting.document import Bullets, Section
from altgrad.reporting.page import distinct
from altgrad.reporting.source import Source
from altgrad.reporting.text import counted, listed

CASTS = {"input": "inputs of layers", "grad_output": "gradients of layers' outputs"}


def section(source: Source) -> Section:
    """Return the threats to validity, those that hold for this study alone."""
    found = (*_deviations(source), *_scale(source), *_formats(source), *_learning_rates(source), *_runs(source))
    return Section("Threats to validity", (Bullets(tuple(text for text in found if text)),))


def _deviations(source: Source) -> list[str]:
    """Return what was changed after results were seen, as the study's config says it."""
    return [f"Changed after results were seen: {text}" for text in source.info.deviations]


def _scale(source: Source) -> list[str]:
    info, runs = source.info, source.tables["runs"]
    ended = runs[runs["status"] != MISSING]
    seen = f", of {info.train_tokens:,} in the corpus" if info.train_tokens else ""
    return [
        f"Small models: {distinct(ended['parameters'].dropna().astype(int))} parameters, one shape, {info.steps} steps"
        f" and {info.tokens_per_run:,} tokens a run{seen}. Whether it holds for larger models or longer training is not"
        f" tested.",
        f"One corpus, {info.corpus}" + (", and synthetic: it is no natural language." if info.synthetic else "."),
        f"Few seeds: {paired_seeds(source.tables)} at the most. Intervals are about seeds of this study, not about"
        f" other models or data.",
    ]


def _formats(source: Source) -> list[str]:
    runs, info = source.tables["runs"], source.info
    devices = runs.loc[runs["status"] != MISSING, "device"]
    uncast = [words for name, words in CASTS.items() if name not in info.features]
    stochastic = "stochastic" in set(runs["storage"])
    return [
        "Simulated formats: weights take the format's values, and products are computed in a wider one"
        + (", on a CPU." if len(devices) and devices.str.startswith("cpu").all() else ".")
        + " Hardware that computes in the format itself is not tested.",
        f"Only weights are in the format: {listed(uncast)} are not cast." if uncast else "",
        "Under stochastic rounding, arms of a seed draw the same numbers for the same places, but round other values"
        " with them: differences there spread more for it."
        if stochastic
        else "",
        "Runs whose tensors changed their format under way stand under the format that they began with."
        if (runs["status"] == "shifted").any()
        else "",
    ]


def _learning_rates(source: Source) -> list[str]:
    cells, trials = list(source.cells.values()), source.tables["trials"]
    tuned = [cell for cell in cells if cell["tuned"]]
    single = sum(not cell["tuned"] and cell["lrs"] == 1 for cell in cells)
    same = len(cells) - len(tuned) - single
    edge = sum(map(source.at_edge, source.cells))
    seeds = trials["seed"].nunique()
    return [
        f"Learning rates of {counted(len(tuned), 'cell')} were chosen by {counted(seeds, 'seed')} each: a rate that is"
        f" a little off costs one arm of a comparison more than another, by the same for every evaluated seed. More"
        f" seeds do not help against that; docs/statistics.md has its size."
        if tuned
        else "",
        "Tuning and evaluation have other seeds and the same validation text: what suits that text in particular is in"
        " both."
        if tuned
        else "",
        f"Learning rates of {counted(same, 'cell')} were chosen on the seeds that are reported." if same else "",
        f"{counted(single, 'cell').capitalize()} ran at a single learning rate, which was not chosen at all."
        if single
        else "",
        f"In {edge} of {len(cells)} cells the best learning rate stands at or near the edge of those tried."
        if edge
        else "",
    ]


def _runs(source: Source) -> list[str]:
    runs, info = source.tables["runs"], source.info
    ended = runs[runs["status"] != MISSING]
    missing = len(runs) - len(ended)
    included = int((ended["role"] == INCLUDED).sum())
    archived = int(ended["archived"].sum())
    several = {
        name: distinct(ended[column])
        for name, column in (("devices", "device"), ("git revisions", "git_revision"), ("sets of versions", "versions"))
        if ended[column].nunique() > 1
    }
    same = " The revision of the training is the same." if ended["revision"].nunique() == 1 else ""
    mixed = [f"{name} ({values})" if name != "sets of versions" else name for name, values in several.items()]
    return [
        f"{missing} of {info.planned_runs} planned runs are missing; what they would say is not known."
        if missing
        else "",
        f"{counted(archived, 'run')} came from an archive: their losses and counts are whole, their curves have few"
        f" points."
        if archived
        else "",
        f"{counted(included, 'run')} from elsewhere are among those compared or listed." if included else "",
        f"Not all runs were made alike: they differ in {listed(mixed)}.{same}" if mixed else "",
    ]
