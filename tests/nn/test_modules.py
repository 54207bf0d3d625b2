"""Quantized layers against plain layers whose weight was rounded by hand."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import altgrad as ag
from altgrad.errors import UnsupportedModuleError
from altgrad.nn import QuantizedEmbedding, QuantizedLinear

FORMATS = ["E0M7", "E3M4", "E4M3", "E5M2", "E7M0", "BF16"]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def linear(bias: bool = True, cls: type[nn.Linear] = nn.Linear) -> nn.Linear:
    layer = cls(6, 4, bias=bias)
    layer.load_state_dict({"weight": draw(4, 6), **({"bias": draw(4, seed=1)} if bias else {})})
    return layer


def embedding(**options: Any) -> nn.Embedding:
    layer = nn.Embedding(9, 4, **options)
    with torch.no_grad():
        layer.weight.copy_(draw(9, 4))
        if layer.padding_idx is not None:
            layer.weight[layer.padding_idx] = 0.0
    return layer


def by_hand(weight: Tensor, fmt: str, per_row: bool = False) -> Tensor:
    """Round a weight at the scale that the definition gives: the smallest power of two that covers amax."""
    target = ag.formats[fmt].max
    if fmt == "BF16":
        return weight.to(torch.bfloat16).to(weight.dtype)
    amax = weight.abs().amax(1, keepdim=True) if per_row else weight.abs().max()
    scale = torch.exp2(torch.ceil(torch.log2(amax.double() / target))).float()
    return ag.quantize(weight, fmt, scale)


class Doubling(nn.Linear):
    """A user's subclass with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_computes_with_the_rounded_weight(fmt: str, per_row: bool, bias: bool) -> None:
    plain = linear(bias)
    layer = QuantizedLinear.from_linear(copy.deepcopy(plain), fmt, per_row=per_row)
    expected = copy.deepcopy(plain)
    expected.weight.data = by_hand(plain.weight.data, fmt, per_row)
    assert not torch.equal(expected.weight, plain.weight)
    x = draw(3, 6, seed=2)
    assert torch.equal(layer.weight, expected.weight)
    assert torch.equal(layer(x), expected(x))
    assert torch.equal(layer.raw_weight, plain.weight)


@pytest.mark.parametrize("fmt", FORMATS)
def test_gradients_are_those_of_a_plain_layer_with_the_rounded_weight(fmt: str) -> None:
    layer = QuantizedLinear.from_linear(linear(), fmt)
    plain = linear()
    plain.weight.data = by_hand(plain.weight.data, fmt)
    x, expected_x = draw(3, 6, seed=2).requires_grad_(), draw(3, 6, seed=2).requires_grad_()
    layer(x).square().sum().backward()
    plain(expected_x).square().sum().backward()
    assert torch.equal(layer.raw_weight.grad, plain.weight.grad)
    assert torch.equal(layer.bias.grad, plain.bias.grad)
    assert torch.equal(x.grad, expected_x.grad)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 3}, {"scale_grad_by_freq": True}])
def test_embedding_reads_the_rounded_table_and_passes_its_gradients(options: dict[str, Any]) -> None:
    layer = QuantizedEmbedding.from_embedding(embedding(**options), "E4M3")
    plain = embedding(**options)
    plain.weight.data = by_hand(plain.weight.data, "E4M3")
    idx = torch.tensor([[0, 3, 3], [8, 1, 0]])
    out, expected = layer(idx), plain(idx)
    assert torch.equal(out, expected)
    (out * draw(2, 3, 4, seed=3)).sum().backward()
    (expected * draw(2, 3, 4, seed=3)).sum().backward()
    assert torch.equal(layer.raw_weight.grad, plain.weight.grad)
    if "padding_idx" in options:
        assert (layer.weight[3] == 0).all() and (layer.raw_weight.grad[3] == 0).all()


def test_direct_construction_initializes_as_the_plain_layer_does() -> None:
    for make, plain_make in (
        (lambda: QuantizedLinear(6, 4, fmt="E3M4"), lambda: nn.Linear(6, 4)),
        (lambda: QuantizedEmbedding(9, 4, padding_idx=2, fmt="E3M4"), lambda: nn.Embedding(9, 4, padding_idx=2)),
    ):
        torch.manual_seed(0)
        layer = make()
        torch.manual_seed(0)
        plain = plain_make()
        assert torch.equal(layer.raw_weight, plain.weight)
        assert torch.equal(layer.weight, by_hand(plain.weight.data, "E3M4"))
        # Again, over scales that belong to other values.
        layer.weight_scaler.scale.fill_(64.0)
        torch.manual_seed(0)
        layer.reset_parameters()
        assert torch.equal(layer.raw_weight, plain.weight)
        assert torch.equal(layer.weight, by_hand(plain.weight.data, "E3M4"))


def test_direct_construction_takes_every_option() -> None:
    layer = QuantizedLinear(6, 4, False, "cpu", torch.float64, fmt="E4M3", scaling="current", per_row=True)
    assert layer.bias is None
    assert layer.raw_weight.dtype == layer.weight.dtype == torch.float64
    assert layer.weight_scaler.mode == "current" and layer.weight_scaler.scale.shape == (4, 1)
    table = QuantizedEmbedding(9, 4, 2, True, "cpu", torch.float16, fmt="E4M3", scaling="none")
    assert table.padding_idx == 2 and table.scale_grad_by_freq
    assert table.weight.dtype == torch.float16 and table.weight_scaler.scale.item() == 1.0


def test_the_parameter_and_its_name_stay() -> None:
    plain = linear()
    weight = plain.weight
    layer = QuantizedLinear.from_linear(plain, "E4M3")
    assert layer is plain and layer.raw_weight is weight
    assert dict(layer.named_parameters())["weight"] is weight
    assert list(layer.state_dict()) == ["weight", "bias", "weight_scaler.scale", "weight_scaler.amax_history"]
    assert layer.raw() is weight and layer.scaler() is layer.weight_scaler
    with pytest.raises(AttributeError, match="wieght"):
        _ = layer.wieght


def test_a_layer_in_eval_mode_is_converted_with_a_frozen_scale() -> None:
    for layer in (
        QuantizedLinear.from_linear(linear().eval(), "E4M3"),
        QuantizedEmbedding.from_embedding(embedding().eval(), "E4M3"),
    ):
        before = layer.weight_scaler.scale.clone()
        layer.weight_scaler.advance(torch.tensor(1e6))
        layer.weight_scaler.advance(torch.tensor(1e6))
        assert torch.equal(layer.weight_scaler.scale, before)


def test_replacing_the_parameter_replaces_what_is_read() -> None:
    layer = QuantizedLinear.from_linear(linear(), "E4M3")
    layer.weight = nn.Parameter(torch.full((4, 6), 0.3))
    assert torch.equal(layer.weight, ag.quantize(torch.full((4, 6), 0.3), "E4M3", layer.weight_scaler.scale))
    with pytest.raises(TypeError, match="cannot assign"):
        layer.weight = torch.zeros(4, 6)


def test_a_failure_in_rounding_is_never_an_unrounded_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise AttributeError("broken")

    layer = QuantizedLinear.from_linear(linear(), "E4M3")
    monkeypatch.setattr("altgrad.nn.modules.fake_quantize", fail)
    with pytest.raises(RuntimeError, match="rounding weight failed: broken"):
        layer(draw(3, 6))


def test_a_subclass_keeps_its_own_forward_and_stays_its_own_kind() -> None:
    layer = QuantizedLinear.from_linear(linear(cls=Doubling), "E4M3")
    plain = linear()
    plain.weight.data = by_hand(plain.weight.data, "E4M3")
    x = draw(3, 6, seed=2)
    assert isinstance(layer, Doubling) and isinstance(layer, QuantizedLinear)
    assert type(layer).__name__ == "QuantizedDoubling"
    assert torch.equal(layer(x), 2 * plain(x))


@pytest.mark.parametrize("cls", [nn.Linear, Doubling])
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch"])
def test_copies_are_equal_and_independent(cls: type[nn.Linear], way: str) -> None:
    layer = QuantizedLinear.from_linear(linear(cls=cls), "E4M3")
    if way == "deepcopy":
        other = copy.deepcopy(layer)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(layer))
    else:
        buffer = io.BytesIO()
        torch.save(layer, buffer)
        buffer.seek(0)
        other = torch.load(buffer, weights_only=False)
    assert type(other) is type(layer)
    assert torch.equal(other.weight, layer.weight)
    other.raw_weight.data.zero_()
    other.weight_scaler.scale.fill_(4.0)
    assert layer.weight.abs().max() > 0 and layer.weight_scaler.scale != 4.0


class Named(QuantizedLinear):
    """A user's own quantized layer."""


def test_a_users_subclass_of_a_quantized_layer_copies_as_itself() -> None:
    layer = Named(6, 4, fmt="E4M3")
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other) is Named
        assert torch.equal(other.weight, layer.weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_cast_weight_is_rounded_in_its_new_dtype_at_the_same_scale(dtype: torch.dtype) -> None:
    layer = QuantizedLinear.from_linear(linear(), "E4M3")
    scale = layer.weight_scaler.scale.clone()
    layer.to(dtype)
    assert layer.weight_scaler.scale.dtype == torch.float32 and torch.equal(layer.weight_scaler.scale, scale)
    assert layer.weight.dtype == dtype
    assert torch.equal(layer.weight, ag.quantize(linear().weight.detach().to(dtype), "E4M3", scale))


def test_frozen_weights_take_no_gradient() -> None:
    layer = QuantizedLinear.from_linear(linear().requires_grad_(False), "E4M3")
    assert not layer.weight.requires_grad
    assert not layer(draw(3, 6)).requires_grad


def test_a_weight_that_is_all_zero_or_empty_or_holds_nan() -> None:
    zero = linear()
    zero.weight.data.zero_()
    assert (QuantizedLinear.from_linear(zero, "E4M3").weight == 0).all()
    empty = QuantizedLinear.from_linear(_empty(), "E4M3")
    assert empty(torch.zeros(5, 3)).shape == (5, 0)
    broken = linear()
    broken.weight.data[1, 2] = float("nan")
    assert QuantizedLinear.from_linear(broken, "E4M3").weight.isnan().nonzero().tolist() == [[1, 2]]


def _empty() -> nn.Linear:
    layer = nn.Linear(3, 1, bias=False)
    layer.weight = nn.Parameter(torch.zeros(0, 3))
    return layer


def test_the_printed_layer_names_its_format() -> None:
    assert "in_features=6, out_features=4, bias=True, weight=E4M3" in repr(
        QuantizedLinear.from_linear(linear(), "E4M3")
    )


# Dynamo itself instantiates autograd.Function, which torch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_compiled_layer_computes_the_same() -> None:
    layer = QuantizedLinear.from_linear(linear(), "E4M3")
    x = draw(3, 6, seed=2)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), layer(x))
    layer.weight_scaler.scale.fill_(0.25)  # a scale that moves is read afresh
    assert torch.equal(compiled(x), layer(x))


@pytest.mark.parametrize(
    ("convert", "given", "text"),
    [
        (
            QuantizedLinear.from_linear,
            nn.Embedding(3, 2),
            "QuantizedLinear: Embedding is not a plain layer of its kind",
        ),
        (QuantizedEmbedding.from_embedding, nn.Linear(3, 2), "QuantizedEmbedding: Linear is not a plain layer"),
        (QuantizedLinear.from_linear, QuantizedLinear(3, 2, fmt="E4M3"), "QuantizedLinear is not a plain layer"),
        (QuantizedEmbedding.from_embedding, nn.Embedding(3, 2, sparse=True), "sparse=True gives sparse gradients"),
    ],
)
def test_other_layers_are_refused(convert: Any, given: nn.Module, text: str) -> None:
    before = type(given)
    with pytest.raises(UnsupportedModuleError, match=text):
        convert(given, "E4M3")
    assert type(given) is before
