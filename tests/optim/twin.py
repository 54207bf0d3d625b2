"""Slow twins in float64: the definitions' letters, one element at a time, sharing no arithmetic with the package."""

import bisect
import math
from fractions import Fraction

import numpy as np

from altgrad.numerics.format import FloatFormat

FLOOR = 0.05
WORD = 2**32 - 1


def log2_floor(x: Fraction) -> int:
    """The e with 2^e <= x < 2^(e+1)."""
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if Fraction(2) ** e <= x else e - 1


def permutation(count: int, seed: int, index: int) -> list[int]:
    """0 .. count - 1 in the order of their hashes, a 32-bit mixer between the key's two words."""
    key = [int(word) for word in np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(2, np.uint32)]

    def mixed(i: int) -> int:
        h = i ^ key[0]
        h = ((h ^ h >> 16) * 0x21F0AAAD) & WORD
        h = (((h ^ h >> 15) + key[1]) * 0x735A2D97) & WORD
        return h ^ h >> 15

    signed = [mixed(i) - 2**32 if mixed(i) >> 31 else mixed(i) for i in range(count)]
    return sorted(range(count), key=signed.__getitem__)


def relative(values: list[float], settings: dict) -> list[float]:
    """A tensor's metric over its root mean square, held to the floor; for the control, another element's each."""
    rms = math.sqrt(math.fsum(x * x for x in values) / len(values))
    factors = [max(x / rms, FLOOR) for x in values]
    if settings.get("metric") == "permuted":
        factors = [factors[i] for i in permutation(len(factors), settings["permutation_seed"], 0)]
    return factors


class Line:
    """A format's number line at a scale: exact, from the list of its magnitudes."""

    def __init__(self, fmt: FloatFormat, scale: float = 1.0) -> None:
        self.fmt, self.scale = fmt, Fraction(scale)
        self.magnitudes = [Fraction(fmt.value_of_magnitude(k)) * self.scale for k in range(fmt.num_rungs + 1)]
        self.max = self.magnitudes[-1]

    def ulp(self, x: float) -> float:
        last = log2_floor(self.max / self.scale)
        e = log2_floor(abs(Fraction(x)) / self.scale) if x else self.fmt.emin
        return float(self.scale * Fraction(2) ** (max(min(e, last), self.fmt.emin) - self.fmt.mantissa_bits))

    def _between(self, x: float) -> tuple[int, Fraction]:
        """The rung at or below |x|, and the share of the gap above it."""
        magnitude = min(abs(Fraction(x)), self.max)
        k = bisect.bisect_right(self.magnitudes, magnitude) - 1
        if k == self.fmt.num_rungs:
            return k, Fraction(0)
        return k, (magnitude - self.magnitudes[k]) / (self.magnitudes[k + 1] - self.magnitudes[k])

    def _signed(self, k: int, x: float) -> float:
        return math.copysign(float(self.magnitudes[k]), x)

    def nearest(self, x: float) -> float:
        k, share = self._between(x)
        up = share > Fraction(1, 2) or (share == Fraction(1, 2) and k % 2 == 1)
        return self._signed(k + up, x)

    def stochastic(self, x: float, threshold: float) -> float:
        k, share = self._between(x)
        return self._signed(k + (share > Fraction(threshold)), x)

    def position(self, x: float) -> float:
        k, share = self._between(x)
        past = max(abs(Fraction(x)) - self.max, Fraction(0)) / Fraction(self.ulp(float(self.max)))
        return math.copysign(float(k + share + past), x)

    def value_at(self, position: float) -> float:
        p = abs(Fraction(position))
        k = min(int(p), self.fmt.num_rungs)
        beyond = self.max + Fraction(self.ulp(float(self.max)))
        value = self.magnitudes[k] + (p - k) * ([*self.magnitudes, beyond][k + 1] - self.magnitudes[k])
        return math.copysign(float(value), position)


class Scale:
    """One tensor's scale: 2^ceil(log2(amax / max)), from this amax (current) or from earlier ones (delayed)."""

    def __init__(self, fmt: FloatFormat, mode: str, history: int, weights: list[float]) -> None:
        self.fmt, self.mode, self.history = fmt, mode, history
        amax = max(map(abs, weights))
        self.earlier, self.value = [amax], self._from(amax)
        if mode == "none":
            self.value = 1.0

    def _from(self, amax: float) -> float:
        if amax == 0.0:
            return 1.0
        ratio = Fraction(amax) / Fraction(self.fmt.max)
        e = log2_floor(ratio)
        e = e if Fraction(2) ** e == ratio else e + 1
        return max(2.0**e, 2.0**-126 / self.fmt.smallest_subnormal)

    def advance(self, amax: float) -> None:
        if self.mode == "none":
            return
        self.value = self._from(amax if self.mode == "current" else max(self.earlier))
        self.earlier = [amax, *self.earlier][: self.history]


class Twin:
    """One quantized weight under one optimizer."""

    def __init__(self, weights: list[float], fmt: FloatFormat, settings: dict, mode: str, history: int) -> None:
        self.fmt, self.set = fmt, settings
        self.scale = Scale(fmt, mode, history, weights)
        self.w, self.t = list(weights), 0
        self.m, self.v = [0.0] * len(weights), [0.0] * len(weights)
        self.counts = dict.fromkeys(
            (
                "flips",
                "flips_among_updated",
                "updates",
                "stall",
                "zero_update",
                "rescale_moves",
                "update_underflow",
                "weight_overflow",
                "weight_underflow",
            ),
            0,
        )

    def land(self, u: list[float], thresholds: list[float]) -> list[float]:
        line = Line(self.fmt, self.scale.value)
        if self.set["storage"] in ("nearest", "eco"):
            return [line.nearest(x) for x in u]
        if self.set["storage"] == "stochastic":
            return [line.stochastic(x, r) for x, r in zip(u, thresholds, strict=True)]
        return u

    def metric(self) -> list[float]:
        """S^p, or |w|^p; 1 for the gradient's own metric and without one."""
        power = self.set.get("metric_power", 0.0)
        if self.set.get("precondition") == "gradient" or not power:
            return [1.0] * len(self.w)
        if self.set.get("metric") == "smooth":
            return [max(abs(x), 2.0**-126) ** power for x in self.w]
        line = Line(self.fmt, self.scale.value)
        return [line.ulp(x) ** power for x in self.w]

    def adamw(self, g: list[float], factor: list[float]) -> list[float]:
        a = self.set
        beta1, beta2 = a["betas"]
        if a.get("precondition") == "gradient":
            line = Line(self.fmt, self.scale.value)
            g = [x * line.ulp(w) ** a["metric_power"] for x, w in zip(g, self.w, strict=True)]
        u = []
        for i, w in enumerate(self.w):
            self.m[i] = beta1 * self.m[i] + (1 - beta1) * g[i]
            self.v[i] = beta2 * self.v[i] + (1 - beta2) * g[i] ** 2
            m_hat = self.m[i] / (1 - beta1**self.t)
            v_hat = self.v[i] / (1 - beta2**self.t)
            d = m_hat / (math.sqrt(v_hat) + a["eps"])
            u.append(w - a["lr"] * a["weight_decay"] * w - a["lr"] * factor[i] * d)
        return u

    def feed_back(self, u: list[float], factor: list[float]) -> None:
        """ECO, algorithm 3: the rounding error, within the grid's range, goes to the momentum."""
        a, highest = self.set, float(Line(self.fmt, self.scale.value).max)
        beta1, beta2 = a["betas"]
        for i, x in enumerate(u):
            error = min(max(x, -highest), highest) - self.w[i]
            denominator = math.sqrt(self.v[i] / (1 - beta2**self.t)) + a["eps"]
            self.m[i] += (1 - beta1**self.t) / (a["lr"] * factor[i]) * (1 - 1 / beta1) * denominator * error

    def rung(self, g: list[float]) -> list[float]:
        a, line = self.set, Line(self.fmt, self.scale.value)
        u = []
        for i, w in enumerate(self.w):
            self.m[i] = a["momentum"] * self.m[i] + g[i] * line.ulp(w)
            delta = min(max(a["lr"] * self.m[i], -a["max_rungs"]), a["max_rungs"])
            u.append(line.value_at(line.position(w) - delta))
        return u

    def step(self, g: list[float], thresholds: list[float], factor: list[float] | None = None) -> None:
        self.t += 1
        old = self.w
        factor = factor or relative(self.metric(), self.set)
        u = self.rung(g) if "momentum" in self.set else self.adamw(g, factor)
        self.scale.advance(max(map(abs, u)))
        self.w = self.land(u, thresholds)
        if self.set["storage"] == "eco":
            self.feed_back(u, factor)
        recount(self.counts, Line(self.fmt, self.scale.value), old, g, u, self.w, self.set["storage"] != "master")


class RowTwins:
    """A matrix with a scale for each row: a twin each, and one metric over all."""

    def __init__(self, rows: list[list[float]], fmt: FloatFormat, settings: dict, mode: str, history: int) -> None:
        self.rows, self.set = [Twin(row, fmt, settings, mode, history) for row in rows], settings

    def step(self, g: list[list[float]]) -> None:
        factors = relative([x for row in self.rows for x in row.metric()], self.set)
        for i, (row, gradients) in enumerate(zip(self.rows, g, strict=True)):
            width = len(gradients)
            row.step(gradients, [], factors[i * width : (i + 1) * width])


def recount(
    counts: dict, line: Line, old: list[float], g: list[float], u: list[float], new: list[float], stored_on_grid: bool
) -> None:
    """Count one step, an element at a time, by the definitions of the metrics."""
    for w_old, grad, intended, w_new in zip(old, g, u, new, strict=True):
        q_old, q_new = line.nearest(w_old), line.nearest(w_new)
        on_grid = q_old == w_old if stored_on_grid else True
        flip = on_grid and q_new != q_old
        seen = intended if stored_on_grid else w_new
        counts["flips"] += flip
        counts["updates"] += grad != 0
        counts["flips_among_updated"] += flip and grad != 0
        counts["stall"] += grad != 0 and q_new == q_old
        counts["zero_update"] += w_new == w_old
        counts["rescale_moves"] += not on_grid
        counts["update_underflow"] += intended != w_old and w_new == w_old
        counts["weight_overflow"] += abs(Fraction(seen)) > line.max
        counts["weight_underflow"] += seen != 0 and q_new == 0
