"""The package's front door: every public name loads, and only when it is asked for."""

import subprocess
import sys

import pytest

import altgrad as ag


def test_every_public_name_loads() -> None:
    for name in ag.__all__:
        assert getattr(ag, name) is not None
    assert ag.formats["E3M4"].max == 30.0


def test_names_are_listed_before_they_are_loaded() -> None:
    assert set(ag.__all__) <= set(dir(ag))
    assert list(ag.__all__) == sorted(ag.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'altgrad' has no attribute 'quantise'"):
        _ = ag.quantise


@pytest.mark.parametrize("module", ["altgrad", "altgrad.study", "altgrad.schema", "altgrad.numerics.catalog"])
def test_light_parts_do_not_import_torch(module: str) -> None:
    code = f"import sys, {module}, altgrad; altgrad.formats['E4M3']; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
