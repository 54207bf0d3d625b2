"""Look-up: any case, any alias, and errors that offer the nearest names."""

import pytest

from altgrad.errors import FormatError, UnknownFormatError
from altgrad.numerics.catalog import FormatCatalog, formats, register, resolve
from altgrad.numerics.format import FloatFormat


def test_look_up_ignores_case_and_knows_aliases() -> None:
    assert formats["e4m3"] is formats["E4M3"] is formats["E4M3FN"] is formats["Float8_E4M3FN"]
    assert formats["float8_e3m4"] is formats["E3M4IEEE"] is not formats["E3M4"]
    assert formats["bfloat16"] is formats["bf16"] is formats["BF16"]
    assert formats["BINARY8P4SF"] is not formats["binary8p4se"]
    # Without a domain the extended one is meant.
    assert formats["binary8p4"] is formats["binary8p4se"] is formats["p3109_k8p4se"]


def test_it_is_a_mapping_of_canonical_names() -> None:
    assert "e4m3fn" in formats and "E4M4" not in formats and 3 not in formats
    assert formats.get("E4M4") is None
    assert len(formats) == len(list(formats)) == len({fmt.name for fmt in formats.values()})
    assert list(formats)[:2] == ["E0M7", "E1M6"]
    assert repr(formats).startswith("FormatCatalog(E0M7, E1M6, ")


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownFormatError) as caught:
        formats["E4M4"]
    assert str(caught.value).startswith("format: 'E4M4' is not a format; nearest: E4M3, E3M4")
    assert "`altgrad formats`" in str(caught.value)
    assert isinstance(caught.value, KeyError)
    with pytest.raises(UnknownFormatError, match="nearest: BF16"):
        resolve("bf17")


def test_resolve_takes_formats_and_names() -> None:
    mine = FloatFormat("Mine", 3, 3)
    assert resolve(mine) is mine
    assert resolve("E4M3") is formats["E4M3"]


def test_registering(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = FormatCatalog(tuple(formats.values()))
    mine = FloatFormat("E3M3", 3, 3, aliases=("mine",))
    catalog.register(mine)
    catalog.register(FloatFormat("E3M3", 3, 3, aliases=("mine",)))
    assert catalog["e3m3"] == catalog["MINE"] == mine
    assert len(catalog) == len(formats) + 1 and "E3M3" not in formats
    monkeypatch.setattr("altgrad.numerics.catalog.formats", catalog)
    register(FloatFormat("E3M1", 3, 1))
    assert resolve("e3m1").bits == 5


def test_a_name_has_one_meaning() -> None:
    catalog = FormatCatalog(tuple(formats.values()))
    with pytest.raises(FormatError) as caught:
        catalog.register(FloatFormat("e4m3", 4, 3, bias=8))
    assert str(caught.value) == (
        "e4m3: the name 'e4m3' already means E4M3 (E4M3, bias 7, max 448). Choose another name."
    )
    with pytest.raises(FormatError, match="already means E5M2"):
        catalog.register(FloatFormat("Mine", 5, 2, aliases=("float8_e5m2",)))
    # A refused format leaves nothing behind.
    assert "Mine" not in catalog
