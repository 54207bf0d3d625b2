"""`altgrad formats`: the table of every number format, and its number lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from altgrad.numerics.format import FloatFormat

_COLUMNS = (
    "name",
    "aliases",
    "E",
    "M",
    "bits",
    "bias",
    "max",
    "smallest normal",
    "smallest subnormal",
    "finite codes (values)",
    "Inf, NaN codes",
    "source",
)
# Wide enough for every column, where no terminal sets the width.
_FILE_WIDTH = 240
_NAME = "{name}"
# Where docs/formats.md has the pictures that `make figures` draws.
_PICTURES = "images/formats"


def formats(
    names: Annotated[list[str] | None, typer.Argument(help="Formats to show; all, if none are named.")] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw the number lines to this file, .svg, .png or .pdf; with {name} in it, a picture for each format."
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as docs/formats.md has it.")] = False,
) -> None:
    """Print a table of number formats: layout, bias, limits, special codes and source."""
    from altgrad.numerics.catalog import formats as catalog

    shown = [catalog[name] for name in names] if names else list(catalog.values())
    if markdown:
        _print_markdown(shown)
    else:
        _print_table(shown)
    if plot is not None:
        _plot(shown, plot)


def _print_table(shown: "Sequence[FloatFormat]") -> None:
    """Print the table for a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for fmt in shown:
        table.add_row(*_row(fmt))
    console = Console()
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(table)


def _print_markdown(shown: "Sequence[FloatFormat]") -> None:
    """Print the table in Markdown, with a column of links to the pictures."""
    lines = [(*_COLUMNS, "number lines"), ("---",) * (len(_COLUMNS) + 1)]
    lines += [(*_row(fmt), f"[picture]({_PICTURES}/{fmt.name}.png)") for fmt in shown]
    for cells in lines:
        typer.echo(f"| {' | '.join(cells)} |")


def _plot(shown: "Sequence[FloatFormat]", plot: Path) -> None:
    """Draw all formats in one picture, or each in its own where the file's name has a place for a name."""
    from altgrad.figures.number_lines import draw_format, draw_number_lines, save_figure

    if _NAME in str(plot):
        for fmt in shown:
            save_figure(draw_format(fmt), Path(str(plot).replace(_NAME, fmt.name)))
    else:
        # A reference has more values than a row of a common picture can show.
        save_figure(draw_number_lines([fmt for fmt in shown if not fmt.is_reference]), plot)


def _row(fmt: "FloatFormat") -> tuple[str, ...]:
    """Return a format's cells in the order of `_COLUMNS`."""
    from altgrad.figures.exact import exact_words

    return (
        fmt.name,
        ", ".join(fmt.aliases),
        str(fmt.exponent_bits),
        str(fmt.mantissa_bits),
        str(fmt.bits),
        str(fmt.bias),
        exact_words(fmt.max),
        exact_words(fmt.smallest_normal) if fmt.smallest_normal <= fmt.max else "none",
        exact_words(fmt.smallest_subnormal) if fmt.smallest_subnormal < fmt.smallest_normal else "none",
        f"{fmt.num_finite_codes} ({fmt.num_values})",
        f"{fmt.num_inf_codes}, {fmt.num_nan_codes}",
        fmt.source,
    )
