"""Where and how large: what every section of the benchmarks is told."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from altgrad.errors import DeviceError

ELEMENTS = (1 << 16, 1 << 20, 1 << 24)
"""64K, 1M and 16M: in a core's cache, about the last cache's size, and in memory."""


@dataclass(frozen=True)
class Setting:
    """What the measurements of a process share.

    Attributes:
        device: `cpu` or `cuda`.
        threads: CPU threads of torch. Peers on NumPy have one.
        quick: Small sizes and few rounds, to see that everything runs; nothing is judged.
    """

    device: str
    threads: int
    quick: bool

    @property
    def elements(self) -> tuple[int, ...]:
        """The sizes of tensors: small, middle and large."""
        return tuple(n >> 6 for n in ELEMENTS) if self.quick else ELEMENTS

    def tensor(self, *shape: int, seed: int = 0) -> torch.Tensor:
        """Return normal random values on the device, the same every time."""
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)


def prepare(device: str, threads: int | None, quick: bool) -> Setting:
    """Set the process up and return the setting.

    Args:
        device: `cpu` or `cuda`.
        threads: CPU threads; None leaves torch's own number.
        quick: As in `Setting`.

    Raises:
        DeviceError: CUDA was asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("--device", "cuda was asked for and this machine has no CUDA device", "Use --device cpu")
    if threads is not None:
        torch.set_num_threads(threads)
    return Setting(device, torch.get_num_threads(), quick)


def load_warning() -> str:
    """Return in a line that the machine has other work, or an empty string where it has not."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= cores / 2:
        return ""
    return f"the machine is busy (load {load:.1f} on {cores} cores): timings will be off"


def size_words(n: int) -> str:
    """Return a number of elements as people write it.

    Example:
        >>> [size_words(n) for n in (1024, 1 << 16, 1 << 24, 102_400, 12_700_000)]
        ['1K', '64K', '16M', '0.102M', '12.7M']
    """
    for unit, letter in ((1 << 20, "M"), (1 << 10, "K")):
        if n >= unit and n.bit_count() == 1:
            return f"{n // unit}{letter}"
    return f"{n / 1e6:.3g}M"


def hardware(device: str) -> str:
    """Return the name of what computes, as its maker has it."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name.strip()}, {os.cpu_count()} cores"
