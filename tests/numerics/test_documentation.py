"""What the documentation says is what the code does: doctests, and the table of formats."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
import torch

from altgrad.numerics.catalog import EIGHT_SPLITS, formats

MODULES = ("codec", "format", "geometry", "rounding", "scaling")
TABLE = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    module = importlib.import_module(f"altgrad.numerics.{name}")
    results = doctest.testmod(module, extraglobs={"torch": torch})
    assert results.failed == 0 and results.attempted > 0


def _number(text: str) -> float:
    """Read 448, 127/128 or 2^-9."""
    numerator, _, denominator = text.partition("/")
    base, _, exponent = numerator.partition("^")
    return float(base) ** float(exponent or 1) / float(denominator or 1)


def test_the_table_in_the_documentation_holds() -> None:
    rows = re.findall(r"^\| (E\w+)(?: \(`(\w+)`\))? \| ([^,\n]+)\|$", TABLE.read_text(), flags=re.MULTILINE)
    rows += re.findall(r"^\| (E0M7)()? \| (.+), m/128 \|$", TABLE.read_text(), flags=re.MULTILINE)
    names = {name for name, _, _ in rows}
    assert {*EIGHT_SPLITS, "E3M4IEEE", "E4M3IEEE", "E5M2FN", "E4M3FNUZ", "E5M2FNUZ"} == names
    for name, alias, cells in rows:
        fmt = formats[name]
        assert not alias or formats[alias] is fmt
        numbers = [_number(cell) for cell in cells.split("|")[:6]]
        assert numbers == [
            *(fmt.bias, fmt.max, fmt.smallest_subnormal),
            *(fmt.num_values, fmt.num_inf_codes, fmt.num_nan_codes),
        ]
