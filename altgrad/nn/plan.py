"""Precision plans: which layer's weight is rounded to which format."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypedDict, Unpack

import torch
from torch import Tensor

from altgrad.errors import NotSupportedError, PlanError, UnknownFormatError
from altgrad.numerics.catalog import resolve
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.scaling import Scaler, ScalingMode

FormatLike = FloatFormat | str | None
"""A format, its name, or None for no rounding."""

ROLES = ("weight", "input", "grad_output")
"""The tensors of a layer that a plan can name."""


class ScalingOptions(TypedDict, total=False):
    """How the scale of a weight follows the weight; see `new_scaler` for the defaults."""

    scaling: ScalingMode
    history: int
    per_row: bool
    power_of_two: bool


def new_scaler(
    weight: Tensor,
    fmt: FloatFormat | str,
    scaling: ScalingMode = "delayed",
    history: int = 16,
    per_row: bool = False,
    power_of_two: bool = True,
) -> Scaler:
    """Return a scaler for a weight, on its device, its scale taken from the weight as it is.

    Args:
        weight: Float tensor (rows, columns).
        fmt: A format or its name.
        scaling: `Scaler`'s mode.
        history: As in `Scaler`.
        per_row: As in `Scaler`.
        power_of_two: As in `Scaler`.

    Raises:
        FormatError: If an option is outside its range.
        UnknownFormatError: If no format has that name.
    """
    rows = weight.shape[0] if per_row else None
    scaler = Scaler(fmt, scaling, history, per_row, power_of_two, rows=rows).to(weight.device)
    scaler.initialize(weight)
    return scaler


@dataclass(frozen=True)
class Rule:
    """One line of a plan.

    Attributes:
        pattern: A glob on dotted module names, in which ``*`` also matches dots.
        fmt: The format of the weights of the layers that it matches; None leaves them alone.
    """

    pattern: str
    fmt: FloatFormat | None

    def matches(self, name: str) -> bool:
        """Return whether the pattern matches a module's dotted name; case counts."""
        return fnmatchcase(name, self.pattern)


class PrecisionPlan:
    """Which layers are quantized, to which formats, and how their scales move.

    A plan concerns the layers that can be quantized: nn.Linear, nn.Embedding and nn.MultiheadAttention (its input
    projections; its `out_proj` is a layer of its own), and their subclasses. The first pattern that matches a layer's
    dotted name decides; a layer that none matches is left alone.

    Args:
        patterns: Glob on dotted module names -> a format, its name, None (left alone), or a mapping from role to
            one of these; a bare value is the weight's. Of the roles, `weight` alone is supported.
        options: Any of `scaling` ("delayed", "current" or "none"), `history`, `per_row` and `power_of_two`; see
            `Scaler`.

    Attributes:
        rules: The patterns in order, with their formats.
        options: The scaling options as they were given.

    Raises:
        PlanError: If a pattern or a value is none of these.
        NotSupportedError: If an input or grad_output is to be rounded.
        UnknownFormatError: If no format has a given name.
        FormatError: If a scaling option is outside its range.

    Example:
        >>> plan = PrecisionPlan({"*.mlp.*": "E3M4", "lm_head": None, "*": "E4M3"})
        >>> [plan.format_for(name) and plan.format_for(name).name for name in ("blocks.0.mlp.c_fc", "lm_head", "wte")]
        ['E3M4', None, 'E4M3']
    """

    def __init__(
        self, patterns: Mapping[str, FormatLike | Mapping[str, FormatLike]], **options: Unpack[ScalingOptions]
    ) -> None:
        if not isinstance(patterns, Mapping):
            raise PlanError(
                "plan",
                f"{type(patterns).__name__} is not a mapping of patterns",
                'Give for example {"*.mlp.*": "E3M4", "lm_head": None}',
            )
        self.rules = tuple(Rule(_pattern(key), _weight_format(key, value)) for key, value in patterns.items())
        self.options = options
        # A misspelled or impossible option is refused here and not at the first model.
        new_scaler(torch.ones(1, 1), "E4M3", **options)

    def __repr__(self) -> str:
        """Return the plan as it would be written."""
        rules = ", ".join(f"{rule.pattern!r}: {rule.fmt.name if rule.fmt else None!r}" for rule in self.rules)
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"PrecisionPlan({{{rules}}}{options})"

    def format_for(self, name: str) -> FloatFormat | None:
        """Return the format of the layer with this dotted module name, or None if it is left alone."""
        return next((rule.fmt for rule in self.rules if rule.matches(name)), None)

    def check_patterns(self, names: Sequence[str]) -> None:
        """Refuse a pattern that has no effect on a model; ``"*"`` and those that leave layers alone may have none.

        Args:
            names: Dotted names of the model's layers.

        Raises:
            PlanError: If a pattern matches no layer, or earlier patterns give all that it matches other formats.
        """
        for rule in self.rules:
            if rule.fmt is None or rule.pattern == "*":
                continue
            matched = [name for name in names if rule.matches(name)]
            if not matched:
                raise PlanError(
                    f"plan {rule.pattern!r}",
                    f"it matches no layer of the model; nearest: {', '.join(_nearest(rule.pattern, names))}",
                    "Patterns match whole dotted names of nn.Linear, nn.Embedding and nn.MultiheadAttention layers",
                )
            if all(self.format_for(name) != rule.fmt for name in matched):
                raise PlanError(
                    f"plan {rule.pattern!r}",
                    f"earlier patterns already decide every layer that it matches, for example {matched[0]}",
                    "The first match wins: put the narrower pattern first",
                )


def _nearest(pattern: str, names: Sequence[str]) -> list[str]:
    """Return the layer names most like a pattern, or a remark that there are none."""
    return difflib.get_close_matches(pattern, names, n=3, cutoff=0.0) or ["none, the model has no such layers"]


def _pattern(key: object) -> str:
    if not isinstance(key, str):
        raise PlanError("plan", f"{key!r} is not a pattern", "Give a glob on dotted module names, as a string")
    return key


def _weight_format(pattern: str, value: object) -> FloatFormat | None:
    """Return the weight's format from a plan's value."""
    where = f"plan {pattern!r}"
    if isinstance(value, Mapping):
        _check_roles(where, value)
        value = value.get("weight")
    if value is None or isinstance(value, FloatFormat):
        return value
    if not isinstance(value, str):
        raise PlanError(where, f"{value!r} is not a format", "Give a FloatFormat, a format's name, or None")
    try:
        return resolve(value)
    except UnknownFormatError as error:
        raise UnknownFormatError(where, error.why, error.what_to_do) from None


def _check_roles(where: str, roles: Mapping[str, object]) -> None:
    """Refuse roles that do not exist or are not supported."""
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        raise PlanError(where, f"{unknown[0]!r} is not a role", f"The roles are {', '.join(ROLES)}")
    asked = [role for role in ROLES[1:] if roles.get(role) is not None]
    if asked:
        raise NotSupportedError(
            where, f"this version rounds weights only, not {' or '.join(asked)}", "Leave these roles out, or give None"
        )
