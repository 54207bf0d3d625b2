"""`altgrad formats`: the table says what the catalog says, and the plots draw what the table lists."""

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

COLUMNS = [
    *("name", "aliases", "E", "M", "bits", "bias", "max", "smallest normal", "smallest subnormal"),
    *("finite codes (values)", "Inf, NaN codes", "source"),
]


def _run(*arguments: str) -> list[str]:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.splitlines()


def _table(*arguments: str) -> dict[str, list[str]]:
    """Run the verb; return each row's cells by the format's name, split at the header's columns."""
    header, *rows = _run(*arguments)
    starts = [header.index(f" {column} ") + 1 if column in "EM" else header.index(column) for column in COLUMNS]
    cut = [[row[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for row in rows]
    return {cells[0]: cells[1:] for cells in cut}


def test_every_format_is_there_with_its_numbers() -> None:
    table = _table()
    assert list(table) == list(formats)
    for name, fmt in formats.items():
        aliases, *layout = table[name][:5]
        assert aliases == ", ".join(fmt.aliases)
        assert layout == [str(x) for x in (fmt.exponent_bits, fmt.mantissa_bits, fmt.bits, fmt.bias)]
        assert float(eval(table[name][5].replace("^", "**"))) == fmt.max
        assert table[name][8:] == [
            f"{fmt.num_finite_codes} ({fmt.num_values})",
            f"{fmt.num_inf_codes}, {fmt.num_nan_codes}",
            fmt.source,
        ]


def test_rows_by_hand() -> None:
    table = _table("e5m2", "E0M7", "binary8p2sf", "E7M0")
    assert table["E5M2"] == [
        *("float8_e5m2", "5", "2", "8", "15", "57344", "2^-14", "2^-16", "248 (247)", "2, 6", "OCP OFP8 v1.0"),
    ]
    # One has no normal values, the other no subnormal ones.
    assert table["E0M7"][5:8] == ["0.9921875", "none", "2^-7"]
    assert table["E7M0"][5:8] == ["2^63", "2^-62", "none"]
    assert table["binary8p2sf"][5] == "1.5 * 2^31"


def test_the_table_in_markdown() -> None:
    header, rule, *rows = _run("E4M3", "E1M6", "--markdown")
    assert header == f"| {' | '.join(COLUMNS)} | number lines |"
    assert rule == "|" + " --- |" * (len(COLUMNS) + 1)
    assert rows == [
        "| E4M3 | E4M3FN, float8_e4m3fn | 4 | 3 | 8 | 7 | 448 | 2^-6 | 2^-9 | 254 (253) | 0, 2 | OCP OFP8 v1.0 "
        "| [picture](images/formats/E4M3.png) |",
        "| E1M6 |  | 1 | 6 | 8 | 0 | 3.9375 | 2 | 2^-5 | 254 (253) | 0, 2 | the E4M3 rule of OCP OFP8 v1.0 "
        "| [picture](images/formats/E1M6.png) |",
    ]


def test_the_plot_has_a_row_for_every_format_with_codes(tmp_path: Path) -> None:
    out = tmp_path / "made" / "lines.svg"
    _table("--plot", str(out))
    drawn = out.read_text()
    for name, fmt in formats.items():
        assert (f"<!-- {name} (bias {fmt.bias}, max " in drawn) != fmt.is_reference


def test_each_format_has_its_own_plot_where_the_file_has_a_place_for_its_name(tmp_path: Path) -> None:
    _table("e3m4", "FP16", "--plot", str(tmp_path / "made" / "{name}" / "of {name}.svg"))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.svg")) == [
        *("made/E3M4/of E3M4.svg", "made/FP16/of FP16.svg"),
    ]
    assert "<!-- max 30 -->" in (tmp_path / "made" / "E3M4" / "of E3M4.svg").read_text()


def test_unknown_names_and_suffixes() -> None:
    with pytest.raises(UnknownFormatError, match="'E4M4' is not a format; nearest: E4M3"):
        CliRunner().invoke(app, ["E4M4"], catch_exceptions=False)
    for plot in ("lines.txt", "{name}lines.txt"):
        with pytest.raises(ReportError, match=r"lines.txt: .txt is not a figure's. End the name in one of .svg, .png"):
            CliRunner().invoke(app, ["E4M3", "--plot", plot], catch_exceptions=False)


def test_the_verb_needs_no_torch() -> None:
    code = "import sys; from altgrad.cli.formats import formats; formats(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
