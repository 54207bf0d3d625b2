"""From a group's `fmt` and `scalers` to one scaler for each parameter."""

from typing import Any

from torch import Tensor

from altgrad.errors import OptimizerError
from altgrad.numerics.catalog import resolve
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.scaling import Scaler


def resolve_format(where: str, group: dict[str, Any]) -> FloatFormat | None:
    """Return the one format of a group.

    Args:
        where: The optimizer's name, for the message.
        group: Its `fmt` (a format, a name or None) and `scalers` (a list or None).

    Returns:
        The format, or None for a plain group.

    Raises:
        OptimizerError: If scalers and `fmt` do not agree.
        UnknownFormatError: If there is no format of that name.
    """
    given, scalers = group.get("fmt"), group["scalers"]
    if not scalers:
        return None if given is None else resolve(given)
    # The scalers know their format even where its name is not in the catalogue.
    names = {scaler.fmt.name for scaler in scalers}
    if given is not None:
        names.add(given if isinstance(given, str) and given in names else resolve(given).name)
    if len(names) > 1:
        raise OptimizerError(
            where, f"one group has the formats {', '.join(sorted(names))}", "Make one group for each format"
        )
    fmt: FloatFormat = scalers[0].fmt
    return fmt


def bind_scalers(where: str, group: dict[str, Any]) -> list[Scaler] | None:
    """Return one scaler for each parameter of a group, or None for a plain group.

    Args:
        where: The optimizer's name, for the message.
        group: Its `params` (a list), `fmt` (a `FloatFormat` or None) and `scalers` (a list, or None for scale 1).

    Raises:
        OptimizerError: If the numbers of parameters and scalers differ, or a parameter is not real.
    """
    params: list[Tensor] = group["params"]
    for p in params:
        if not p.is_floating_point():
            raise OptimizerError(where, f"a parameter of {p.dtype}", "Give parameters of a float dtype")
    if group["fmt"] is None:
        return None
    if group["scalers"] is None:
        return [Scaler(group["fmt"], mode="none").to(p.device) for p in params]
    if len(group["scalers"]) != len(params):
        raise OptimizerError(
            where,
            f"a group has {len(params)} parameters and {len(group['scalers'])} scalers",
            "Give one scaler for each parameter",
        )
    return list(group["scalers"])
