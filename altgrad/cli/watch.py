"""`altgrad watch`: a run that trains, on the terminal."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from altgrad.telemetry.live import LiveView, Point

_PAUSE_S = 1.0
_SPARKS = "▁▂▃▄▅▆▇█"
_ASCII_SPARKS = "_.:-=+*#"
_SPARK_WIDTH = 40
_EVENTS = 8
# Wide enough for a row, where no terminal sets the width.
_FILE_WIDTH = 100
_METRICS = {
    "train_loss": ("train loss", ".4f"),
    "val_loss": ("val loss", ".4f"),
    "stall_ratio": ("stall ratio", ".4f"),
    "flip_rate": ("flip rate", ".6f"),
    "edq": ("EDQ", ".4f"),
    "grad_norm": ("grad norm", ".4g"),
    "lr": ("learning rate", ".3g"),
}
_STYLES = {"rank_warning": "yellow", "mantissa_shift": "yellow", "nonfinite": "red", "diverged": "red"}


class Seen(NamedTuple):
    """What a run's folder shows at a moment.

    Attributes:
        folder: The run's folder.
        begun: Whether a process has begun to train it.
        view: What it shows of itself; None before the first window's end.
        summary: Its summary; None until it is finished.
    """

    folder: Path
    begun: bool
    view: "LiveView | None"
    summary: Mapping[str, Any] | None


def watch(
    run: Annotated[Path, typer.Argument(help="A run's folder, for example results/runs/RUN_ID.", show_default=False)],
    once: Annotated[bool, typer.Option("--once", help="Print the state as it is now, and end.")] = False,
) -> None:
    """Show a run while it trains: losses, speed, time left, stalls, flips and events.

    It ends with the run; Ctrl-C ends it before, and the run goes on. Where the output is no terminal, it prints the
    state once.
    """
    import sys

    from rich.console import Console

    console = Console()
    try:
        if once or not sys.stdout.isatty():
            if not sys.stdout.isatty():
                console.width = _FILE_WIDTH
            console.print(draw(look(run), console.options.ascii_only), soft_wrap=True)
        else:
            follow(run, console)
    except KeyboardInterrupt:
        pass  # the user has seen enough


def follow(run: Path, console: "Console") -> None:
    """Show a run's state, again each second, until it is finished."""
    from rich.live import Live

    seen = look(run)
    with Live(draw(seen, console.options.ascii_only), console=console, auto_refresh=False) as display:
        while seen.summary is None:
            time.sleep(_PAUSE_S)
            seen = look(run)
            display.update(draw(seen, console.options.ascii_only), refresh=True)


def look(run: Path) -> Seen:
    """Return what a run's folder shows now.

    Raises:
        ConfigError: The summary is damaged.
    """
    from altgrad.study.reading import read_mapping
    from altgrad.telemetry.live import FILE, read_live

    summary_path = run / "summary.json"
    summary = read_mapping(summary_path) if summary_path.exists() else None
    found = [(path, view) for path in run.glob(f"state/*/{FILE}") if (view := read_live(path)) is not None]
    if summary is not None:
        ended = _written(summary_path)
        if any(_trains(path.parent) and _written(path) > ended for path, _ in found):
            summary = None  # it is another config's: this one was set aside, and another trains beside it
        else:
            found = [(path, view) for path, view in found if view.run_id == summary.get("run_id")]
    newest = max(found, key=lambda item: item[1].updated, default=None)
    return Seen(run, any(run.glob("state/*/stamp.json")), newest[1] if newest else None, summary)


def _trains(home: Path) -> bool:
    """Return whether the run of a folder of restart state has not ended."""
    return not (home / "finished" / "summary.json").exists()


def _written(path: Path) -> float:
    return path.stat().st_mtime


def draw(seen: Seen, ascii_only: bool = False) -> "RenderableType":
    """Return a run's state for a console.

    Args:
        seen: From `look`.
        ascii_only: Whether the console can show ASCII alone.
    """
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    parts: list[RenderableType] = []
    if seen.view is not None:
        rows = _rows(seen.view, seen.summary is not None, ascii_only)
        parts += [Panel(rows, title=Text(seen.view.run_id), width=88), *_event_lines(seen.view.events)]
    if seen.summary is not None:
        parts.append(Text(_last_word(seen.summary)))
    elif seen.view is None and seen.begun:
        parts.append(Text(f"{seen.folder}: begun; its first window has not ended yet"))
    elif seen.view is None:
        missing = "" if seen.folder.is_dir() else "; there is no such folder"
        parts.append(Text(f"{seen.folder}: not begun{missing}"))
    return Group(*parts)


def _rows(view: "LiveView", finished: bool, ascii_only: bool) -> "RenderableType":
    """Return the table of a view: the run's progress, then a row a metric."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_row("step", f"{view.step:,} / {view.steps:,}", f"{100 * view.step // view.steps} %")
    table.add_row("tokens/s", _number(view.tokens_per_s, ",.0f"))
    if not finished:
        age = max(0.0, time.time() - view.updated)
        table.add_row("time left", _duration(view.time_left_s), f"last window {_duration(age)} ago")
    for metric, (label, spec) in _METRICS.items():
        if metric in view.series:
            line = sparkline(view.series[metric], _ASCII_SPARKS if ascii_only else _SPARKS)
            table.add_row(label, _number(view.last(metric), spec), Text(line))
    return table


def sparkline(points: "Sequence[Point]", levels: str = _SPARKS, width: int = _SPARK_WIDTH) -> str:
    """Return a row of bars of a series, lowest to highest value; a stretch without a finite value is blank.

    Args:
        points: (step, value) by rising steps; None is no value.
        levels: The bars, lowest first.
        width: Bars at most; each shows the mean over its stretch of steps.
    """
    if not points:
        return ""
    first, width = points[0][0], min(width, len(points))
    span = max(1, points[-1][0] - first)
    size = max((abs(value) for _, value in points if value), default=1.0)  # so that no sum overflows
    bins: list[list[float]] = [[] for _ in range(width)]
    for step, value in points:
        if value is not None:
            bins[max(0, min(width - 1, (step - first) * width // span))].append(value / size)
    means = [sum(found) / len(found) if found else None for found in bins]
    known = [mean for mean in means if mean is not None]
    low = min(known, default=0.0)
    height = max(known, default=0.0) - low
    top = len(levels) - 1
    return "".join(
        " " if mean is None else levels[round(top * (mean - low) / height) if height else 0] for mean in means
    )


def _event_lines(events: Sequence[Mapping[str, Any]]) -> "list[Text]":
    """Return the last events, a line each."""
    from rich.text import Text

    lines = [Text(f"the last {_EVENTS} events:")] if len(events) > _EVENTS else []
    for event in events[-_EVENTS:]:
        kind = str(event.get("event", ""))
        details = [f"{key} {_shown(value)}" for key, value in event.items() if key not in ("step", "event")]
        text = f"step {event.get('step')}: {kind.replace('_', ' ')}"
        lines.append(Text(f"{text}: {', '.join(details)}" if details else text, style=_STYLES.get(kind, "")))
    return lines


def _last_word(summary: Mapping[str, Any]) -> str:
    """Return how a run ended, in a line."""
    events = summary.get("events")
    run_id, status, step, steps = (summary.get(key) for key in ("run_id", "status", "steps", "steps_planned"))
    parts = [
        f"{run_id}: {status} at step {step} of {steps}",
        f"val loss {_shown(summary.get('val_loss'))}",
        f"train loss {_shown(summary.get('train_loss'))}",
        f"events: {len(events) if isinstance(events, list) else 0}",
    ]
    return "; ".join(parts)


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float | None, spec: str) -> str:
    return "none" if value is None else format(value, spec)


def _duration(seconds: float | None) -> str:
    """Return a time span in its two largest units."""
    if seconds is None:
        return "not known yet"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
