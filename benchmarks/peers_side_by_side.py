"""The peers beside AltGrad: how long they take, and how often they are wrong, on the same inputs."""

from collections.abc import Callable

import torch
from torch import Tensor

import altgrad as ag
from benchmarks.peers import MAX, PEERS, Call
from benchmarks.rounding import FORMAT
from benchmarks.rows import PeerRow, Result, Row, Target
from benchmarks.setting import Setting, size_words
from benchmarks.timing import Times, interleave

OURS = "altgrad, compiled"
"""What the peers are compared with."""

_FASTER = (5.0, 12.0, 18.0)
"""How many times faster than an exact peer, by size."""


def run(setting: Setting) -> Result:
    """Check every peer on hard inputs, and time it beside `copy_` and AltGrad."""
    inputs = hard_inputs().to(setting.device)
    exact = ag.quantize(inputs, FORMAT)
    ours: dict[str, Callable[[Tensor], Call]] = {"altgrad, eager": _eager, OURS: _compiled}
    lines = {name: _check(PeerRow(name, ag.__version__), make, inputs, exact) for name, make in ours.items()}
    makers = dict(ours)
    for peer in PEERS:
        line = PeerRow(peer.name, peer.version(), why_not=peer.why_not(setting.device))
        lines[peer.name] = line
        if not line.why_not:
            _check(line, peer.make, inputs, exact)
            makers[peer.name] = peer.make
    result = Result()
    for n, limit in zip(setting.elements, _FASTER, strict=True):
        times = _time(setting, n, makers)
        for name in makers:
            lines[name].ratios[n] = times.ratio(name, "copy_")
        result.rows += _against_the_fastest(times, lines, n, limit)
    result.peers = list(lines.values())
    return result


def hard_inputs() -> Tensor:
    """Return every bfloat16 pattern, every tie of E4M3 with its float32 neighbors, and random values of all sizes."""
    patterns = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16).to(torch.float32)
    values = ag.decode(torch.arange(256, dtype=torch.uint8), FORMAT)
    values = torch.cat([torch.unique(values[values.isfinite()]), torch.tensor([-480.0, 480.0])]).sort().values
    ties = (values[1:] + values[:-1]) / 2
    edges = torch.cat([ties, values])
    near = [torch.nextafter(edges, torch.full_like(edges, limit)) for limit in (-torch.inf, torch.inf)]
    draws = torch.Generator().manual_seed(2)
    magnitudes = torch.randint(-14, 12, (1 << 16,), generator=draws).exp2()
    return torch.cat([patterns, edges, *near, torch.randn(1 << 16, generator=draws) * magnitudes])


def is_wrong(found: Tensor, exact: Tensor) -> Tensor:
    """Return where two results differ in a bit, signs of zero included; one NaN is as good as another."""
    same = found.view(torch.int32) == exact.view(torch.int32)
    return ~(same | (found.isnan() & exact.isnan()))


def _check(line: PeerRow, make: Callable[[Tensor], Call], inputs: Tensor, exact: Tensor) -> PeerRow:
    wrong = is_wrong(make(inputs)().to(torch.float32), exact)
    in_range = wrong & (inputs.abs() <= MAX)
    line.wrong, line.wrong_in_range, line.inputs = int(wrong.sum()), int(in_range.sum()), inputs.numel()
    return line


def _time(setting: Setting, n: int, makers: dict[str, Callable[[Tensor], Call]]) -> Times:
    x = setting.tensor(n)
    out = torch.empty_like(x)
    calls: dict[str, Call] = {"copy_": lambda: out.copy_(x)}
    return interleave(calls | {name: make(x) for name, make in makers.items()}, setting, budget_s=15.0)


def _against_the_fastest(times: Times, lines: dict[str, PeerRow], n: int, limit: float) -> list[Row]:
    """Return how many times faster AltGrad is than the fastest peer without an error in range.

    A peer counts as exact here if it is right wherever the format has a value: stricter than asking for exactness
    everywhere, since it lets more peers compete. One row has the peers as their documentation calls them, one has
    those that only `torch.compile` makes fast too.
    """
    rows = []
    for words, with_compiled in (("as documented", False), ("any", True)):
        rivals = [
            peer.name
            for peer in PEERS
            if n in lines[peer.name].ratios
            and not lines[peer.name].wrong_in_range
            and (with_compiled or not peer.compiled_here)
        ]
        if rivals:
            fastest = min(rivals, key=times.median_s)
            label = f"faster than the fastest exact peer, {words}, {size_words(n)}"
            rows.append(times.ratio(OURS, fastest, label, Target(limit, at_least=True), inverse=True, note=fastest))
    return rows


def _eager(x: Tensor) -> Call:
    out = torch.empty_like(x)
    return lambda: ag.quantize(x, FORMAT, out=out)


def _compiled(x: Tensor) -> Call:
    out = torch.empty_like(x)
    return lambda: ag.quantize(x, FORMAT, out=out, compiled=True)
