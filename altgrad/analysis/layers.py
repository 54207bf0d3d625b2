"""From a tensor's name to its layer type, by the patterns of the run's config."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

ALL = "all"
"""The layer type that every tensor in the run's format belongs to."""

OTHER = "other"
"""The layer type of a tensor that no pattern matches."""


def module_of(tensor: str) -> str:
    """Return the dotted name of the module that a parameter belongs to.

    Example:
        >>> module_of("blocks.0.mlp.c_fc.weight")
        'blocks.0.mlp.c_fc'
    """
    return tensor.rpartition(".")[0]


def layer_type(tensor: str, layer_types: Mapping[str, Iterable[str]]) -> str:
    """Return the first layer type other than `all` whose patterns match the tensor's module.

    Args:
        tensor: The parameter's dotted name.
        layer_types: Glob patterns on module names by layer type, as in the config.

    Example:
        >>> layer_type("lm_head.weight", {"all": ["*"], "lm_head": ["lm_head"]})
        'lm_head'
    """
    for name, patterns in layer_types.items():
        if name != ALL and matches(tensor, patterns):
            return name
    return OTHER


def matches(tensor: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the glob patterns matches the tensor's module."""
    return any(fnmatchcase(module_of(tensor), pattern) for pattern in patterns)
