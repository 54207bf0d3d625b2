"""Compiled, rounding gives eager's bits: in kernels, of one version each, and traced within a model."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

import altgrad as ag
from altgrad.numerics.catalog import formats
from altgrad.numerics.compiling import Kernel, compiled_variants
from altgrad.numerics.rounding import quantize
from altgrad.numerics.units import Scale
from tests.numerics.inputs import ODD_SCALES, SCALES, hard_tensor, hard_values
from tests.numerics.oracle import NAMES, REFERENCES, assert_same_tensor

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler

# Every dtype with every kind of scale, the references on the diagonal, and both overflow rules with each of these.
REFERENCE_NAMES = tuple(REFERENCES)
CASES = [
    (torch.float32, "one", True, NAMES),
    (torch.float32, "one", False, NAMES),
    (torch.float32, "number", False, NAMES),
    (torch.float32, "rows", True, NAMES),
    (torch.float32, "each", False, REFERENCE_NAMES),
    (torch.bfloat16, "one", False, NAMES),
    (torch.bfloat16, "number", True, NAMES),
    (torch.bfloat16, "rows", True, REFERENCE_NAMES),
    (torch.bfloat16, "each", True, NAMES),
    (torch.float16, "one", True, NAMES),
    (torch.float16, "number", False, REFERENCE_NAMES),
    (torch.float16, "rows", False, NAMES),
    (torch.float16, "each", True, NAMES),
    (torch.float64, "one", True, REFERENCE_NAMES),
    (torch.float64, "number", True, NAMES),
    (torch.float64, "rows", True, NAMES),
    (torch.float64, "each", False, NAMES),
]


def assert_one_version(kernel: str) -> None:
    """Assert that a kernel, and every other of this process, was compiled once for all formats, shapes and scales."""
    found = {name: count for name, count in compiled_variants().items() if name.startswith("quantize")}
    assert kernel in found and set(found.values()) == {1}, found


def kernel_name(dtype: torch.dtype, kind: str, first: str = "quantize", last: str = "") -> str:
    """Return what `compiled_variants` calls a kernel."""
    scale = {"one": "", "number": "_scaled"}.get(kind, f"_{kind}")
    return f"{first}{scale}{last}_{str(dtype).removeprefix('torch.')}"


def scaled_inputs(name: str, dtype: torch.dtype, kind: str) -> Iterator[tuple[Tensor, Scale]]:
    """Yield hard inputs in several shapes with scales of one kind; the sizes differ from format to format."""
    odd = list(formats).index(name)
    if kind == "one":
        yield hard_tensor(name, dtype)[odd:], None
    elif kind == "number":
        for scale in (*SCALES, *ODD_SCALES):
            x = hard_tensor(name, dtype, scale)[odd:]
            yield x, scale
            yield x[: 33 * 47].view(33, 47).t(), torch.tensor(scale)
            yield x[odd::17], torch.tensor(scale, dtype=torch.float64)
    else:
        row = torch.from_numpy(hard_values(name, np.float64 if dtype == torch.float64 else np.float32))
        row = row[:: 1 + len(row) // 3500]
        scales = torch.tensor((*SCALES, *ODD_SCALES)).repeat(6 + odd % 3)[:, None]  # as many rows as kernels take
        x = (row * scales.to(row.dtype)).to(dtype)
        if kind == "rows":
            yield x, scales
            yield x[odd % 3 :, odd:].unflatten(1, (-1, 1)), scales[odd % 3 :, :, None]
        else:
            yield x.t(), scales[:, 0]
            yield x.unflatten(0, (2, -1)), scales[: len(x) // 2].unsqueeze(0)
            yield x[::2], scales[::2].expand(x[::2].shape)


@pytest.mark.parametrize(
    ("dtype", "kind", "saturate", "names"), CASES, ids=["-".join(map(str, case[:3])) for case in CASES]
)
def test_kernels_give_eagers_bits_from_one_version(
    dtype: torch.dtype, kind: str, saturate: bool, names: tuple[str, ...]
) -> None:
    for name in names:
        for x, scale in scaled_inputs(name, dtype, kind):
            expected = quantize(x, name, scale, saturate=saturate)
            assert_same_tensor(quantize(x, name, scale, saturate=saturate, compiled=True), expected)
    first = "quantize" if saturate else "quantize_unsaturated"
    assert_one_version(kernel_name(dtype, kind, first, "_reference" if names == REFERENCE_NAMES else ""))


def test_traced_within_a_model_every_format_gives_eagers_bits() -> None:
    # Some formats saturate and some do not, some have a scale, a number or one a row. (References would fail if
    # Inductor removed a cast to a narrow dtype and back.)
    x = torch.cat([hard_tensor(name, torch.float32)[::3] for name in ("E0M7", "E4M3", "E7M0", "binary8p1se")])
    x = x[: len(x) // 6 * 6].view(6, -1)
    scales: list[Scale] = [None, 0.0037, torch.tensor([[2.0**-40], [2.0**-7], [1.0], [0.3], [2.0**13], [3.3]])]

    def every(x: Tensor) -> list[Tensor]:
        return [ag.quantize(x, fmt, scales[i % 3], saturate=i % 4 < 2) for i, fmt in enumerate(formats)]

    traced = torch.compile(every, fullgraph=True)(x)
    for out, expected in zip(traced, every(x), strict=True):
        assert_same_tensor(out, expected)


def _contexts() -> list[Callable[[], AbstractContextManager[object]]]:
    def autocast() -> AbstractContextManager[object]:
        return torch.autocast("cpu", dtype=torch.bfloat16)

    return [nullcontext, torch.inference_mode, torch.no_grad, torch.enable_grad, autocast]


def test_contexts_parameters_and_views_share_the_version() -> None:
    base = torch.randn(70, 99, generator=torch.Generator().manual_seed(0))
    for context in _contexts():
        with context():
            quarter = torch.tensor([1.0, 0.25])
            for scale in (0.25, torch.nn.Parameter(quarter[1].clone()), quarter[1], quarter[1].clone()):
                for x in (base, torch.nn.Parameter(base), base * 1, base[3:, 5:], base[:, 3], base[0, 0].expand(500)):
                    assert_same_tensor(quantize(x, "E4M3", scale, compiled=True), quantize(x, "E4M3", scale))
            rows = torch.rand(70, 5, generator=torch.Generator().manual_seed(1)) + 0.5
            for scale in (rows[:, :1], rows[:, 3:4], rows[:1, :1].expand(70, 1), torch.nn.Parameter(rows[:, :1])):
                # A square one first: the compiler would tie its sizes.
                for x in (base[:, :70], base, base[:, ::2], base[:, :1].expand(70, 64)):
                    assert_same_tensor(quantize(x, "E4M3", scale, compiled=True), quantize(x, "E4M3", scale))
    assert_one_version("quantize_scaled_float32")
    assert_one_version("quantize_rows_float32")


def test_the_number_of_versions_can_be_two() -> None:
    def grow(x: Tensor) -> Tensor:
        return x + 1 if x.shape[0] > 100 else x - 1

    kernel = Kernel(grow)
    assert kernel.variants() == 0 and "grow" not in compiled_variants()
    for size, versions in ((200, 1), (300, 1), (50, 2)):
        assert torch.equal(kernel.compiled(torch.ones(size)), grow(torch.ones(size)))
        assert kernel.variants() == compiled_variants()["grow"] == versions
