"""What goes in and comes out: sizes, strides, buffers, and calls that are refused."""

from typing import Any

import pytest
import torch
from torch import Tensor

from altgrad.errors import FormatError, UnknownFormatError
from altgrad.numerics.compiling import SMALLEST, TILE
from altgrad.numerics.rounding import quantize, quantize_and_count
from tests.numerics.oracle import assert_same_tensor, quantized

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler

SIZES = (0, 1, 2, SMALLEST - 1, SMALLEST, SMALLEST + 1, TILE - 1, TILE, TILE + 1)
SHAPES = ((), (0, 3), (1, 1), (40, 33), (33, 40), (40, 40), (2, TILE + 1), (TILE // 32 + 1, 33), (5, 6, 7))


def _values(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(2)) * 9).to(dtype)


def _settings(rounding: str) -> dict[str, Any]:
    return {"rounding": rounding, "generator": torch.Generator().manual_seed(3)}


def test_shapes_and_strides() -> None:
    x = _values((6, 8))
    flat = quantize(x.flatten(), "E3M4")
    assert torch.equal(quantize(x.t(), "E3M4"), flat.view(6, 8).t())
    assert torch.equal(quantize(x[::2, 1::3], "E3M4"), flat.view(6, 8)[::2, 1::3])
    assert torch.equal(quantize(x[0].expand(3, 8), "E3M4"), flat[:8].expand(3, 8))
    assert torch.equal(quantize(x[0, 0], "E3M4"), flat[0])
    assert quantize(torch.empty(0, 3), "E3M4").shape == (0, 3)


def test_the_input_is_never_touched() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for scale in (None, 2.0):
            x = torch.tensor([1.3, -1000.0, 1e-6], dtype=dtype)
            before = x.clone()
            for name in ("E4M3", "E7M0", "BF16", "binary8p4se"):
                quantize(x, name, scale)
                quantize(x, name, scale, saturate=False)
            for name in ("E4M3", "binary8p4se"):
                quantize(x, name, scale, "stochastic", generator=torch.Generator())
            assert torch.equal(x, before)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [*((size,) for size in SIZES), *SHAPES])
def test_every_size_rounds_into_itself_and_into_buffers(shape: tuple[int, ...], compiled: bool) -> None:
    x = _values(shape)
    expected = quantized("E3M4", x, 0.5)
    assert_same_tensor(quantize(x, "E3M4", 0.5, compiled=compiled), expected)
    for rounding in ("nearest", "stochastic"):
        if rounding == "stochastic":
            expected = quantize(x, "E3M4", 0.5, **_settings(rounding))
        out = torch.full_like(x, 7.0)
        given = quantize(x, "E3M4", 0.5, **_settings(rounding), out=out, compiled=compiled)
        assert given is out
        assert_same_tensor(out, expected)
        assert torch.equal(x, _values(shape))  # not touched
        itself = x.clone()
        assert quantize(itself, "E3M4", 0.5, **_settings(rounding), out=itself, compiled=compiled) is itself
        assert_same_tensor(itself, expected)


@pytest.mark.parametrize(
    ("dtype", "compiled"),
    [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False), (torch.float64, False)],
)
def test_strided_inputs_and_buffers(dtype: torch.dtype, compiled: bool) -> None:
    base = _values((70, 82), dtype)
    rows = torch.tensor([0.25, 1.0, 0.3] * 30)[:, None]
    views = {
        "transposed": lambda t: t.t(),
        "columns": lambda t: t[:, ::2],
        "rows": lambda t: t[::2],
        "part": lambda t: t[3:40, 5:41],
        "vector": lambda t: t[:, 7],
    }
    for view in views.values():
        x = view(base)
        for scale in (None, rows[: x.shape[0]] if x.ndim == 2 else 0.25):
            expected = quantized("E4M3", x.contiguous(), 1.0 if scale is None else _array(scale))
            assert_same_tensor(quantize(x, "E4M3", scale, compiled=compiled), expected)
            # Into a strided buffer whose surroundings stay, from a strided and from a contiguous input.
            for source in (x, x.contiguous()):
                around = torch.full_like(base, 7.0)
                out = view(around)
                assert quantize(source, "E4M3", scale, out=out, compiled=compiled) is out
                assert_same_tensor(out, expected)
                out.fill_(7.0)
                assert (around == 7.0).all()
            # In place, in part of a larger tensor.
            whole = base.clone()
            part = view(whole)
            quantize(part, "E4M3", scale, out=part, compiled=compiled)
            assert_same_tensor(part, expected)
            part.copy_(x)
            assert torch.equal(whole, base)


def _array(scale: float | Tensor) -> Any:
    return scale.numpy() if isinstance(scale, Tensor) else scale


@pytest.mark.parametrize("compiled", [False, True])
def test_buffers_beside_the_values_in_one_storage(compiled: bool) -> None:
    for first, second in ((slice(0, 500), slice(500, 1000)), (slice(0, 900), slice(100, 1000))):
        for source, target in ((first, second), (second, first)):
            memory = _values((1000,))
            expected = quantized("E4M3", memory[source], 0.3)
            quantize(memory[source], "E4M3", 0.3, out=memory[target], compiled=compiled)
            assert_same_tensor(memory[target], expected)


def test_counting_gives_out_back_too() -> None:
    x = _values((50, 41))
    for compiled in (False, True):
        for out in (torch.empty_like(x), torch.empty(41, 50).t(), x.clone()):
            values, _ = quantize_and_count(x, "E4M3", out=out, compiled=compiled)
            assert values is out
            assert_same_tensor(out, quantized("E4M3", x))
        itself = x.clone()
        quantize_and_count(itself, "E4M3", out=itself, compiled=compiled)
        assert_same_tensor(itself, quantized("E4M3", x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounding": "up"}, "rounding: 'up' is not a rounding. Use 'nearest' or 'stochastic'."),
        ({"rounding": "stochastic"}, "rounding: 'stochastic' needs a generator. Pass generator="),
        ({"scale": 0.0}, "scale: 0.0 is not a positive, normal float32. Give a number from 2^-126 to 3.4e38."),
        ({"scale": -1.0}, "scale: -1.0 is not a positive, normal float32"),
        ({"scale": float("nan")}, "scale: nan is not a positive, normal float32"),
        ({"scale": torch.ones(3, 1)}, "scale: shape (3, 1) does not broadcast to the values' (2, 4)"),
        ({"scale": torch.ones(1, 2, 4)}, "scale: shape (1, 2, 4) does not broadcast to the values' (2, 4)"),
        ({"scale": torch.ones((), dtype=torch.int32)}, "scale: a tensor of torch.int32 is not a scale"),
        ({"x": torch.ones(2, 4, dtype=torch.int64)}, "x: a tensor of torch.int64 cannot be rounded. Give a tensor of"),
        ({"fmt": "BF16", "rounding": "stochastic"}, "BF16: a reference format is rounded by torch's own cast"),
    ],
)
def test_what_cannot_be_rounded_says_so(arguments: dict[str, object], message: str) -> None:
    given: dict[str, Any] = {"x": torch.ones(2, 4), "fmt": "E4M3"} | arguments
    for call in (quantize, quantize_and_count):
        with pytest.raises(FormatError) as caught:
            call(**given)
        assert message in str(caught.value)


BUFFER = "on cpu, the values are (2, 4) of torch.float32 on cpu. Give a tensor like the values."


@pytest.mark.parametrize("name", ["out", "previous"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.ones(8), f"it is (8,) of torch.float32 {BUFFER}"),
        (torch.ones(1, 4), f"it is (1, 4) of torch.float32 {BUFFER}"),
        (torch.ones(4, 2), f"it is (4, 2) of torch.float32 {BUFFER}"),
        (torch.ones(2, 4, dtype=torch.float64), f"it is (2, 4) of torch.float64 {BUFFER}"),
        (torch.ones(2, 4, dtype=torch.bfloat16), f"it is (2, 4) of torch.bfloat16 {BUFFER}"),
        (torch.ones(2, 4, device="meta"), "it is (2, 4) of torch.float32 on meta, the values are (2, 4)"),
    ],
)
def test_buffers_unlike_the_values_say_so(name: str, given: Tensor, message: str) -> None:
    calls = [quantize_and_count] if name == "previous" else [quantize, quantize_and_count]
    for call in calls:
        for compiled in (False, True):
            with pytest.raises(FormatError) as caught:
                call(torch.ones(2, 4), "E4M3", compiled=compiled, **{name: given})
            assert str(caught.value).startswith(f"{name}: {message}")


def test_unknown_names() -> None:
    for call in (quantize, quantize_and_count):
        with pytest.raises(UnknownFormatError, match="'E9M9' is not a format"):
            call(torch.ones(1), "E9M9")
