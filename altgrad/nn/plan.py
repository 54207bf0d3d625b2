"""Precision plans: which layer's tensors are rounded to which formats."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypedDict, Unpack

import torch
from torch import Tensor

from altgrad.errors import PlanError, UnknownFormatError
from altgrad.numerics.catalog import resolve
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.scaling import Scaler, ScalingMode

FormatLike = FloatFormat | str | None
"""A format, its name, or None for no rounding."""

CAST_ROLES = ("input", "grad_output")
"""The tensors that pass through a layer and that a plan can name."""

ROLES = ("weight", *CAST_ROLES)
"""All tensors of a layer that a plan can name."""


class ScalingOptions(TypedDict, total=False):
    """How a scale follows its tensor; see `new_scaler` for the defaults."""

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
class LayerFormats:
    """The formats of a layer's tensors, by role; None leaves a tensor alone.

    Attributes:
        weight: The weight's.
        input: What the input is cast to before the layer computes.
        grad_output: What the gradient of the output is cast to before the layer's own gradients are computed.
    """

    weight: FloatFormat | None = None
    input: FloatFormat | None = None
    grad_output: FloatFormat | None = None

    def without_weight(self) -> "LayerFormats":
        """Return the casts alone."""
        return replace(self, weight=None)

    def __str__(self) -> str:
        """Return them as they would be written in a plan."""
        names = {role: fmt.name for role in ROLES if (fmt := getattr(self, role)) is not None}
        return repr(names if set(names) - {"weight"} else names.get("weight"))


@dataclass(frozen=True)
class Rule:
    """One line of a plan.

    Attributes:
        pattern: A glob on dotted module names, in which ``*`` also matches dots.
        formats: The formats of the layers that it matches.
    """

    pattern: str
    formats: LayerFormats

    @property
    def fmt(self) -> FloatFormat | None:
        """The weight's format."""
        return self.formats.weight

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
            one of these; a bare value is the weight's. The roles are `weight`; `input`, cast in the forward pass; and
            `grad_output`, the gradient of the layer's output, cast in the backward pass. A role that is missing or
            None is left alone. nn.MultiheadAttention and its `out_proj` have the weight alone, and `input` does not
            concern embeddings, whose input is indices.
        options: Any of `scaling` ("delayed", "current" or "none"), `history`, `per_row` (of weights alone) and
            `power_of_two`; see `Scaler`, and `Cast` for inputs and output gradients.

    Attributes:
        rules: The patterns in order, with their formats.
        options: The scaling options as they were given.

    Raises:
        PlanError: If a pattern or a value is none of these.
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
        self.rules = tuple(Rule(_pattern(key), _formats(key, value)) for key, value in patterns.items())
        self.options = options
        # A misspelled or impossible option is refused here and not at the first model.
        new_scaler(torch.ones(1, 1), "E4M3", **options)

    def __repr__(self) -> str:
        """Return the plan as it would be written."""
        rules = ", ".join(f"{rule.pattern!r}: {rule.formats}" for rule in self.rules)
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"PrecisionPlan({{{rules}}}{options})"

    def rule_for(self, name: str) -> Rule | None:
        """Return the rule that decides on the layer with this dotted module name: the first that matches."""
        return next((rule for rule in self.rules if rule.matches(name)), None)

    def formats_for(self, name: str) -> LayerFormats:
        """Return the formats of the layer with this dotted module name."""
        rule = self.rule_for(name)
        return LayerFormats() if rule is None else rule.formats

    def format_for(self, name: str) -> FloatFormat | None:
        """Return the weight's format in the layer with this dotted module name, or None if it is left alone."""
        rule = self.rule_for(name)
        return None if rule is None else rule.fmt

    def check_patterns(self, names: Sequence[str]) -> None:
        """Refuse a pattern that has no effect on a model; ``"*"`` and those that leave layers alone may have none.

        Args:
            names: Dotted names of the model's layers.

        Raises:
            PlanError: If a pattern matches no layer, or earlier patterns give all that it matches other formats.
        """
        for rule in self.rules:
            if rule.formats == LayerFormats() or rule.pattern == "*":
                continue
            matched = [name for name in names if rule.matches(name)]
            if not matched:
                raise PlanError(
                    f"plan {rule.pattern!r}",
                    f"it matches no layer of the model; nearest: {', '.join(_nearest(rule.pattern, names))}",
                    "Patterns match whole dotted names of nn.Linear, nn.Embedding and nn.MultiheadAttention layers",
                )
            if all(self.formats_for(name) != rule.formats for name in matched):
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


def _formats(pattern: str, value: object) -> LayerFormats:
    """Return the formats from a plan's value."""
    where = f"plan {pattern!r}"
    if not isinstance(value, Mapping):
        return LayerFormats(weight=_format(where, value))
    unknown = [role for role in value if role not in ROLES]
    if unknown:
        raise PlanError(where, f"{unknown[0]!r} is not a role", f"The roles are {', '.join(ROLES)}")
    return LayerFormats(**{role: _format(where, fmt) for role, fmt in value.items()})


def _format(where: str, value: object) -> FloatFormat | None:
    """Return a format from a plan's value for one role."""
    if value is None or isinstance(value, FloatFormat):
        return value
    if not isinstance(value, str):
        raise PlanError(where, f"{value!r} is not a format", "Give a FloatFormat, a format's name, or None")
    try:
        return resolve(value)
    except UnknownFormatError as error:
        raise UnknownFormatError(where, error.why, error.what_to_do) from None
