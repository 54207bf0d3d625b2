"""Casts of inputs and output gradients, against matrix products of tensors that were rounded by hand."""

import copy
import io
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

import altgrad as ag
from altgrad.errors import AltGradError, FormatError, NotSupportedError, PlanError, UnsupportedModuleError
from altgrad.models.gpt import GPT, GPTConfig
from altgrad.nn import Cast, dequantize_model, named_casts, named_quantized_weights, quantize_model
from altgrad.nn.plan import PrecisionPlan

ALL = {"weight": "E3M4", "input": "E4M3", "grad_output": "E5M2"}
MAGNITUDES = (1.0, 8.0, 0.25, 0.01, 3.0, 100.0)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer(roles: Any = None, **options: Any) -> Any:
    """Return a layer (6 -> 4) that is all of a model, quantized by one rule."""
    plain = nn.Linear(6, 4)
    plain.load_state_dict({"weight": draw(4, 6), "bias": draw(4, seed=1)})
    return quantize_model(plain, PrecisionPlan({"*": ALL if roles is None else roles}, **options))


def gpt(**changes: Any) -> GPT:
    return GPT(GPTConfig(**{"vocab_size": 17, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8, **changes}))


def tokens(seed: int = 0) -> Tensor:
    return torch.randint(0, 17, (2, 8), generator=torch.Generator().manual_seed(seed))


def power(amax: float, fmt: str) -> float:
    return 2.0 ** math.ceil(math.log2(amax / ag.formats[fmt].max))


class ByHand:
    """What a cast does, from the definition: a scale of earlier amaxes, and counts element by element."""

    def __init__(self, fmt: str, history: int = 16) -> None:
        self.fmt, self.history = fmt, history
        self.amaxes: list[float] = []
        self.counts = [0, 0, 0]

    def __call__(self, x: Tensor) -> Tensor:
        values = [abs(v) for v in x.flatten().tolist()]
        scale = power(max(self.amaxes[-self.history :], default=max(values)), self.fmt)
        self.amaxes.append(max(values))
        fmt = ag.formats[self.fmt]
        self.counts[0] += len(values)
        self.counts[1] += sum(v > scale * fmt.max for v in values)
        # Half of the smallest value is a tie, and 0 is even.
        self.counts[2] += sum(0 < v <= scale * fmt.smallest_subnormal / 2 for v in values)
        return ag.quantize(x, fmt, scale)


def same(model: nn.Module, other: nn.Module) -> bool:
    state, others = model.state_dict(), other.state_dict()
    return list(state) == list(others) and all(torch.equal(state[key], others[key]) for key in state)


# What is computed


def test_forward_and_backward_compute_with_tensors_rounded_by_hand() -> None:
    model = layer(history=2)
    weight, bias = model.weight.detach(), model.bias.detach()
    cast_input, cast_gradient = ByHand("E4M3", 2), ByHand("E5M2", 2)
    for step, magnitude in enumerate(MAGNITUDES):
        x = magnitude * draw(5, 6, seed=step)
        g = draw(5, 4, seed=100 + step) / magnitude
        x[0, 0] = g[0, 0] = 1e-12
        x.requires_grad_()
        model.zero_grad()
        y = model(x)
        y.backward(g)
        qx, qg = cast_input(x.detach()), cast_gradient(g)
        assert torch.equal(y, F.linear(qx, weight, bias))
        assert torch.equal(x.grad, qg @ weight)
        assert torch.equal(model.raw_weight.grad, qg.T @ qx)
        assert torch.equal(model.bias.grad, qg.sum(0))
    for (name, role, cast), hand in zip(named_casts(model), (cast_input, cast_gradient), strict=True):
        assert (name, role) == ("weight", role)
        assert cast.take_amax().item() == max(hand.amaxes)
        assert cast.take_counts().tolist() == hand.counts and min(hand.counts) > 0
        assert cast.take_counts().tolist() == [0, 0, 0] and cast.take_amax().isnan()


@pytest.mark.parametrize("role", ["input", "grad_output"])
def test_a_cast_alone_leaves_weight_and_class_alone(role: str) -> None:
    model, plain = layer({role: "E4M3"}), layer({})
    assert type(model) is nn.Linear and not list(named_quantized_weights(model))
    x = draw(5, 6, seed=2).requires_grad_()
    g = draw(5, 4, seed=3)
    y = model(x)
    y.backward(g)
    qx = ByHand("E4M3")(x.detach()) if role == "input" else x.detach()
    qg = ByHand("E4M3")(g) if role == "grad_output" else g
    assert torch.equal(y, plain(qx))
    assert torch.equal(x.grad, qg @ plain.weight) and torch.equal(model.weight.grad, qg.T @ qx)


def test_a_whole_gpt_is_cast_where_the_plan_says_so() -> None:
    plan = PrecisionPlan({"*.mlp.*": ALL, "lm_head": {"input": "E5M2"}, "w?e": {"weight": "BF16", **ALL}})
    model = quantize_model(gpt(tie_weights=False), plan)
    model(tokens(), tokens(1))[1].backward()
    found = {(name, role): (cast.fmt.name, cast.counts[0].item()) for name, role, cast in named_casts(model)}
    rows = 2 * 8
    assert found == {
        ("wte.weight", "grad_output"): ("E5M2", rows * 8),
        ("wpe.weight", "grad_output"): ("E5M2", 8 * 8),
        ("blocks.0.mlp.c_fc.weight", "input"): ("E4M3", rows * 8),
        ("blocks.0.mlp.c_fc.weight", "grad_output"): ("E5M2", rows * 32),
        ("blocks.0.mlp.c_proj.weight", "input"): ("E4M3", rows * 32),
        ("blocks.0.mlp.c_proj.weight", "grad_output"): ("E5M2", rows * 8),
        ("lm_head.weight", "input"): ("E5M2", rows * 8),
    }
    assert type(model.lm_head) is nn.Linear


def test_an_embeddings_gradient_is_that_of_the_rounded_one() -> None:
    table = nn.ModuleDict({"wte": nn.Embedding(9, 4)})
    quantize_model(table, PrecisionPlan({"*": {"weight": "E4M3", "input": "E4M3", "grad_output": "E3M4"}}))
    idx, g = torch.tensor([[0, 3, 3], [8, 1, 0]]), draw(2, 3, 4, seed=3)
    table["wte"](idx).backward(g)
    expected = torch.zeros(9, 4).index_add_(0, idx.flatten(), ByHand("E3M4")(g).view(-1, 4))
    assert torch.equal(table["wte"].raw_weight.grad, expected)
    assert [role for _, role, _ in named_casts(table)] == ["grad_output"]


class Doubling(nn.Linear):
    """A user's subclass with a forward of its own."""

    def forward(self, x: Tensor, factor: float = 2.0) -> Tensor:
        return factor * super().forward(x)


def test_a_subclass_is_cast_around_its_own_forward() -> None:
    model = nn.Sequential(Doubling(6, 4, bias=False))
    quantize_model(model, PrecisionPlan({"0": {"input": "E4M3", "grad_output": "E5M2"}}))
    x, g = draw(5, 6), draw(5, 4, seed=1)
    y = model[0](x, factor=4.0)
    y.backward(g)
    qx = ByHand("E4M3")(x)
    assert torch.equal(y, 4 * F.linear(qx, model[0].weight))
    assert torch.equal(model[0].weight.grad, (4 * ByHand("E5M2")(g)).T @ qx)


def test_the_input_can_come_by_name() -> None:
    model, other = layer(), layer()
    assert torch.equal(model(input=draw(5, 6)), other(draw(5, 6)))
    with pytest.raises(NotSupportedError, match="its input is cast, and it was called without one"):
        model()


def test_what_follows_a_cast_may_work_in_place() -> None:
    model = nn.Sequential(layer(), nn.ReLU(inplace=True))
    apart = nn.Sequential(layer(), nn.ReLU())
    for one in (model, apart):
        one(draw(5, 6)).square().sum().backward()
    assert torch.equal(model[0].raw_weight.grad, apart[0].raw_weight.grad)


@pytest.mark.parametrize("training", [True, False])
def test_torchs_encoder_is_cast_although_it_has_a_path_past_its_layers(training: bool) -> None:
    encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).train(training)
    twin = copy.deepcopy(encoder)
    quantize_model(encoder, PrecisionPlan({"linear1": {"input": "E2M1"}}))
    twin.linear1.register_forward_pre_hook(lambda module, args: (ByHand("E2M1")(args[0]),))
    with torch.no_grad():
        assert torch.equal(encoder(draw(2, 5, 8)), twin(draw(2, 5, 8)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_tensor_is_rounded_in_the_dtype_in_which_it_comes(dtype: torch.dtype) -> None:
    model = layer().to(dtype)
    x = draw(5, 6).to(dtype).requires_grad_()
    y = model(x)
    g = draw(5, 4, seed=1).to(dtype)
    y.backward(g)
    assert y.dtype == x.grad.dtype == dtype
    assert model.input_cast.scale.dtype == torch.float32 and model.input_cast.counts.dtype == torch.int64
    assert torch.equal(y, F.linear(ByHand("E4M3")(x.detach()), model.weight, model.bias))
    assert torch.equal(x.grad, ByHand("E5M2")(g) @ model.weight)


def test_under_autocast_the_cast_sees_what_arrives() -> None:
    model = nn.Sequential(layer(), nn.Linear(4, 3))
    quantize_model(model[1], PrecisionPlan({"*": {"input": "E4M3", "grad_output": "E5M2"}}))
    with torch.autocast("cpu", torch.bfloat16):
        hidden = F.linear(ByHand("E4M3")(draw(5, 6)), model[0].weight, model[0].bias)
        expected = F.linear(ByHand("E4M3")(hidden), model[1].weight, model[1].bias)
        out = model(draw(5, 6))
    assert hidden.dtype == out.dtype == torch.bfloat16 and torch.equal(out, expected)
    out.float().square().sum().backward()
    assert model[0].raw_weight.grad.dtype == torch.float32
    assert [cast.counts[0].item() for *_, cast in named_casts(model)] == [30, 20, 20, 15]


# Scales and counts


@pytest.mark.parametrize("history", [1, 3, 16])
def test_a_delayed_scale_follows_the_history_call_by_call(history: int) -> None:
    model = layer({"input": "E4M3"}, history=history)
    amaxes: list[float] = []
    for step, magnitude in enumerate(MAGNITUDES):
        x = magnitude * draw(5, 6, seed=step)
        model(x)  # calls without a backward pass, as in accumulation: each moves the scale
        expected = max(amaxes[-history:], default=x.abs().max().item())
        assert model.input_cast.scale.item() == power(expected, "E4M3")
        amaxes.append(x.abs().max().item())
        kept = amaxes[-history:][::-1]
        assert model.input_cast.amax_history.tolist() == kept + [-1.0] * (history - len(kept))


def test_other_modes_and_scales() -> None:
    x = 100 * draw(5, 6)
    amax = x.abs().max()
    current = layer({"input": "E4M3"}, scaling="current")
    current(draw(5, 6))
    current(x)
    assert current.input_cast.scale.item() == power(amax.item(), "E4M3")
    none = layer({"input": "E2M1"}, scaling="none")
    assert torch.equal(none(x), layer({})(ag.quantize(x, "E2M1")))
    assert none.input_cast.take_counts().tolist() == [30, int((x.abs() > 6).sum()), 0]
    reference = layer({"input": "BF16"})
    assert torch.equal(reference(x), layer({})(x.bfloat16().float()))
    plain = layer({"input": "E4M3"}, power_of_two=False, per_row=True)
    plain(x)
    assert plain.input_cast.scale.shape == () and plain.input_cast.scale == amax / 448


def test_in_eval_mode_nothing_moves_and_nothing_is_counted() -> None:
    model = layer()
    model(draw(5, 6).requires_grad_()).sum().backward()
    before = copy.deepcopy(model)
    model.eval()
    x = 1000 * draw(5, 6, seed=1)
    y = model(x.requires_grad_())
    y.backward(1000 * draw(5, 4))
    assert same(model, before)
    qx = ag.quantize(x.detach(), "E4M3", before.input_cast.scale)
    assert torch.equal(y, F.linear(qx, model.weight, model.bias))
    assert torch.equal(x.grad, ag.quantize(1000 * draw(5, 4), "E5M2", before.grad_output_cast.scale) @ model.weight)


@pytest.mark.parametrize("scaling", ["delayed", "current"])
def test_before_any_call_in_training_a_tensor_takes_its_own_scale(scaling: Any) -> None:
    model = layer({"input": "E4M3"}, scaling=scaling).eval()
    for magnitude in MAGNITUDES:
        x = magnitude * draw(5, 6)
        assert torch.equal(model(x), layer({})(ag.quantize(x, "E4M3", power(x.abs().max().item(), "E4M3"))))
    assert model.input_cast.scale == 0.0
    assert quantize_model(nn.Linear(2, 2).eval(), PrecisionPlan({"*": ALL})).input_cast.training is False


@pytest.mark.parametrize("scaling", ["delayed", "current"])
@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_zeros_and_nonfinite_values_set_no_scale(bad: float, scaling: Any) -> None:
    cast, hand = Cast("E4M3", scaling), ByHand("E4M3")
    x = torch.full((2, 3), bad)
    out = cast.rounded(x)
    assert torch.equal(out.isnan(), x.isnan()) and (out[~out.isnan()] <= 448).all()
    assert cast.scale == 0.0
    assert cast.take_counts().tolist() == [6, 6 if bad == float("inf") else 0, 0]
    torch.testing.assert_close(cast.take_amax(), torch.tensor(bad), equal_nan=True)
    assert torch.equal(cast.rounded(1e-5 * draw(4)), hand(1e-5 * draw(4)))  # and not at the scale of zeros
    before = cast.scale.clone()
    cast.rounded(x)
    assert torch.equal(cast.scale, before)
    fresh = Cast("E4M3", scaling).eval()
    assert fresh.rounded(torch.tensor([bad, 1.0]))[1] == 1.0


def test_empty_single_and_tiny_tensors() -> None:
    cast = Cast("E4M3")
    assert cast.rounded(torch.zeros(0, 3)).shape == (0, 3)
    assert cast.take_amax().isnan() and cast.take_counts().tolist() == [0, 0, 0]
    assert cast.rounded(torch.tensor(3.0)) == 3.0
    assert cast.rounded(torch.tensor([1e-45, -1e-45, 3.0])).tolist() == [0.0, 0.0, 3.0]
    assert cast.take_counts().tolist() == [4, 0, 2]
    with pytest.raises(FormatError, match=r"torch\.int64 cannot be rounded"):
        cast.rounded(torch.ones(3, dtype=torch.int64))


@pytest.mark.parametrize("scaling", ["delayed", "current", "none"])
def test_nothing_is_read_from_the_device(scaling: Any) -> None:
    cast = Cast("E4M3", scaling).to("meta")  # where there is nothing to read
    cast.rounded(torch.zeros(4, 5, device="meta"))
    assert cast.take_counts().is_meta and cast.take_amax().is_meta
    assert cast.eval().rounded(torch.zeros(4, 5, device="meta")).is_meta


def test_a_layer_without_gradients_is_cast_forward_alone() -> None:
    model = layer()
    with torch.no_grad():
        assert torch.equal(model(draw(5, 6)), layer()(draw(5, 6)))
    assert [cast.take_counts()[0].item() for *_, cast in named_casts(model)] == [30, 0]


def test_a_second_derivative_is_refused() -> None:
    x = draw(5, 6).requires_grad_()
    (gradient,) = torch.autograd.grad(layer({"input": "E4M3"})(x).square().sum(), x, create_graph=True)
    gradient.sum().backward()  # through a cast of inputs it is the straight-through one
    with pytest.raises(NotSupportedError, match="a gradient that is cast has no derivative of its own"):
        torch.autograd.grad(layer()(x).square().sum(), x, create_graph=True)


# State


def train(model: nn.Module, steps: range) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in steps:
        optimizer.zero_grad()
        model(tokens(step), tokens(step + 1))[1].backward()
        optimizer.step()


def test_a_saved_and_loaded_model_goes_on_with_the_same_bits() -> None:
    plan = PrecisionPlan({"*": ALL}, history=3)
    whole, first, second = (quantize_model(gpt(tie_weights=True), plan) for _ in range(3))
    train(whole, range(5))
    train(first, range(2))
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second.load_state_dict(torch.load(buffer, weights_only=True), strict=True)
    assert same(first, second)
    train(second, range(2, 5))
    assert same(whole, second)
    assert all(cast.take_counts()[0] > 0 for *_, cast in named_casts(second))


def test_state_keys_are_those_of_today_and_those_of_casts() -> None:
    weight = ["weight", "bias", "weight_scaler.scale", "weight_scaler.amax_history"]
    names = ("scale", "amax_history", "counts", "amax")
    model = layer()
    assert list(model.state_dict()) == weight + [
        f"{role}_cast.{name}" for role in ("input", "grad_output") for name in names
    ]
    absent = layer({"weight": "E3M4", "input": None})
    assert list(absent.state_dict()) == weight
    assert not absent._forward_hooks and not absent._forward_pre_hooks
    weights = {name for name, _, _ in named_quantized_weights(quantize_model(gpt(), PrecisionPlan({"*": ALL})))}
    keys = quantize_model(gpt(), PrecisionPlan({"*": ALL})).state_dict()
    suffix = "_scaler.scale"  # by which readers of final weights know a weight's scale
    assert {key.removesuffix(suffix) for key in keys if key.endswith(suffix)} == weights


@pytest.mark.parametrize("roles", [ALL, {"input": "E4M3", "grad_output": "E5M2"}])
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies_are_equal_and_independent(way: str, roles: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = layer(roles)
    model(draw(5, 6)).sum().backward()
    other = copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))
    assert type(other) is type(model) and same(model, other)
    for register in (other.register_forward_pre_hook, other.register_forward_hook):
        monkeypatch.setattr(RemovableHandle, "next_id", 0)  # as in a new process
        register(lambda module, *args: None)  # a user's hook takes no cast's place
    kept = copy.deepcopy(model)
    for one in (model, other):
        one(8 * draw(5, 6)).square().sum().backward()
    assert same(model, other) and not same(model, kept)


def test_dequantizing_removes_casts_and_everything_of_theirs() -> None:
    plain = gpt()
    keys = list(plain.state_dict())
    model = quantize_model(plain, PrecisionPlan({"*.mlp.*": ALL, "lm_head": {"input": "E4M3"}}))
    dequantize_model(model)
    assert list(model.state_dict()) == keys and not list(named_casts(model))
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks and not module._forward_pre_hooks_with_kwargs
    quantize_model(model, PrecisionPlan({"*": ALL}))


def test_tied_layers_have_casts_of_their_own() -> None:
    model = quantize_model(gpt(tie_weights=True), PrecisionPlan({"wte": "E3M4", "lm_head": ALL}))
    assert [(name, role) for name, role, _ in named_casts(model)] == [
        ("lm_head.weight", "input"),
        ("lm_head.weight", "grad_output"),
    ]
    assert model.wte.raw_weight is model.lm_head.raw_weight


# What is refused


class Pair(nn.Linear):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


def _taken() -> nn.Module:
    taken = nn.Linear(3, 2)
    taken.input_cast = "mine"
    return taken


@pytest.mark.parametrize(
    ("model", "patterns", "error", "text"),
    [
        (
            nn.ModuleDict({"attn": nn.MultiheadAttention(4, 2)}),
            {"*": ALL},
            NotSupportedError,
            "attn (MultiheadAttention): input and grad_output of attention and of its out_proj are not cast: it "
            "multiplies inside one function. Match it with a pattern of its own, before this one, that gives the "
            "weight alone.",
        ),
        (
            nn.ModuleDict({"attn": nn.MultiheadAttention(4, 2)}),
            {"attn": "E4M3", "*": {"input": "E4M3"}},
            NotSupportedError,
            "attn.out_proj (NonDynamicallyQuantizableLinear): input and grad_output of attention",
        ),
        (
            gpt(),
            {"wte": {"input": "E4M3"}},
            PlanError,
            "plan 'wte': it casts inputs, and every layer that it decides is an embedding, whose input is indices. "
            "Embeddings have the roles weight and grad_output.",
        ),
        (
            _taken(),
            {"*": {"grad_output": "E4M3"}},
            UnsupportedModuleError,
            "Linear: it already has an attribute input_cast",
        ),
    ],
)
def test_what_cannot_be_cast_is_refused_before_anything_changes(
    model: nn.Module, patterns: Any, error: type[AltGradError], text: str
) -> None:
    classes, keys = [type(module) for module in model.modules()], list(model.state_dict())
    with pytest.raises(error) as caught:
        quantize_model(model, PrecisionPlan(patterns))
    assert str(caught.value).startswith(text)
    assert [type(module) for module in model.modules()] == classes and list(model.state_dict()) == keys


def test_two_names_of_one_layer_must_agree() -> None:
    one = nn.Linear(3, 3)
    model = nn.ModuleDict({"a": one, "b": one})
    with pytest.raises(PlanError, match="a: the same layer, b, would be cast in another way"):
        quantize_model(model, PrecisionPlan({"a": {"input": "E4M3"}, "b": {"input": "E5M2"}}))
    quantize_model(model, PrecisionPlan({"*": {"input": "E4M3"}}))
    assert [name for name, _, _ in named_casts(model)] == ["a.weight"]


def test_a_model_with_casts_is_quantized_already() -> None:
    with pytest.raises(PlanError, match="Linear: the model is already quantized"):
        quantize_model(layer({"input": "E4M3"}), PrecisionPlan({"*": "E4M3"}))


def test_an_output_that_is_no_tensor_is_refused() -> None:
    model = quantize_model(Pair(3, 2), PrecisionPlan({"*": {"grad_output": "E4M3"}}))
    with pytest.raises(NotSupportedError, match="its grad_output is cast, and it returned a tuple, not a tensor"):
        model(draw(2, 3))


# Compiled


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_a_compiled_model_rounds_moves_and_counts_the_same(backend: str) -> None:
    """Scales and counts move within the compiled backward pass too: torch 2.13 writes such buffers back."""
    torch._dynamo.reset()
    model = layer({"weight": "E3M4", "input": "E2M1", "grad_output": "E2M3"}, history=2)
    other = copy.deepcopy(model)
    compiled = torch.compile(model, backend=backend, fullgraph=True, dynamic=False)
    for step, magnitude in enumerate(MAGNITUDES):
        x, g = magnitude * draw(5, 6, seed=step), draw(5, 4, seed=step) / magnitude
        x[0, 0] = g[0, 0] = 0.0
        if step == 0:  # just on the largest values at the first scales
            x[0, 1], g[0, 1] = 3.0, 3.75
        expected_x = x.clone().requires_grad_()
        x.requires_grad_()
        y, expected = compiled(x), other(expected_x)
        y.backward(g)
        expected.backward(g)
        assert torch.equal(y, expected)
        assert torch.equal(x.grad, expected_x.grad)
        assert torch.equal(model.raw_weight.grad, other.raw_weight.grad)  # accumulated
        assert same(model, other)
    compiled.eval()
    other.eval()
    with torch.no_grad():
        assert torch.equal(compiled(draw(5, 6)), other(draw(5, 6)))
    assert same(model, other) and min(model.input_cast.counts.tolist() + model.grad_output_cast.counts.tolist()) > 0


class Twice(nn.Module):
    """One layer, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.relu(self.layer(x)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
def test_compiled_calls_of_one_layer_follow_each_other_as_eager_ones_do() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = quantize_model(Twice(), PrecisionPlan({"*": ALL}, history=3))
    other = copy.deepcopy(model)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=False)
    for forward, one in ((compiled, model), (other, other)):
        for magnitude in (1.0, 3.0):
            forward(magnitude * draw(5, 6)).square().sum().backward()
        # Two passes forward before one backward, and a take between them.
        loss = forward(draw(5, 6)).square().sum() + forward(5 * draw(5, 6, seed=1)).square().sum()
        taken = [cast.take_counts()[0].item() for *_, cast in named_casts(one)]
        loss.backward()
        assert taken == [4 * 2 * 30, 2 * 2 * 30]
    assert same(model, other)
    assert torch.equal(model.layer.raw_weight.grad, other.layer.raw_weight.grad)
