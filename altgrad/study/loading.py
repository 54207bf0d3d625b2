"""From config files to a typed study: overlays, and one line that teaches for everything that is refused.

Several files overlay each other as Snakemake's `--configfile` does: mappings are merged, every other value replaces
the one below, lists included.
"""

import difflib
import json
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from altgrad.errors import AltGradError, ConfigError
from altgrad.numerics.format import FloatFormat
from altgrad.study.config import StudyConfig
from altgrad.study.grid import study_arms
from altgrad.study.reading import read_mapping, source_name

Location = tuple[int | str, ...]
"""A place in a config: keys, and indexes into lists."""

Model = TypeVar("Model", bound=BaseModel)
Found = TypeVar("Found")


def load_study(sources: Sequence[str | Path], overrides: Mapping[str, Any] | None = None) -> StudyConfig:
    """Read a study from a config file and its overlays.

    Args:
        sources: The file, then its overlays. Every overlay names its own study, so that no two share a folder.
        overrides: Values that are laid over the files last (Snakemake's `--config`); they too name their own study.

    Returns:
        The study, checked as far as its runs: their ids are distinct and every format of the user's exists.

    Raises:
        ConfigError: Naming the file, the key, what was given and what is allowed.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = [(str(source), read_mapping(source)) for source in sources]
    if overrides:
        layers.append(("--config", overrides))
    _require_own_names(layers)
    merged: dict[str, Any] = {}
    for _, layer in layers:
        merged = merge(merged, layer)
    study = parse(StudyConfig, merged, lambda location: _layer_of(layers, location))
    for name, spec in study.formats.items():
        try:
            FloatFormat(name=name, **spec.model_dump())
        except AltGradError as error:
            where = _layer_of(layers, ("formats", name))
            raise ConfigError(f"{where}: formats.{name}", error.why, error.what_to_do) from None
    study_arms(study)
    return study


def load_config(model: type[Model], source: str | Path) -> Model:
    """Read one config, for example a `RunConfig`, from a file or from standard input (`-`, JSON).

    Raises:
        ConfigError: Naming the file, the key, what was given and what is allowed.
    """
    return parse(model, read_mapping(source), lambda _: source_name(source))


def find(known: Mapping[str, Found], name: str, what: str, study: str) -> Found:
    """Return what a study has under a name.

    Args:
        known: All that it has.
        name: The name.
        what: What it is a name of, for the message.
        study: The study's name, for the message.

    Raises:
        ConfigError: There is none of that name; the nearest are offered.
    """
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or list(known)[:3]
        raise ConfigError(
            f"{what} {name!r}", f"study {study!r} has no such {what}", f"Nearest of its {len(known)}: {', '.join(near)}"
        )
    return known[name]


def schema_text() -> str:
    """Return the JSON schema of `StudyConfig` as text, the content of workflow/schemas/config.schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **StudyConfig.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return `overlay` laid over `base`: mappings are merged, other values replaced, lists included."""
    merged = dict(base)
    for key, value in overlay.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def parse(model: type[Model], data: Mapping[str, Any], where: Callable[[Location], str]) -> Model:
    """Return `data` as a `model`.

    Args:
        model: The config's type.
        data: Its values.
        where: From the place of an error in `data` to the file that it came from.

    Raises:
        ConfigError: The first thing that is wrong, and how many more there are.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _teach(model, error, where) from None
    except AltGradError as error:
        raise ConfigError(f"{where(())}: {error.where}", error.why, error.what_to_do) from None


def _require_own_names(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Refuse an overlay that would write into the folders of the study below it."""
    names: dict[str, str] = {}
    for position, (where, layer) in enumerate(layers):
        name = layer.get("study")
        if name is None and position:
            raise ConfigError(
                f"{where}: study",
                "it is missing, and the runs would mix with those of the config below",
                "Give the overlay a study name of its own, for example `study: trial`",
            )
        if isinstance(name, str) and name in names:
            raise ConfigError(
                f"{where}: study", f"{name!r} is already the study of {names[name]}", "Choose a name of its own"
            )
        if isinstance(name, str):
            names[name] = where


def _layer_of(layers: Sequence[tuple[str, Mapping[str, Any]]], location: Location) -> str:
    """Return the file that a value came from: the last one that has it, or its nearest parent."""
    for depth in range(len(location), 0, -1):
        for name, layer in layers[::-1]:
            value: Any = layer
            for key in location[:depth]:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                return name
    return layers[-1][0]


def _teach(model: type[BaseModel], error: ValidationError, find: Callable[[Location], str]) -> ConfigError:
    """Return one of pydantic's complaints in the project's own words: the first unknown key, or else the first."""
    # A list with a bad item is also called too short: what is only about the parent of another complaint is left out.
    complaints = error.errors(include_url=False)
    parents = {complaint["loc"][:depth] for complaint in complaints for depth in range(len(complaint["loc"]))}
    complaints = [complaint for complaint in complaints if complaint["loc"] not in parents]
    first = min(complaints, key=lambda complaint: complaint["type"] != "extra_forbidden")
    location: Location = first["loc"]
    where = find(location)
    key = ".".join(str(part) for part in location if part != "[key]")
    more = f" ({len(complaints) - 1} more after it)" if len(complaints) > 1 else ""
    given = _shorten(first["input"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        advice = f"Did you mean {near[0]}" if near else f"Known keys here: {', '.join(known)}"
        return ConfigError(f"{where}: {key}", f"unknown key{more}", advice)
    if first["type"] == "missing":
        return ConfigError(f"{where}: {key}", f"it is missing{more}", "Give it a value")
    message = first["msg"].removeprefix("Value error, ").strip().rstrip(".")
    if first["type"] == "value_error":
        return ConfigError(f"{where}: {key}".removesuffix(": "), f"{message}{more}", "Change it in the config")
    if first["type"] == "string_pattern_mismatch":
        message = "use letters, digits, . _ and -, at most 64, and begin with a letter or digit"
    allowed = message[0].lower() + message[1:]
    return ConfigError(f"{where}: {key}", f"{given} is given{more}", f"Allowed: {allowed}")


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fields_at(model: type[BaseModel], location: Location) -> list[str]:
    """Return the keys that the section of `model` at `location` has."""
    section: Any = model
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[str(part)].annotation
        else:  # an index into a tuple, or a key of a dict: its last argument is the item's type
            section = [arg for arg in get_args(section) if arg is not Ellipsis][-1]
        section = _unwrap(section)
    return list(section.model_fields)


def _unwrap(annotation: Any) -> Any:
    """Strip `Annotated[...]` and `... | None` from a type."""
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation
