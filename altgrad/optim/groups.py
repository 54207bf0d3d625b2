"""From a model to parameter groups: one for each format of its quantized weights, and the plain rest."""

from typing import Any

from torch import nn

from altgrad.nn.surgery import named_quantized_weights


def param_groups(model: nn.Module, weight_decay: float = 0.1) -> list[dict[str, Any]]:
    """Return a model's trainable parameters as groups for an optimizer of this package.

    Matrices decay, also an embedding's; vectors (biases, norms) do not. A tied weight stands there once, and a group
    with no parameter not at all.

    Args:
        model: Any model; `quantize_model` makes quantized weights.
        weight_decay: The decay of those groups that have one.

    Returns:
        One group for each format of the quantized weights, in order of appearance, with the keys `params`,
        `param_names`, `weight_decay`, `fmt` (the format's name) and `scalers`; then the plain groups, with decay and
        without, whose `fmt` and `scalers` are None.
    """
    groups: dict[tuple[str | None, bool], dict[str, Any]] = {}

    def add(name: str, parameter: nn.Parameter, scaler: Any = None) -> None:
        fmt, decays = (scaler.fmt.name if scaler is not None else None), parameter.ndim >= 2
        group = groups.setdefault(
            (fmt, decays),
            {
                "params": [],
                "param_names": [],
                "weight_decay": weight_decay if decays else 0.0,
                "fmt": fmt,
                "scalers": None if scaler is None else [],
            },
        )
        group["params"].append(parameter)
        group["param_names"].append(name)
        if scaler is not None:
            group["scalers"].append(scaler)

    quantized = set()
    for name, parameter, scaler in named_quantized_weights(model):
        quantized.add(parameter)
        if parameter.requires_grad:
            add(name, parameter, scaler)
    plain = [(n, p) for n, p in model.named_parameters() if p.requires_grad and p not in quantized]
    for decays in (True, False):
        for name, parameter in plain:
            if (parameter.ndim >= 2) == decays:
                add(name, parameter)
    return list(groups.values())
