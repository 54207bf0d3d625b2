"""What the documentation says is what the code does: doctests, the table of formats, and their pictures."""

import doctest
import importlib
import re
from pathlib import Path

import gfloat
import gfloat.formats as gf
import ml_dtypes
import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from altgrad.cli.formats import formats as verb
from altgrad.figures.number_lines import draw_format, save_figure
from altgrad.numerics.catalog import formats
from tests.numerics.oracle import GRIDS, SPECS

MODULES = ("codec", "format", "geometry", "rounding", "scaling")
DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "formats.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    module = importlib.import_module(f"altgrad.numerics.{name}")
    results = doctest.testmod(module, extraglobs={"torch": torch})
    assert results.failed == 0 and results.attempted > 0


def table() -> dict[str, list[str]]:
    """Return the cells of each row of the document's table of formats, by name."""
    header, _, *rows = re.search(r"(?:^\| name .*\n)(?:^\|.*\n)+", TEXT, re.MULTILINE)[0].splitlines()
    assert header.count("|") == 14
    cut = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {cells[0]: cells[1:] for cells in cut}


def number(text: str) -> float | None:
    """Read 448, 1.5 * 2^31, 2^-9 or none."""
    factor, _, power = text.rpartition(" * ")
    base, _, exponent = power.partition("^")
    return None if text == "none" else float(factor or 1) * float(base) ** float(exponent or 1)


def test_the_table_is_the_commands() -> None:
    app = typer.Typer()
    app.command()(verb)
    printed = CliRunner().invoke(app, ["--markdown"], catch_exceptions=False).stdout
    assert f"\n\n{printed}\n" in TEXT, "print the table with `altgrad formats --markdown` and put it in its place"


@pytest.mark.parametrize("name", SPECS)
def test_the_table_says_what_the_standards_say(name: str) -> None:
    spec, grid, cells = SPECS[name], GRIDS[name], table()[name]
    e, m, bits, bias = map(int, cells[1:5])
    assert (e, m, bits, bias) == (spec.exponent_bits, spec.mantissa_bits, spec.bits, spec.bias)
    limits = [number(cell) for cell in cells[5:8]]
    assert limits == [
        grid.max,
        2.0 ** (1 - spec.bias) if spec.exponent_bits else None,
        grid.magnitudes[1] if spec.mantissa_bits else None,
    ]
    finite = 2**spec.bits - spec.inf_codes - spec.nan_codes
    assert cells[8:10] == [f"{finite} ({finite - spec.negative_zero})", f"{spec.inf_codes}, {spec.nan_codes}"]


def test_the_table_says_what_ml_dtypes_says() -> None:
    known = {}
    for name, cells in table().items():
        for alias in cells[0].split(", "):
            if hasattr(ml_dtypes, alias) or alias == "float16":
                known[name] = ml_dtypes.finfo(getattr(ml_dtypes, alias, np.float16))
    assert len(known) == 11
    for name, info in known.items():
        cells = table()[name]
        # ml_dtypes counts the mantissa's bits in nmant, and gives minexp as the smallest normal exponent.
        assert [int(cell) for cell in cells[2:4]] == [info.nmant, info.bits]
        assert [number(cell) for cell in cells[5:8]] == [
            *(float(info.max), float(info.smallest_normal), float(info.smallest_subnormal)),
        ]


def test_the_table_says_what_gfloat_says_of_p3109() -> None:
    cells = table()
    for p in range(1, 8):
        for letters, domain in (("se", gfloat.Domain.Extended), ("sf", gfloat.Domain.Finite)):
            info, row = gf.format_info_p3109(8, p, domain=domain), cells[f"binary8p{p}{letters}"]
            assert row[0].split(", ")[0] == f"p3109_k8p{p}{letters}"
            assert [int(cell) for cell in row[2:5]] == [info.precision - 1, info.k, info.bias]
            assert number(row[5]) == info.max and number(row[6]) == info.smallest_normal
            assert row[9] == f"{info.num_infs}, {info.num_nans}"


def test_the_references_by_hand() -> None:
    cells = table()
    assert cells["BF16"][1:10] == [
        *("8", "7", "16", "127", "1.9921875 * 2^127", "2^-126", "2^-133", "65280 (65279)", "2, 254"),
    ]
    assert cells["FP16"][1:10] == ["5", "10", "16", "15", "65504", "2^-14", "2^-24", "63488 (63487)", "2, 2046"]


def test_every_source_is_explained() -> None:
    _, explained = TEXT.split("What the sources are:")
    names = re.findall(r"^\| ([^|]+) \|", explained.partition("Three things")[0], re.MULTILINE)[2:]
    for name, cells in table().items():
        # ml_dtypes is one source of several formats, which the cell names.
        assert cells[10] in names or cells[10].split()[0] in names, name


def test_every_format_has_its_picture_on_the_page() -> None:
    assert re.findall(r"^!\[Number lines of (\w+)\]\(images/formats/\1\.png\)$", TEXT, re.MULTILINE) == list(formats)
    assert {path.name for path in (DOCS / "images" / "formats").iterdir()} == {f"{name}.png" for name in formats}


@pytest.mark.parametrize("name", formats)
def test_the_picture_is_what_the_command_draws(name: str, tmp_path: Path) -> None:
    save_figure(draw_format(formats[name]), tmp_path / "new.png")
    paths = (DOCS / "images" / "formats" / f"{name}.png", tmp_path / "new.png")
    old, new = (np.asarray(Image.open(path).convert("RGB"), dtype=int) for path in paths)
    assert old.shape == new.shape and abs(old - new).max() <= 8, "draw the pictures anew with `make figures`"
