"""`altgrad formats`: the table says what the catalog says, and the plot draws what the table lists."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from altgrad.cli.formats import formats as verb
from altgrad.errors import ReportError, UnknownFormatError
from altgrad.numerics.catalog import formats

app = typer.Typer()
app.command()(verb)


def _table(*arguments: str) -> dict[str, list[str]]:
    """Run the verb; return each row's cells by the format's name, split at the header's columns."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    header, *rows = result.stdout.splitlines()
    columns = ["name", "E", "M", "bias", "max", "smallest normal", "smallest subnormal", "values", "Inf, NaN", "source"]
    starts = [header.index(f" {column} ") + 1 if column in "EM" else header.index(column) for column in columns]
    starts.append(header.index("aliases"))
    cut = [[row[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for row in rows]
    return {cells[0]: cells[1:] for cells in cut}


def test_every_format_is_there_with_bias_and_max() -> None:
    table = _table()
    assert list(table) == list(formats)
    for name, fmt in formats.items():
        assert table[name][:3] == [str(fmt.exponent_bits), str(fmt.mantissa_bits), str(fmt.bias)]
        assert float(eval(table[name][3].replace("^", "**"))) == fmt.max
        assert float(eval(table[name][5].replace("^", "**"))) == fmt.smallest_subnormal
        assert table[name][6:] == [
            str(fmt.num_values),
            f"{fmt.num_inf_codes}, {fmt.num_nan_codes}",
            fmt.source,
            ", ".join(fmt.aliases),
        ]


def test_rows_by_hand() -> None:
    table = _table("e5m2", "E0M7", "binary8p2sf", "E7M0")
    assert table["E5M2"] == [
        *("5", "2", "15", "57344", "2^-14", "2^-16", "247", "2, 6", "OCP OFP8 v1.0", "float8_e5m2"),
    ]
    assert table["E0M7"][3:6] == ["0.9921875", "none", "0.0078125"]
    assert table["binary8p2sf"][3] == "1.5 * 2^31"
    assert table["E7M0"][3:6] == ["2^63", "2^-62", "2^-62"]


def test_the_plot_has_a_row_for_every_format_with_codes(tmp_path: Path) -> None:
    out = tmp_path / "made" / "lines.svg"
    _table("--plot", str(out))
    drawn = out.read_text()
    for name, fmt in formats.items():
        assert (f"<!-- {name} (bias {fmt.bias}, max " in drawn) != fmt.is_reference


def test_unknown_names_and_suffixes() -> None:
    with pytest.raises(UnknownFormatError, match="'E4M4' is not a format; nearest: E4M3"):
        CliRunner().invoke(app, ["E4M4"], catch_exceptions=False)
    with pytest.raises(ReportError, match=r"lines.txt: .txt is not a figure's. End the name in one of .svg, .png"):
        CliRunner().invoke(app, ["E4M3", "--plot", "lines.txt"], catch_exceptions=False)


def test_the_verb_needs_no_torch() -> None:
    code = "import sys; from altgrad.cli.formats import formats; formats(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
