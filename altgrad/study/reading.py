"""The closed reader of config files: YAML and JSON without their traps.

YAML as read here is YAML 1.1 with these differences: a key stands once, there are no anchors and aliases, `1e-4` is a
number, and `1:30` and `2026-01-01` are text.
"""

import json
import re
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from altgrad.errors import AltGradError, ConfigError

MAX_CONFIG_BYTES = 1_000_000
"""Larger files are no config. Aliases being refused, this also bounds what a file can grow to in memory."""

STANDARD_INPUT = "-"
"""The name of standard input, as a source."""


def source_name(source: str | Path) -> str:
    """Return how errors call a source."""
    return "standard input" if str(source) == STANDARD_INPUT else str(source)


def read_mapping(source: str | Path) -> dict[str, Any]:
    """Read a YAML or JSON file (`-`: JSON from standard input) whose top level is a mapping.

    Raises:
        ConfigError: The file is missing, too large, not UTF-8, not YAML or JSON, or uses what is refused.
    """
    where = source_name(source)
    text = _read_text(source, where)
    try:
        if text.lstrip().startswith("{"):
            data = _read_json(text, where)
        else:
            data = yaml.load(text, Loader=_loader_for(where))
    except (json.JSONDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, AltGradError):
            raise
        raise ConfigError(where, f"it is not valid YAML or JSON ({_position(error)})", "Mend the file there") from None
    if not isinstance(data, dict):
        raise ConfigError(where, f"its top level is {_kind(data)}, not a mapping", "Write `key: value` lines")
    return data


def _read_text(source: str | Path, where: str) -> str:
    try:
        if str(source) == STANDARD_INPUT:
            raw = sys.stdin.buffer.read(MAX_CONFIG_BYTES + 1)
        else:
            with Path(source).open("rb") as handle:
                raw = handle.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(where, f"it cannot be read ({error.strerror})", "Give a YAML or JSON file") from None
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(where, f"it is larger than {MAX_CONFIG_BYTES} bytes", "Give a config file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(where, f"byte {error.start} is not UTF-8", "Save the file as UTF-8") from None


def _read_json(text: str, where: str) -> Any:
    def closed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(where, f"the key {key!r} stands there twice", "Keep one of them")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=closed)


# YAML 1.1's number needs a dot and a signed exponent: it reads 1e-4 as text. These are the numbers of YAML 1.2.
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT_TAG, _INT_TAG = "tag:yaml.org,2002:float", "tag:yaml.org,2002:int"
_REPLACED_TAGS = {_FLOAT_TAG, _INT_TAG, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"}


class _ClosedLoader(yaml.SafeLoader):
    """A SafeLoader without aliases, double keys, timestamps, octal and base-60 numbers."""

    where = ""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse anchors and aliases, with which a few lines of YAML expand to gigabytes."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's parser has no types
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            line = event.start_mark.line + 1
            raise ConfigError(
                f"{self.where}: line {line}", "anchors (&) and aliases (*) are not read", "Write the value out"
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse keys that stand twice (YAML keeps the last in silence) and keys that are not text."""
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise ConfigError(
                    f"{self.where}: line {line}", f"the key is read as {key!r}, not as a name", "Put it in quotes"
                )
            if key in seen:
                why = f"the key {key!r} stands there twice, first in line {seen[key]}"
                raise ConfigError(f"{self.where}: line {line}", why, "Keep one of them")
            seen[key] = line
        return super().construct_mapping(node, deep=deep)


_ClosedLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_ClosedLoader.add_implicit_resolver(_INT_TAG, re.compile(rf"^(?:{_INT.pattern})$"), list("-+0123456789"))
_ClosedLoader.add_implicit_resolver(_FLOAT_TAG, re.compile(rf"^(?:{_FLOAT.pattern})$"), list("-+.0123456789"))
_ClosedLoader.add_constructor(_INT_TAG, lambda _, node: int(node.value))


def _loader_for(where: str) -> type[_ClosedLoader]:
    return type("Loader", (_ClosedLoader,), {"where": where})


def _position(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', None) or 'unreadable'}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]


def _kind(data: Any) -> str:
    return "empty" if data is None else f"a {type(data).__name__}"
