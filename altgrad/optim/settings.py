"""The settings of a parameter group, and what each may be."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from altgrad.errors import OptimizerError
from altgrad.optim.direction import Feedback
from altgrad.optim.metric import METRICS
from altgrad.optim.storage import ECO, STORAGES


class Rule(NamedTuple):
    """What a setting may be.

    Attributes:
        holds: Whether a value is allowed.
        allowed: The same in words.
    """

    holds: Callable[[Any], bool]
    allowed: str


def _number(low: float, high: float, low_open: bool = False, high_open: bool = False) -> Rule:
    """Return the rule for a finite number within an interval."""

    def holds(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return (low < value if low_open else low <= value) and (value < high if high_open else value <= high)

    left, right = "(" if low_open else "[", ")" if high_open or high == math.inf else "]"
    return Rule(holds, f"a finite number in {left}{low:g}, {high:g}{right}")


def _one_of(names: tuple[str, ...]) -> Rule:
    return Rule(lambda value: value in names, "one of " + ", ".join(names))


_BETA = _number(0, 1, high_open=True)
_RATE = _number(0, math.inf)


def _is_learning_rate(value: Any) -> bool:
    """Return whether a value is a learning rate; a tensor is read back, which only construction may do."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and _RATE.holds(float(value))
    return _RATE.holds(value)


def _is_betas(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(_BETA.holds, value))


RULES: dict[str, Rule] = {
    "lr": Rule(_is_learning_rate, f"{_RATE.allowed}, or a tensor of one"),
    "betas": Rule(_is_betas, "two numbers in [0, 1)"),
    "eps": _number(0, math.inf, low_open=True),
    "weight_decay": _RATE,
    "metric_power": _number(-1, 1),
    "metric": _one_of(tuple(METRICS)),
    "permutation_seed": Rule(lambda value: type(value) is int and value >= 0, "an integer of at least 0"),
    "precondition": _one_of(("update", "gradient")),
    "momentum": _BETA,
    "max_rungs": _number(0, math.inf, low_open=True),
    "storage": _one_of(STORAGES),
    "count": Rule(lambda value: isinstance(value, bool), "True or False"),
}
"""What each setting may be."""


def check_settings(where: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings outside their range.

    Args:
        where: The optimizer's name, for the message.
        settings: Values by name; a name without a rule is not checked.

    Raises:
        OptimizerError: A value is not allowed.
    """
    for name, value in settings.items():
        rule = RULES.get(name)
        if rule is not None and not rule.holds(value):
            raise OptimizerError(where, f"{name}={value!r} is not allowed", f"{name} is {rule.allowed}")


def check_combination(where: str, group: Mapping[str, Any], feedback: Feedback | None, has_generator: bool) -> None:
    """Refuse settings of a quantized group that cannot go together; a plain group uses none of them.

    Args:
        where: The optimizer's name, for the message.
        group: Every setting, and `fmt` as a `FloatFormat` or None.
        feedback: Of the group's direction.
        has_generator: Whether the optimizer has one.

    Raises:
        OptimizerError: They cannot.
    """
    if group["fmt"] is None:
        return
    for why, what_to_do in itertools.chain(_of_storage(group, feedback, has_generator), _of_metric(group)):
        raise OptimizerError(where, why, what_to_do)


def _of_storage(group: Mapping[str, Any], feedback: Feedback | None, has_generator: bool) -> Iterator[tuple[str, str]]:
    """Iterate over what is wrong with a storage, and what to do about it."""
    fmt, storage = group["fmt"], group["storage"]
    if storage == "stochastic" and fmt.is_reference:
        yield (
            f"storage='stochastic' with the reference format {fmt.name}, which torch's cast rounds to nearest",
            'Set storage="nearest" or "master" for this group',
        )
    if storage == "stochastic" and not has_generator:
        yield "storage='stochastic' without a generator", "Pass generator=torch.Generator().manual_seed(seed)"
    if storage == ECO and feedback is None:
        yield (
            f"storage='eco' with direction={group['direction']!r}, which takes back no rounding error",
            "Set another storage for this group",
        )
    if storage == ECO and feedback is not None and not feedback.decay(group):
        yield (
            "storage='eco' without a momentum to keep the rounding error in",
            "Set betas with beta1 above 0, or another storage for this group",
        )


def _of_metric(group: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Iterate over what is wrong with a metric, and what to do about it."""
    metric, power = group.get("metric", "ulp"), group.get("metric_power", 0.0)
    if metric != "ulp" and group.get("precondition") == "gradient":
        yield (
            f"metric={metric!r} with precondition='gradient', which multiplies the gradient with S^p itself",
            'Set precondition="update" for this group',
        )
    if power < METRICS[metric].least_power:
        yield (
            f"metric={metric!r} with metric_power={power!r}, which is infinite at a weight of 0",
            "Set metric_power above 0 for this group",
        )
