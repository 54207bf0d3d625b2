"""Exact counts over windows of steps: taken from the optimizer, read back once a window, turned into rows.

The optimizer counts where the values are and never synchronizes. What a window has to say is read from the device in
one transfer (`read_together`).
Definitions: STAB-01, STAB-03 to STAB-05, FLIP-01, FLIP-02, UPDT-01, UPDT-02, EDQ, GRAD-01, GRAD-04 in docs/metrics.md.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from altgrad.nn.casts import CAST_COUNTS, Cast
from altgrad.numerics.scaling import Scaler
from altgrad.optim.counting import COUNTERS, SUMS
from altgrad.telemetry.recorder import Recorder

AMAX_EMA_DECAY = 0.9
"""Decay a window of the moving average of amax: it remembers about ten windows."""

_SCOPES: dict[str, tuple[str, str]] = {
    "updates": ("gradient", "updates"),
    "update_underflow": ("update", "underflow"),
    "weight_overflow": ("weight", "overflow"),
    "weight_underflow": ("weight", "underflow"),
    "intended_sq": ("update", "intended_sq"),
    "realised_dot": ("update", "realised_dot"),
}
"""Scope and metric of a counter or sum, where it is not (`weight`, its own name)."""

_TOTALS = {
    "weight_overflow": "overflow",
    "weight_underflow": "underflow",
    "update_underflow": "update_underflow",
    "zero_update": "zero_update",
}
"""Counters whose rate over all weights is a metric of the run, by the metric's name without `_rate`."""


def stall_ratio(flips: float, updates: float) -> float:
    """Return the share of updated elements whose code did not change (UPDT-02).

    Args:
        flips: Flips among elements with a nonzero gradient, summed over steps.
        updates: Elements with a nonzero gradient, summed over the same steps.

    Returns:
        `1 - flips / updates`, in [0, 1]; NaN where nothing was updated.
    """
    return 1.0 - flips / updates if updates else math.nan


@dataclass(frozen=True)
class TrackedWeight:
    """A quantized weight as the counters see it.

    Attributes:
        name: The parameter's dotted name.
        parameter: The raw weight.
        scaler: Its scale.
    """

    name: str
    parameter: Tensor
    scaler: Scaler


class Measured(NamedTuple):
    """What a window has to say of tensors.

    Attributes:
        counts: (weights, len(COUNTERS)).
        sums: (weights, len(SUMS)).
        ranges: (weights, 2), each weight's largest and smallest nonzero magnitude.
        clipped: (weights,), gradient elements that partition-relative clipping held; empty where it is off.
        casts: (casts, 4), each cast's elements, overflow, underflow and largest magnitude.
    """

    counts: Tensor
    sums: Tensor
    ranges: Tensor
    clipped: Tensor
    casts: Tensor


class WindowCounters:
    """Writes a window's counters and tensor statistics.

    Args:
        weights: The quantized weights.
        casts: The casts of layers' inputs and output gradients: the weight's name, the role and the cast.
        recorder: Takes the rows.
    """

    def __init__(
        self, weights: Sequence[TrackedWeight], casts: Sequence[tuple[str, str, Cast]], recorder: Recorder
    ) -> None:
        self._weights = weights
        self._casts = casts
        self._recorder = recorder
        self._amax_ema: dict[str, float] = {}

    def measure(self, counts: Mapping[str, Tensor], sums: Mapping[str, Tensor], clipped: Tensor) -> Measured:
        """Return what `write` needs, on the device; the casts start counting again.

        Args:
            counts: By parameter name, int64 tensors of shape `(len(COUNTERS),)` as `take_counts` returns them.
            sums: Likewise, as `take_sums` returns them.
            clipped: As in `Measured`.
        """
        names = [weight.name for weight in self._weights]
        device = self._weights[0].parameter.device
        ranges = torch.stack([_range(weight.parameter) for weight in self._weights])
        casts = [
            torch.cat([cast.take_counts().double(), cast.take_amax().double().view(1)]) for *_, cast in self._casts
        ]
        return Measured(
            torch.stack([counts[name] for name in names]),
            torch.stack([sums[name] for name in names]),
            ranges,
            clipped.to(device),
            torch.stack(casts) if casts else torch.zeros(0, 4, device=device),
        )

    def write(self, step: int, steps_in_window: int, measured: Measured) -> dict[str, float]:
        """Write one window's rows.

        Args:
            step: Optimizer steps done.
            steps_in_window: Steps that the counts sum over.
            measured: From `measure`, on the host.

        Returns:
            The run's own rates, over all weights, for the mirror: those of `_rates`, and `overflow_rate`,
            `underflow_rate`, `update_underflow_rate`, `zero_update_rate` and, where they are on, `clip_rate` and the
            casts' rates, such as `input_overflow_rate`.
        """
        rates = self._write_casts(step, measured.casts)
        if not steps_in_window:
            return rates
        rows = torch.cat([measured.counts, measured.sums], dim=1)
        names = (*COUNTERS, *SUMS)
        clipped = measured.clipped.tolist() or [None] * len(self._weights)
        elements = 0
        for weight, row, (amax, smallest), held in zip(
            self._weights, rows.tolist(), measured.ranges.tolist(), clipped, strict=True
        ):
            size = weight.parameter.numel() * steps_in_window
            elements += size
            self._write_counts(step, weight.name, dict(zip(names, row, strict=True)), size)
            if held is not None:
                self._recorder.add(step, "gradient", weight.name, {"clip_elements": size, "clipped": held})
            self._write_range(step, weight.name, amax, smallest)
        totals = dict(zip(names, rows.sum(0).tolist(), strict=True))
        rates |= _rates(totals, elements)
        rates |= {f"{metric}_rate": totals[counter] / elements for counter, metric in _TOTALS.items()}
        if measured.clipped.numel():
            rates["clip_rate"] = float(measured.clipped.sum()) / elements
        return rates

    def stall_ratios(self, counts: Tensor) -> dict[str, float]:
        """Return each weight's stall ratio over the window, from the counts of `measure`, on the host."""
        rows = [dict(zip(COUNTERS, row, strict=True)) for row in counts.tolist()]
        return {
            weight.name: stall_ratio(row["flips_among_updated"], row["updates"])
            for weight, row in zip(self._weights, rows, strict=True)
        }

    def _write_counts(self, step: int, name: str, count: Mapping[str, float], size: int) -> None:
        scopes: dict[str, dict[str, float]] = {"weight": {"elements": size}, "gradient": {}, "update": {}}
        for counter, value in count.items():
            scope, metric = _SCOPES.get(counter, ("weight", counter))
            scopes[scope][metric] = value
        rates = _rates(count, size)
        scopes["update"]["edq"] = rates.pop("edq")
        scopes["weight"].update(rates)
        for scope, metrics in scopes.items():
            self._recorder.add(step, scope, name, metrics)

    def _write_casts(self, step: int, casts: Tensor) -> dict[str, float]:
        """Write what the casts counted; return the rates over all casts of a role."""
        totals: dict[str, Tensor] = {}
        for (name, role, _), row in zip(self._casts, casts, strict=True):
            self._recorder.add(step, role, name, dict(zip((*CAST_COUNTS, "amax"), row.tolist(), strict=True)))
            totals[role] = totals.get(role, torch.zeros_like(row)) + row
        rates: dict[str, float] = {}
        for role, (elements, overflow, underflow, _) in ((role, row.tolist()) for role, row in totals.items()):
            if elements:
                rates[f"{role}_overflow_rate"] = overflow / elements
                rates[f"{role}_underflow_rate"] = underflow / elements
        return rates

    def _write_range(self, step: int, name: str, amax: float, smallest: float) -> None:
        before = self._amax_ema.get(name, amax)
        self._amax_ema[name] = AMAX_EMA_DECAY * before + (1.0 - AMAX_EMA_DECAY) * amax
        bits = math.log2(amax / smallest) if amax > 0 and math.isfinite(amax) else math.nan
        values = {"amax": amax, "amax_ema": self._amax_ema[name], "range_bits": bits}
        self._recorder.add(step, "weight", name, values)

    def state_dict(self) -> dict[str, float]:
        """Return the moving averages, for the restart state."""
        return dict(self._amax_ema)

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore the moving averages from `state_dict`."""
        self._amax_ema = dict(state)


def gradient_norms(gradients: Mapping[str, Tensor]) -> Tensor:
    """Return the L2 and Linf norm of each gradient (GRAD-01), (gradients, 2), on their device."""
    tensors = list(gradients.values())
    return torch.stack([torch.stack(torch._foreach_norm(tensors, order)) for order in (2.0, math.inf)], dim=1)


def write_gradient_norms(recorder: Recorder, step: int, names: Iterable[str], norms: Tensor) -> None:
    """Write the norms of gradients.

    Args:
        recorder: Takes the rows.
        step: Optimizer steps done.
        names: The parameters' names.
        norms: From `gradient_norms`, on the host.
    """
    for name, (l2, linf) in zip(names, norms.tolist(), strict=True):
        recorder.add(step, "gradient", name, {"l2_norm": l2, "linf_norm": linf})


def read_together(*tensors: Tensor) -> list[Tensor]:
    """Bring tensors to the host in one transfer.

    Args:
        tensors: Of any shapes and dtypes, on one device; integers below 2^53 arrive exactly.

    Returns:
        float64 tensors of the same shapes on the CPU.
    """
    flat = torch.cat([tensor.detach().to(torch.float64).flatten() for tensor in tensors]).cpu()
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _range(weight: Tensor) -> Tensor:
    """Return (amax, smallest nonzero magnitude) of a weight, on its device."""
    magnitude = weight.detach().abs()
    smallest = torch.where(magnitude > 0, magnitude, math.inf).amin()
    return torch.stack([magnitude.amax(), smallest])


def _rates(count: Mapping[str, float], elements: int) -> dict[str, float]:
    intended = count["intended_sq"]
    return {
        "flip_rate": count["flips"] / elements,
        "stall_ratio": stall_ratio(count["flips_among_updated"], count["updates"]),
        "edq": count["realised_dot"] / intended if intended else math.nan,
    }
