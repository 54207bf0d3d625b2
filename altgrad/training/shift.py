"""The emergency mantissa shift (STAB-06): a tensor that cannot go on gives an exponent bit to the mantissa.

`ShiftGuard` decides, from windows of telemetry; `shift_formats` does it to a model. The weights stay what they are and
are then rounded to the new grid where the storage is on it: exactly where the new grid has them. Their scale starts
afresh from them.
"""

import math
from collections.abc import Mapping
from typing import cast

from torch import nn

from altgrad.nn.modules import QuantizedModule
from altgrad.nn.plan import ScalingOptions, new_scaler
from altgrad.numerics.catalog import EIGHT_SPLITS, formats
from altgrad.numerics.format import FloatFormat
from altgrad.study.sections import MantissaShiftConfig


def shifted(fmt: FloatFormat) -> FloatFormat | None:
    """Return the split of eight bits with one exponent bit less and one mantissa bit more; None where there is none.

    Example:
        >>> from altgrad.numerics.catalog import formats
        >>> shifted(formats["E5M2"]).name
        'E4M3'
    """
    wanted = (fmt.exponent_bits - 1, fmt.mantissa_bits + 1)
    for name in EIGHT_SPLITS:
        if (formats[name].exponent_bits, formats[name].mantissa_bits) == wanted:
            return formats[name]
    return None


class ShiftGuard:
    """Counts, for each tensor, the windows in a row that speak for a shift.

    Args:
        config: When it is enough.
    """

    def __init__(self, config: MantissaShiftConfig) -> None:
        self._config = config
        self._streaks: dict[str, dict[str, int]] = {"stall_ratio": {}, "nonfinite": {}}

    def observe(self, stall_ratios: Mapping[str, float], nonfinite: Mapping[str, bool]) -> dict[str, str]:
        """Take in one window.

        Args:
            stall_ratios: By tensor; NaN where nothing was updated, which leaves a streak as it is.
            nonfinite: By tensor, whether its gradient was not finite at some step of the window.

        Returns:
            The tensors whose time has come, with the reason; their streaks start again.
        """
        due: dict[str, str] = {}
        for name, ratio in stall_ratios.items():
            speaks = {"nonfinite": self._config.nonfinite and nonfinite.get(name, False)}
            if not math.isnan(ratio):
                speaks["stall_ratio"] = ratio > self._config.stall_ratio
            for reason, yes in speaks.items():
                streaks = self._streaks[reason]
                streaks[name] = streaks.get(name, 0) + 1 if yes else 0
                if streaks[name] >= self._config.windows:
                    due[name] = reason
        for name in due:
            for streaks in self._streaks.values():
                streaks.pop(name, None)
        return due

    def state_dict(self) -> dict[str, dict[str, int]]:
        """Return the streaks, for the restart state."""
        return {reason: dict(streaks) for reason, streaks in self._streaks.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Restore what `state_dict` returned."""
        self._streaks = {reason: dict(streaks) for reason, streaks in state.items()}


def shift_formats(model: nn.Module, wanted: Mapping[str, FloatFormat], options: ScalingOptions) -> None:
    """Give weights other formats, in place, each with a new scale that is taken from the weight as it is.

    Layers that share a weight share its new scale. Optimizers that were built for the old formats must be built anew.

    Args:
        model: A quantized model.
        wanted: Formats by the weight's dotted name.
        options: The scaling options of the model's plan.
    """
    by_weight = {}
    for name, fmt in wanted.items():
        module_name, _, weight = name.rpartition(".")
        module = cast(QuantizedModule, model.get_submodule(module_name))
        raw = module.raw(weight)
        by_weight[id(raw)] = new_scaler(raw, fmt, **options).train(module.training)
    for other in model.modules():
        if isinstance(other, QuantizedModule):
            for weight in other.quantized_parameters:
                parameter = other._parameters.get(weight)
                if parameter is not None and id(parameter) in by_weight:
                    other.add_module(f"{weight}_scaler", by_weight[id(parameter)])
