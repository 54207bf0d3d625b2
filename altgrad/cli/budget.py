"""`altgrad budget`: what a study costs, before anything is launched."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from altgrad.study.budget import Bound, Cost, Estimate, Pace
    from altgrad.study.config import StudyConfig

_COLUMNS = ("part", "storages", "updates", "layers", "arms", "runs", "tokens", "FLOPs", "hours", "USD")
_AT_MOST = ("at most: runs", "hours", "USD")
# Wide enough for every column, where no terminal sets the width.
_FILE_WIDTH = 200
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


def budget(
    files: Annotated[list[str], typer.Argument(help="config.yaml, then overlays, as in Snakemake's --configfile.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE: what if it were, for example training.steps=1000; repeatable."),
    ] = None,
    tokens_per_s: Annotated[
        float | None, typer.Option(help="Training tokens a second of one run, in place of the config's.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure on this device, though the config states a throughput.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the numbers to this file.")] = None,
) -> None:
    """Say what a study costs: runs, tokens, FLOPs, hours and US dollars, part by part, as expected and at most.

    Throughput is what the config states as budget.tokens_per_s; where it states none, some steps of each kind of cell
    are trained here and timed, on made-up tokens. An estimate above budget.usd ends with an error and exit status 2.

    \b
    Values of --set are JSON, or else text; lists count from 0:
      --set grids.0.seeds=[1,2,3] --set tuning.max_lrs=10 --set training.device=cpu
    """  # noqa: D301 (click reads the backspace character: keep these lines)
    import json
    import math

    from altgrad.errors import ConfigError
    from altgrad.study.budget import estimate, require_within
    from altgrad.study.loading import load_study

    if measure and tokens_per_s is not None:
        raise ConfigError("--measure", "it does not go with --tokens-per-s", "Give one of them")
    if tokens_per_s is not None and not 0 < tokens_per_s < math.inf:
        raise ConfigError("--tokens-per-s", f"{tokens_per_s:g} is no throughput", "Give a finite number above 0")
    study = load_study(files)
    for change in changes or ():
        study = _changed(study, change)
    found = estimate(study, _pace(study, tokens_per_s, measure))
    _print_estimate(study, found)
    if json_file is not None:
        document = {**found.as_dict(), "limit_usd": study.budget.usd}
        json_file.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    require_within(study, found)


def _pace(study: "StudyConfig", tokens_per_s: float | None, measure: bool) -> "Pace":
    """Return the pace that is given or stated, or measure it."""
    import sys

    from altgrad.study.budget import stated_pace

    if tokens_per_s is not None:
        return stated_pace(study, tokens_per_s, "given by --tokens-per-s")
    if study.budget.tokens_per_s is not None and not measure:
        return stated_pace(study, study.budget.tokens_per_s, "stated in budget.tokens_per_s")
    from altgrad.training.calibration import measure_pace

    return measure_pace(study, say=lambda message: print(message, file=sys.stderr, flush=True))


def _changed(study: "StudyConfig", change: str) -> "StudyConfig":
    """Return a study with the value at a dotted key replaced."""
    import json

    from altgrad.errors import ConfigError
    from altgrad.study.config import StudyConfig
    from altgrad.study.loading import parse

    key, equals, text = change.partition("=")
    if not equals:
        raise ConfigError(f"--set {change}", "it has no value", "Give KEY=VALUE, for example training.steps=1000")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    data: dict[str, Any] = study.model_dump(mode="json")
    section: Any = data
    *above, last = (int(part) if part.isdecimal() else part for part in key.split("."))
    try:
        for part in above:
            section = section[part]
        if not isinstance(section, dict):
            section[last]  # a list has no item that is not there already
        section[last] = value
    except (IndexError, KeyError, TypeError):
        raise ConfigError(f"--set {key}", "the study has no such section", "Name a key of its config") from None
    return parse(StudyConfig, data, lambda _: "--set")


def _print_estimate(study: "StudyConfig", found: "Estimate") -> None:
    from altgrad.study.budget import STAGES, tokens_a_step

    training, tokens = study.training, tokens_a_step(study)
    print(f"{study.study}: {study.title}")
    print(
        f"Model: {_short(found.parameters)} parameters, {_short(found.flops_per_token)} FLOPs a token. "
        f"A run: {training.steps} steps of {tokens} tokens, {_short(training.steps * tokens)} in all."
    )
    print(_words_on_tuning(study, found))
    _print_pace(study, found)
    print()
    rows: list[Sequence[str]] = []
    for stage in STAGES:
        parts = [part for part in found.parts if part.stage == stage]
        for part in parts:
            names = (", ".join(part.storages), ", ".join(part.updates), ", ".join(part.layers))
            rows.append((f"{stage}, {part.block}", *names, str(part.arms), *_amounts(found, part.costs)))
        if parts:
            totals = {bound: found.total(bound, stage) for bound in parts[0].costs}
            rows.append((f"{stage}, all", "", "", "", str(sum(part.arms for part in parts)), *_amounts(found, totals)))
    total = {bound: found.total(bound) for bound in found.parts[0].costs}
    rows.append(("all", "", "", "", "", *_amounts(found, total)))
    _print_table((*_COLUMNS, *_AT_MOST), rows, left=4)
    usd = {bound: found.usd(cost) for bound, cost in total.items()}
    limit = "no limit is set" if study.budget.usd is None else f"{study.budget.usd:.2f} are allowed"
    print(f"\nUS dollars: {usd['expected']:.2f} expected, {usd['most']:.2f} at most; {limit}.")


def _words_on_tuning(study: "StudyConfig", found: "Estimate") -> str:
    from altgrad.study.budget import EXPECTED_EXTENSION

    rule = study.tuning
    if rule is None or all(part.stage != "tuning" for part in found.parts):
        return "Tuning: none."
    return (
        f"Tuning: a cell tries {rule.start} to {rule.max_lrs} learning rates, "
        f"{min(rule.max_lrs, rule.start + EXPECTED_EXTENSION)} expected; seeds for each: {len(rule.seeds)}."
    )


def _print_pace(study: "StudyConfig", found: "Estimate") -> None:
    from altgrad.study.budget import tokens_a_step

    section, pace = study.budget, found.pace
    rates = {kind: _three(tokens_a_step(study) / one.step_s) for kind, one in pace.kinds.items()}
    one_for_all = len({*pace.kinds.values()}) == 1
    print(
        f"Pace: {min(rates.values()):,.0f} tokens/s{'' if one_for_all else ' in the slowest kind of cell'}, "
        f"{pace.source}; {pace.job_s:.3g} s to start a job, {section.run_overhead_s:g} s a run beside steps and "
        f"validations (stated). {section.jobs} at a time, {section.usd_per_hour:g} US dollars an hour."
    )
    if not one_for_all:
        rows = [
            (kind, f"{rates[kind]:,.0f}", f"{1000 * one.step_s:.3g}", f"{one.validation_s:.3g}")
            for kind, one in pace.kinds.items()
        ]
        print(f"To state it: budget: {{tokens_per_s: {min(rates.values()):.0f}, job_overhead_s: {pace.job_s:.3g}}}\n")
        _print_table(("kind of cell", "tokens/s", "ms a step", "s a validation"), rows, left=1)


def _amounts(found: "Estimate", costs: "Mapping[Bound, Cost]") -> tuple[str, ...]:
    """Return the cells of a row: what is expected, and what it is at most."""
    expected, most = costs["expected"], costs["most"]
    numbers = (str(expected.runs), _short(expected.tokens), _short(expected.flops))
    return (*numbers, *_price(found, expected), str(most.runs), *_price(found, most))


def _price(found: "Estimate", cost: "Cost") -> tuple[str, str]:
    return f"{_three(found.hours(cost)):,g}", f"{found.usd(cost):.2f}"


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> None:
    """Print a table; so many columns are aligned to the left, numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(table)


def _three(number: float) -> float:
    """Return a number rounded to three digits."""
    return float(f"{number:.3g}")


def _short(number: float) -> str:
    """Return a number to three digits with its prefix: 16.4M."""
    rank = 0
    while number >= 999.5 and rank < len(_PREFIXES) - 1:
        number, rank = number / 1000, rank + 1
    return f"{number:.3g}{_PREFIXES[rank]}"
