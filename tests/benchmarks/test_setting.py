"""Sizes in words, read back; and the load of the machine."""

import os

import pytest
import torch

from benchmarks import setting
from benchmarks.setting import Setting, size_words


def test_sizes_by_hand() -> None:
    sizes = (1024, 1 << 14, 1 << 19, 1 << 20, 1 << 24, 512, 102_400, 1_000_000, 12_700_000, 50_000_001)
    words = ["1K", "16K", "512K", "1M", "16M", "0.000512M", "0.102M", "1M", "12.7M", "50M"]
    assert [size_words(n) for n in sizes] == words


@pytest.mark.parametrize("n", [*(1 << i for i in range(10, 34)), *(3**i for i in range(1, 18))])
def test_sizes_can_be_read_back(n: int) -> None:
    number, letter = float(size_words(n)[:-1]), size_words(n)[-1]
    if n % 2:
        assert letter == "M" and number * 1e6 == pytest.approx(n, rel=0.005)
    else:
        assert number * {"K": 2**10, "M": 2**20}[letter] == n


def test_a_quick_run_is_64_times_smaller() -> None:
    full, quick = Setting("cpu", 1, quick=False), Setting("cpu", 1, quick=True)
    assert full.elements == (65_536, 1_048_576, 16_777_216)
    assert quick.elements == (1_024, 16_384, 262_144)


def test_tensors_are_the_same_every_time() -> None:
    where = Setting("cpu", 1, quick=True)
    torch.manual_seed(1)
    first = where.tensor(3, 5)
    torch.manual_seed(2)
    assert torch.equal(first, where.tensor(3, 5))
    assert not torch.equal(first, where.tensor(3, 5, seed=1))


@pytest.mark.parametrize(("load", "cores", "busy"), [(0.0, 4, False), (2.0, 4, False), (2.1, 4, True), (0.6, 1, True)])
def test_more_than_half_the_cores_at_work_is_busy(
    load: float, cores: int, busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 99.0))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    words = f"the machine is busy (load {load:.1f} on {cores} cores): timings will be off"
    assert setting.load_warning() == (words if busy else "")
