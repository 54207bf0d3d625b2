"""The straight-through estimator: what passes backward, and what fake_quantize refuses."""

import pytest
import torch

from altgrad.errors import FormatError
from altgrad.numerics.rounding import fake_quantize, quantize
from tests.numerics.oracle import assert_same


def test_gradients_pass_straight_through() -> None:
    x = torch.tensor([0.3, 500.0, -1e9, float("nan"), 448.0], requires_grad=True)
    upstream = torch.tensor([1.0, 2.0, float("inf"), 4.0, 5.0])
    out = fake_quantize(x, "E4M3")
    assert_same(out.detach().numpy(), quantize(x, "E4M3").numpy())
    out.backward(upstream)
    assert x.grad is not None and torch.equal(x.grad, upstream)
    x.grad = None
    fake_quantize(x, "E4M3", ste="clipped").backward(upstream)
    assert x.grad.tolist() == [1.0, 0.0, 0.0, 4.0, 5.0]
    x.grad = None
    fake_quantize(x, "E4M3", 2.0, ste="clipped").backward(upstream)
    assert x.grad.tolist() == [1.0, 2.0, 0.0, 4.0, 5.0]
    assert not quantize(x, "E4M3").requires_grad


def test_straight_through_rounds_stochastically_too() -> None:
    x = torch.randn(1000, requires_grad=True)
    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    out = fake_quantize(x, "E2M1", 0.5, "stochastic", generator=draws[0])
    assert torch.equal(out, quantize(x, "E2M1", 0.5, "stochastic", generator=draws[1]))
    out.sum().backward()
    assert x.grad is not None and (x.grad == 1).all()


def test_an_unknown_rule_says_so() -> None:
    with pytest.raises(FormatError, match=r"ste: 'none' is not a straight-through rule. Use 'identity' or 'clipped'"):
        fake_quantize(torch.ones(1), "E4M3", ste="none")  # type: ignore[arg-type]
