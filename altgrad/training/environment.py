"""What a run computes on: device, threads, compilation, autocast. Part of what makes its bits repeatable."""

import ctypes
import os
import platform
import resource
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from altgrad.errors import DeviceError
from altgrad.study.runs import RunConfig
from altgrad.version import __version__

COMPILE_FLOPS = 1e15
"""FLOPs (6 * parameters * tokens) from which `compile: auto` compiles; less work does not repay 7 s of compiling."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt, from malloc.h."""

_KEPT_BYTES = 1 << 30


@dataclass(frozen=True)
class Environment:
    """Where a run computes.

    Attributes:
        device: `cpu` or `cuda`.
        device_name: The device's own name.
        threads: CPU threads.
        compiled: Whether the model's forward and backward passes and the optimizer's step are compiled.
        graphs: Whether the compiled passes are replayed as CUDA graphs where the device has them.
        autocast: Whether matrix products run in BF16 under autocast.
        torch: PyTorch's version.
    """

    device: str
    device_name: str
    threads: int
    compiled: bool
    graphs: bool
    autocast: bool
    torch: str

    def stamp(self) -> dict[str, object]:
        """Return what a resumed run must share with the interrupted one to give the same bits."""
        return {f"environment.{key}": value for key, value in asdict(self).items() if key != "device_name"}

    def autocast_context(self) -> AbstractContextManager[object]:
        """Return the context that forward passes run in."""
        return torch.autocast(self.device, torch.bfloat16) if self.autocast else nullcontext()


def resolve_environment(run: RunConfig, parameters: int) -> Environment:
    """Decide where and how a run computes.

    Args:
        run: The run.
        parameters: The model's number of parameters, for `compile: auto`.

    Raises:
        DeviceError: CUDA was asked for and there is none.
    """
    training = run.training
    available = torch.cuda.is_available()
    if training.device == "cuda" and not available:
        raise DeviceError(
            "training.device",
            "cuda was asked for and this machine has no CUDA device",
            "Run on a GPU machine, set training.device to cpu, or run the CPU demonstration with: make demo",
        )
    device = "cuda" if training.device != "cpu" and available else "cpu"
    tokens = training.steps * training.batch_size * training.grad_accumulation * run.model.block_size
    auto = 6.0 * parameters * tokens >= COMPILE_FLOPS
    return Environment(
        device=device,
        device_name=torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine(),
        threads=training.threads,
        compiled={"auto": auto, "on": True, "graphs": True, "off": False}[training.compile],
        graphs=training.compile == "graphs",
        autocast={"auto": device == "cuda", "bf16": True, "off": False}[training.autocast],
        torch=torch.__version__,
    )


def prepare_process(environment: Environment) -> None:
    """Set the process up: memory, threads, deterministic algorithms (compiled CPU code is not repeatable without)."""
    _keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(environment.threads)
    torch.use_deterministic_algorithms(True)


def _keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step.

    glibc gives large pieces back to the system and gets them again, page by page and zeroed; a step that counts makes
    and frees many tensors of a megabyte, and took half of its time for that. See mallopt(3); elsewhere nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        mallopt(option, _KEPT_BYTES)


def synchronize(device: str) -> None:
    """Wait for the device, so that a time that is read next means something."""
    if device == "cuda":
        torch.cuda.synchronize()


def peak_memory_bytes(device: str) -> int:
    """Return the peak memory so far in bytes: the device's allocations on CUDA, the process's resident set on CPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def versions() -> dict[str, str]:
    """Return the versions that a result depends on, by package."""
    return {
        "python": platform.python_version(),
        "altgrad": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def git_revision() -> str:
    """Return the commit of the checkout that altgrad runs from, `-dirty` appended; `unknown` outside one."""
    folder = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
