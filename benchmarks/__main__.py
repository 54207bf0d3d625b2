"""`python -m benchmarks`: measure, print, and leave a JSON file and a figure in results/bench."""

import gc
import importlib
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from altgrad.errors import AltGradError, ConfigError
from benchmarks import figure, report
from benchmarks.rows import Result
from benchmarks.setting import load_warning, prepare

SECTIONS = {
    "rounding": ("benchmarks.rounding", "quantize against a copy"),
    "peers": ("benchmarks.peers_side_by_side", "the same rounding elsewhere"),
    "optimizer": ("benchmarks.optimizer", "ManifoldAdamW against torch's fused AdamW"),
    "step": ("benchmarks.step", "a whole training step against the plain one"),
    "telemetry": ("benchmarks.telemetry", "training with everything on against nothing on"),
    "kernels": ("benchmarks.kernels", "how many kernels a step takes"),
    "variants": ("benchmarks.variants", "how many versions of a kernel are compiled"),
    "transfers": ("benchmarks.transfers", "how often training waits for the device"),
    "memory": ("benchmarks.memory", "peak memory of a training step"),
    "growth": ("benchmarks.growth", "what grows with parameters and steps (on one CPU thread)"),
    "startup": ("benchmarks.startup", "how long the first step takes to come"),
}
"""Each section's module, with a function `run` from `Setting` to `Result`, and its title."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def main(
    sections: Annotated[list[str] | None, typer.Argument(help=f"Any of {', '.join(SECTIONS)}; all by default.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads of torch; its own number by default.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, to see that all runs; nothing is judged.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The folder for results.")] = Path("results/bench"),
) -> None:
    """Measure AltGrad against its peers and its targets. Missed targets are reported; they are not errors."""
    try:
        _run(sections or [], device, threads, quick, out)
    except AltGradError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def _run(chosen: list[str], device: str, threads: int | None, quick: bool, out: Path) -> None:
    unknown = [name for name in chosen if name not in SECTIONS]
    if unknown:
        raise ConfigError("SECTIONS", f"there is no section {unknown[0]!r}", f"Choose from {', '.join(SECTIONS)}")
    setting = prepare(device, threads, quick)
    if warning := load_warning():
        print(f"benchmarks: warning: {warning}", file=sys.stderr)
    path = out / report.stem(setting, chosen)
    facts = report.environment(setting)
    print(f"{facts['hardware']}, torch threads: {setting.threads}, torch {facts['torch']}, altgrad {facts['revision']}")
    print(f"{facts['model']}\n{facts['method']}")
    results: dict[str, Result] = {}
    started = time.perf_counter()
    for name in chosen or SECTIONS:
        module, title = SECTIONS[name]
        results[name] = importlib.import_module(module).run(setting)
        report.print_section(name, title, results[name], setting)
        # After each section, so that a run that is ended early leaves what it has.
        report.write_json(path.with_name(f"{path.name}.json"), results, setting)
        gc.collect()
    caption = f"{facts['hardware']}, torch threads: {setting.threads}, {facts['date'][:10]}"
    drawn = figure.draw(path, results, caption, judged=not quick)
    report.print_summary(results, setting)
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes. Results: {path}.json{', .svg and .png' * drawn}")


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
