"""`altgrad formats`: the table of every number format, and its number lines."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from altgrad.figures.number_lines import NumberLine
    from altgrad.numerics.format import FloatFormat

_COLUMNS = (
    "name",
    "E",
    "M",
    "bias",
    "max",
    "smallest normal",
    "smallest subnormal",
    "values",
    "Inf, NaN codes",
    "source",
    "aliases",
)
# Wide enough for every column, where no terminal sets the width.
_FILE_WIDTH = 200


def formats(
    names: Annotated[list[str] | None, typer.Argument(help="Formats to show; all, if none are named.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the number lines to this file, .svg, .png or .pdf.")] = None,
) -> None:
    """Print a table of number formats: layout, bias, limits, special codes and source."""
    from rich.console import Console
    from rich.table import Table

    from altgrad.numerics.catalog import formats as catalog

    shown = [catalog[name] for name in names] if names else list(catalog.values())
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for fmt in shown:
        table.add_row(*_row(fmt))
    console = Console()
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(table)
    if plot is not None:
        from altgrad.figures.number_lines import draw_number_lines, save_figure

        save_figure(draw_number_lines([_line(fmt) for fmt in shown if not fmt.is_reference]), plot)


def _row(fmt: "FloatFormat") -> tuple[str, ...]:
    """Return a format's cells in the order of `_COLUMNS`."""
    return (
        fmt.name,
        str(fmt.exponent_bits),
        str(fmt.mantissa_bits),
        str(fmt.bias),
        _number(fmt.max),
        _number(fmt.smallest_normal) if fmt.max >= fmt.smallest_normal else "none",
        _number(fmt.smallest_subnormal),
        str(fmt.num_values),
        f"{fmt.num_inf_codes}, {fmt.num_nan_codes}",
        fmt.source,
        ", ".join(fmt.aliases),
    )


def _number(value: float) -> str:
    """Return a positive number exactly: in decimals where that is short, else with a power of two."""
    significand, exponent = math.frexp(value)
    if 2.0**-7 <= value < 1e6:
        return f"{value:.10g}"
    power = f"2^{exponent - 1}"
    return power if significand == 0.5 else f"{2 * significand:.10g} * {power}"


def _line(fmt: "FloatFormat") -> "NumberLine":
    """Return a format's row of the figure; bias and max tell formats of one layout apart."""
    from altgrad.figures.number_lines import NumberLine

    magnitudes = tuple(fmt.value_of_magnitude(k) for k in range(1, fmt.num_rungs + 1))
    return NumberLine(f"{fmt.name} (bias {fmt.bias}, max {_number(fmt.max)})", magnitudes, fmt.smallest_normal)
