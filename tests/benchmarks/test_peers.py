"""The table of peers, on peers whose errors are known; what is right comes from ml_dtypes."""

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import peers_side_by_side
from benchmarks.peers import Call, Peer
from benchmarks.rows import Result
from benchmarks.setting import Setting
from benchmarks.timing import Times

QUICK = Setting("cpu", 1, quick=True)
INPUTS = peers_side_by_side.hard_inputs()
E4M3 = np.unique(np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float64))
E4M3 = E4M3[np.isfinite(E4M3)]
COUNT = 2 * 65536 + 3 * (255 + 254)  # patterns and random values; 253 values and +-480, their ties, both neighbors

# The inputs begin with the bfloat16 patterns in their order, so that a pattern is a place.
ONE, ZERO, MINUS_ZERO, MAX, OVER, MINUS_INF, NAN = 0x3F80, 0x0000, 0x8000, 0x43E0, 0x43F0, 0xFF80, 0x7FC0
NUMBERS = {ONE: 1.0, ZERO: 0.0, MINUS_ZERO: -0.0, MAX: 448.0, OVER: 480.0, MINUS_INF: -np.inf, NAN: np.nan}


def rounds(errors: dict[int, float]) -> Callable[[Tensor], Call]:
    """Return a peer that rounds as ml_dtypes does, but for errors at places of the hard inputs."""

    def make(x: Tensor) -> Call:
        with np.errstate(invalid="ignore"):
            narrow = np.clip(x.numpy(), -448, 448).astype(ml_dtypes.float8_e4m3fn)
        out = torch.from_numpy(narrow.astype(np.float32))
        if len(x) == COUNT:
            for place, value in errors.items():
                out[place] = value
        return lambda: out

    return make


def fails(x: Tensor) -> Call:
    raise ValueError("no such format")


def side_by_side(monkeypatch: pytest.MonkeyPatch, peers: list[Peer], times_s: dict[str, float]) -> Result:
    """Run the section with these peers and, in place of the clock, these times."""

    def time(setting: Setting, n: int, makers: dict[str, Callable[[Tensor], Call]]) -> Times:
        return Times({name: np.full(3, times_s.get(name, 1.0)) for name in (*makers, "copy_")})

    monkeypatch.setattr(peers_side_by_side, "PEERS", tuple(peers))
    monkeypatch.setattr(peers_side_by_side, "_time", time)
    monkeypatch.setattr(peers_side_by_side, "_compiled", peers_side_by_side._eager)
    return peers_side_by_side.run(QUICK)


@pytest.mark.parametrize(
    ("errors", "exact"),
    [
        ({}, "yes"),
        ({NAN: -np.nan}, "yes"),
        ({ONE: 1.125}, "no; 1 of 132599 wrong, 1 in range"),
        ({ZERO: -0.0, MINUS_ZERO: 0.0}, "no; 2 of 132599 wrong, 2 in range"),
        ({OVER: 480.0, MINUS_INF: -np.inf, NAN: 0.0}, "in range; 3 of 132599 wrong"),
        ({ONE: np.nan, MAX: 416.0, OVER: np.nan, NAN: 448.0}, "no; 4 of 132599 wrong, 2 in range"),
    ],
    ids=["right", "another NaN", "a rung", "signs of zero", "out of range", "both"],
)
def test_wrong_answers_are_counted(errors: dict[int, float], exact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = side_by_side(monkeypatch, [Peer("fake", "torch", rounds(errors))], {})
    assert {line.name: line.exact() for line in result.peers} == {
        "altgrad, eager": "yes",
        "altgrad, compiled": "yes",
        "fake": exact,
    }


def test_the_hard_inputs_hold_what_is_hard() -> None:
    assert len(INPUTS) == COUNT == 132_599
    patterns = np.arange(1 << 16, dtype=np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(INPUTS[: 1 << 16].numpy(), patterns)
    np.testing.assert_array_equal(INPUTS[list(NUMBERS)].numpy(), list(NUMBERS.values()))
    values = np.concatenate([[-480.0], E4M3, [480.0]])
    ties = ((values[1:] + values[:-1]) / 2).astype(np.float32)
    near = [np.nextafter(ties, np.float32(limit)) for limit in (-np.inf, np.inf)]
    assert set(np.concatenate([ties, *near]).tolist()) <= set(INPUTS.numpy().tolist())


def test_a_bit_decides() -> None:
    exact = torch.tensor([0.0, -0.0, 1.0, torch.nan, torch.nan, torch.inf, 1.0])
    found = torch.tensor([-0.0, -0.0, 1.0 + 2.0**-23, -torch.nan, 0.0, -torch.inf, torch.nan])
    wrong = [True, False, True, False, True, True, True]
    assert peers_side_by_side.is_wrong(found, exact).tolist() == wrong


def test_only_peers_that_are_right_in_range_are_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [
        Peer("wrong", "torch", rounds({ONE: 1.125})),
        Peer("slow", "torch", rounds({})),
        Peer("documented", "torch", rounds({OVER: 480.0})),
        Peer("compiled", "torch", rounds({}), compiled_here=True),
        Peer("absent", "altgrad-no-such-distribution", rounds({})),
    ]
    times_s = {"copy_": 2.0, "altgrad, compiled": 4.0, "wrong": 1.0, "slow": 90.0, "documented": 48.0, "compiled": 20.0}
    result = side_by_side(monkeypatch, peers, times_s)
    found = [(row.name, row.value, row.note, str(row.target), row.verdict()) for row in result.rows]
    words = "faster than the fastest exact peer"
    assert found == [
        (f"{words}, as documented, 1K", 12.0, "documented", ">= 5", "met"),
        (f"{words}, any, 1K", 5.0, "compiled", ">= 5", "met"),
        (f"{words}, as documented, 16K", 12.0, "documented", ">= 12", "met"),
        (f"{words}, any, 16K", 5.0, "compiled", ">= 12", "missed"),
        (f"{words}, as documented, 256K", 12.0, "documented", ">= 18", "missed"),
        (f"{words}, any, 256K", 5.0, "compiled", ">= 18", "missed"),
    ]
    lines = {line.name: line for line in result.peers}
    assert {n: row.value for n, row in lines["slow"].ratios.items()} == dict.fromkeys(QUICK.elements, 45.0)
    assert not lines["absent"].ratios and lines["absent"].exact() == "not installed"


def test_why_a_peer_does_not_run() -> None:
    assert Peer("p", "altgrad-no-such-distribution", rounds({})).why_not("cpu") == "not installed"
    assert Peer("p", "torch", rounds({}), on_cuda=False).why_not("cuda") == "CPU only"
    assert Peer("p", "torch", fails).why_not("cpu") == "does not run here: ValueError"
    assert Peer("p", "torch", rounds({})).why_not("cpu") == ""
    assert Peer("p", "torch", rounds({})).version() == torch.__version__
