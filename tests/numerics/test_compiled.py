"""Compiled by Inductor, rounding gives eager's bits. (Inductor removes a cast to a narrow dtype and back.)"""

import pytest
import torch
from torch import Tensor

from altgrad.numerics.rounding import quantize


def inputs() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    exponents = torch.randint(-140, 127, (4096,), generator=generator).float()
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 464.0, 61440.0, 2.0**-10, 3.0 * 2.0**-11])
    return torch.cat([torch.randn(4096, generator=generator) * exponents.exp2(), special])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_is_eager() -> None:
    x = inputs()

    def every(x: Tensor) -> list[Tensor]:
        return [quantize(x, fmt) for fmt in ("BF16", "FP16", "E4M3", "E7M0")]

    compiled = torch.compile(every, fullgraph=True)(x)
    for fast, slow, dtype in zip(compiled, every(x), (torch.bfloat16, torch.float16, None, None), strict=True):
        assert torch.equal(fast.isnan(), slow.isnan())
        number = ~slow.isnan()
        assert torch.equal(fast[number].view(torch.int32), slow[number].view(torch.int32))
        if dtype is not None:
            highest = torch.finfo(dtype).max
            cast = x.clamp(-highest, highest).to(dtype).float()
            assert torch.equal(slow.nan_to_num(nan=0.0), cast.nan_to_num(nan=0.0))
            assert torch.equal(slow.isnan(), x.isnan())
