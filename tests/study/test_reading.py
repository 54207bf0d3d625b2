"""The closed reader: what YAML and JSON files may hold, and the line that names what they may not."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from altgrad.errors import ConfigError
from altgrad.study.reading import MAX_CONFIG_BYTES, read_mapping


def read(folder: Path, text: str | bytes, name: str = "study.yaml") -> dict[str, Any]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_mapping(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),  # YAML 1.1 reads text here
        ("1E5", 1e5),
        ("-2e+3", -2e3),
        (".5", 0.5),
        ("5.", 5.0),
        ("1.0e-3", 1e-3),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("010", 10),  # YAML 1.1 reads octal 8
        ("1:30", "1:30"),  # YAML 1.1 reads 90, in base 60
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("E4M3", "E4M3"),
        ("1e", "1e"),
        ("true", True),
        ("no", False),  # the typed config refuses it where a number or a name belongs, and says why
        ("~", None),
        ("'1e-4'", "1e-4"),
    ],
)
def test_scalars_are_read_as_they_look(tmp_path: Path, text: str, value: object) -> None:
    got = read(tmp_path, f"key: {text}\n")["key"]
    assert got == value
    assert type(got) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_prints_is_read_back(value: float) -> None:
    loader = sys.modules["altgrad.study.reading"]._loader_for("test")
    assert yaml.load(f"key: {value!r}", Loader=loader) == {"key": value}


def test_json_and_yaml_of_the_same_data_read_alike(tmp_path: Path) -> None:
    json_text = '{"a": {"b": [1, 2.5e-3, "x", null, true]},\n\t"c": "d"}'
    yaml_text = "a:\n  b: [1, 2.5e-3, x, null, true]\nc: d\n"
    assert read(tmp_path, json_text, "a.json") == read(tmp_path, yaml_text)


def test_standard_input_is_read_as_a_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"lr": 0.001}')))
    assert read_mapping("-") == {"lr": 0.001}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfstudy: x\n") == {"study": "x"}


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"

REFUSED = {
    "a key twice": ("a: 1\nb:\n  c: 1\n  c: 2\n", "line 4: the key 'c' stands there twice, first in line 3. Keep one"),
    "a key twice, JSON": ('{"a": {"b": 1, "b": 2}}', "the key 'b' stands there twice. Keep one of them"),
    "a key twice, in quotes": ('a: 1\n"a": 2\n', "line 2: the key 'a' stands there twice, first in line 1"),
    "aliases": (BOMB, "line 1: anchors (&) and aliases (*) are not read. Write the value out"),
    "an alias with no anchor": ("a: *b\n", "line 1: anchors (&) and aliases (*) are not read"),
    "a merge key": ("a: {b: 1}\nc:\n  <<: *a\n", "line 3: anchors (&) and aliases (*) are not read"),
    "a key that is no text": ("a:\n  no: 1\n", "line 2: the key is read as False, not as a name. Put it in quotes"),
    "a number as key": ("1: 2\n", "line 1: the key is read as 1, not as a name. Put it in quotes"),
    "a list as key": ("? [a]\n: 1\n", "line 1: the key is read as ['a'], not as a name"),
    "an open bracket": ("a: [1, 2\nb: 3\n", "it is not valid YAML or JSON (line 2, column 2: "),
    "a tab": ("a:\n\tb: 1\n", "it is not valid YAML or JSON (line 2, column 1: "),
    "half a JSON file": ('{"a": ', "it is not valid YAML or JSON (Expecting value: line 1 column 7 (char 6))"),
    "a Python object": ("a: !!python/object/apply:os.system [ls]\n", "it is not valid YAML or JSON (line 1, column 4"),
    "two documents": ("a: 1\n---\nb: 2\n", "it is not valid YAML or JSON (line 2, column 1: "),
    "a list": ("- a\n- b\n", "its top level is a list, not a mapping. Write `key: value` lines"),
    "nothing": ("", "its top level is empty, not a mapping"),
    "bytes that are not UTF-8": (b"a: \xff\n", "byte 3 is not UTF-8. Save the file as UTF-8"),
    "deep nesting": ("a: " + "[" * 5000, "it is not valid YAML or JSON (nested too deeply)"),
    "deep nesting, JSON": ('{"a": ' + "[" * 200_000, "it is not valid YAML or JSON (nested too deeply)"),
    "a number of many digits": ("a: " + "9" * 5000, "it is not valid YAML or JSON (Exceeds the limit"),
    "a large file": ("#" * (MAX_CONFIG_BYTES + 1), f"it is larger than {MAX_CONFIG_BYTES} bytes. Give a config file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    text, message = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'study.yaml'}: {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: it cannot be read \(No such file or directory\)\. Give a YAML"):
        read_mapping(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"it cannot be read \(Is a directory\)"):
        read_mapping(tmp_path)
