"""With set_flush_denormal(True), which treats subnormal float32 as zero, normal values round to the same bits."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from altgrad.numerics.catalog import formats
from altgrad.numerics.geometry import from_rung_position, rung_position, ulp
from altgrad.numerics.rounding import quantize, quantize_and_count
from altgrad.numerics.scaling import scale_from_amax
from tests.numerics.inputs import hard_values
from tests.numerics.oracle import NAMES, assert_same_tensor

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler


@pytest.fixture(autouse=True)
def _flushing() -> Iterator[None]:
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    assert torch.tensor([2.0**-140]) + 0.0 == 0.0  # it does
    yield
    torch.set_flush_denormal(False)


def _kept(call: object, *arguments: object, **settings: object) -> torch.Tensor:
    """Return what a call gives without flushing."""
    torch.set_flush_denormal(False)
    try:
        return call(*arguments, **settings)  # type: ignore[operator, no-any-return]
    finally:
        torch.set_flush_denormal(True)


def _normal_values(name: str, scale: float) -> torch.Tensor:
    """Return the hard values but for float32's subnormals."""
    x = torch.from_numpy(hard_values(name, np.float32, scale))
    return x[(x.abs() >= 2.0**-126) | (x == 0) | x.isnan()]


def _smallest_scale(name: str) -> float:
    """Return the scale at which the smallest value is float32's smallest normal one."""
    return 2.0**-126 / formats[name].smallest_subnormal


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_at_the_smallest_scale_stays(name: str) -> None:
    fmt, scale = formats[name], _smallest_scale(name)
    x = torch.tensor([fmt.value_of_magnitude(k) * scale for k in range(fmt.num_rungs + 1)], dtype=torch.float32)
    x = torch.cat([x, -x])
    for compiled in (False, True):
        assert torch.equal(quantize(x, name, scale, compiled=compiled), x)
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            out = quantize(x, name, scale, "stochastic", generator=generator, compiled=compiled)
            assert torch.equal(out, x)
    positions = rung_position(x, name, scale)
    assert torch.equal(positions.abs(), torch.arange(fmt.num_rungs + 1).repeat(2).float())
    assert torch.equal(from_rung_position(positions, name, scale), x)
    assert (ulp(x, name, scale) >= 2.0**-126).all()


@pytest.mark.parametrize("name", NAMES)
def test_normal_values_round_as_without(name: str) -> None:
    for scale in (_smallest_scale(name), 2.0 * _smallest_scale(name), 2.0**-7, 1.0, 0.0037):
        x = _kept(_normal_values, name, scale)
        for rounding in ("nearest", "stochastic"):
            settings = {"rounding": rounding, "generator": torch.Generator().manual_seed(9)}
            expected = _kept(quantize, x, name, scale, **settings)
            for compiled in (False, True):
                settings["generator"] = torch.Generator().manual_seed(9)
                assert_same_tensor(quantize(x, name, scale, **settings, compiled=compiled), expected)
        counts = _kept(lambda x, *rest: quantize_and_count(x, *rest, previous=x)[1], x, name, scale)
        assert torch.equal(quantize_and_count(x, name, scale, previous=x)[1], counts)


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_scale_from_an_amax_is_that_scale(name: str) -> None:
    amax = torch.tensor([2.0**-126, formats[name].max * _smallest_scale(name)])
    assert scale_from_amax(amax, name).tolist() == [_smallest_scale(name)] * 2
