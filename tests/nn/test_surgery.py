"""Whole models: plain twins whose weights were rounded by hand are the oracle."""

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm

import altgrad as ag
from altgrad.errors import PlanError, UnsupportedModuleError
from altgrad.models.gpt import GPT, GPTConfig
from altgrad.nn import advance_scales, dequantize_model, named_quantized_weights, quantize_model
from altgrad.nn.modules import QuantizedModule
from altgrad.nn.plan import PrecisionPlan

MATRICES = ("weight", "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gpt(**changes: Any) -> GPT:
    return GPT(GPTConfig(**{"vocab_size": 17, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 8, **changes}))


def encoder(heads: int = 2) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(8, heads, 16, dropout=0.0, activation="gelu", batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def rounded(weight: Tensor, fmt: str = "E4M3") -> Tensor:
    scale = torch.exp2(torch.ceil(torch.log2(weight.abs().max().double() / ag.formats[fmt].max))).float()
    return ag.quantize(weight, fmt, scale)


def by_hand(model: nn.Module, fmt: str = "E4M3") -> Any:
    """Return a plain copy with every matrix rounded at its own scale."""
    model = copy.deepcopy(model)
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2] in MATRICES and parameter.ndim == 2:
            parameter.data = rounded(parameter.data, fmt)
    return model


def tokens(seed: int = 0) -> Tensor:
    return torch.randint(0, 17, (2, 8), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("fmt", ["E4M3", "E0M7", "E7M0"])
def test_a_gpt_computes_with_the_rounded_weights(fmt: str) -> None:
    plain = gpt()
    model = quantize_model(copy.deepcopy(plain), PrecisionPlan({"*": fmt}))
    twin = by_hand(plain, fmt)
    (logits, loss), (expected, expected_loss) = model(tokens(), tokens(1)), twin(tokens(), tokens(1))
    assert torch.equal(logits, expected) and not torch.equal(logits, plain(tokens())[0])
    loss.backward()
    expected_loss.backward()
    for (name, parameter), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad), name


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mask", ["none", "causal", "padding"])
def test_torchs_encoder_computes_with_the_rounded_weights(grad: bool, training: bool, mask: str) -> None:
    plain = encoder().train(training)
    model, twin = quantize_model(copy.deepcopy(plain), PrecisionPlan({"*": "E4M3"})), by_hand(plain)
    masks: dict[str, dict[str, Any]] = {
        "none": {},
        "causal": {"mask": torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)},
        "padding": {"src_key_padding_mask": torch.tensor([[False] * 5, [False] * 3 + [True] * 2])},
    }
    if not grad:  # torch chooses its matrix kernels by requires_grad, which what a layer reads has not in no_grad
        twin.requires_grad_(False)
    with torch.set_grad_enabled(grad):
        out, expected = (m(draw(2, 5, 8, seed=1), **masks[mask]) for m in (model, twin))
    assert torch.equal(out, expected)
    assert not torch.allclose(out, plain(draw(2, 5, 8, seed=1), **masks[mask]))


def test_the_eval_fast_path_is_what_the_encoder_test_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = torch._transformer_encoder_layer_fwd
    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", lambda *args: calls.append(1) or real(*args))
    model = quantize_model(encoder(), PrecisionPlan({"*": "E4M3"})).eval()
    with torch.no_grad():
        model(draw(2, 5, 8))
    assert len(calls) == 2


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("widths", [{}, {"kdim": 6, "vdim": 10}, {"bias": False, "add_bias_kv": True}])
def test_attention_rounds_all_its_projections(widths: dict[str, Any], training: bool) -> None:
    torch.manual_seed(0)
    plain = nn.ModuleDict({"attn": nn.MultiheadAttention(8, 2, batch_first=True, **widths)}).train(training)
    model, twin = quantize_model(copy.deepcopy(plain), PrecisionPlan({"*": "E3M4"})), by_hand(plain, "E3M4")
    q, k, v = (draw(2, 5, width, seed=s) for s, width in enumerate((8, widths.get("kdim", 8), widths.get("vdim", 8))))
    out, expected = model["attn"](q, k, v), twin["attn"](q, k, v)
    assert torch.equal(out[0], expected[0]) and torch.equal(out[1], expected[1])
    out[0].square().sum().backward()
    expected[0].square().sum().backward()
    for (name, parameter), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(parameter.grad, other.grad), name
    names = [name for name, _, _ in named_quantized_weights(model)]
    split = ["attn.q_proj_weight", "attn.k_proj_weight", "attn.v_proj_weight"] if "kdim" in widths else []
    assert names == [*(split or ["attn.in_proj_weight"]), "attn.out_proj.weight"]


def test_an_attention_and_its_output_projection_are_two_layers() -> None:
    model = quantize_model(encoder(), PrecisionPlan({"*.self_attn": "E4M3", "*.out_proj": "E5M2"}))
    found = {name: scaler.fmt.name for name, _, scaler in named_quantized_weights(model)}
    assert found == {
        f"layers.{i}.self_attn.{weight}": fmt
        for i in range(2)
        for weight, fmt in (("in_proj_weight", "E4M3"), ("out_proj.weight", "E5M2"))
    }


def test_the_plan_decides_layer_by_layer() -> None:
    plan = PrecisionPlan({"*.mlp.*": "E3M4", "blocks.0.*": "E4M3", "lm_head": None, "w?e": "BF16"}, scaling="current")
    model = gpt()
    names = [name for name, _ in model.named_parameters()]
    assert quantize_model(model, plan) is model
    found = {name: (scaler.fmt.name, scaler.mode) for name, _, scaler in named_quantized_weights(model)}
    assert found == {
        "wte.weight": ("BF16", "none"),
        "wpe.weight": ("BF16", "none"),
        "blocks.0.attn.c_attn.weight": ("E4M3", "current"),
        "blocks.0.attn.c_proj.weight": ("E4M3", "current"),
        **{f"blocks.{i}.mlp.{layer}.weight": ("E3M4", "current") for i in (0, 1) for layer in ("c_fc", "c_proj")},
    }
    assert [name for name, _ in model.named_parameters()] == names
    assert type(model.lm_head) is nn.Linear and type(model.blocks[1].attn.c_attn) is nn.Linear


def test_parameters_stay_the_same_objects_with_the_same_values() -> None:
    model = gpt()
    before = {name: (parameter, parameter.detach().clone()) for name, parameter in model.named_parameters()}
    quantize_model(model, PrecisionPlan({"*": "E4M3"}))
    for name, parameter in model.named_parameters():
        assert parameter is before[name][0] and torch.equal(parameter, before[name][1])
    raws = {name: raw for name, raw, _ in named_quantized_weights(model)}
    assert len(raws) == 2 + 4 * 2 + 1
    assert all(raw is before[name][0] for name, raw in raws.items())


def test_a_layer_that_is_the_model_itself() -> None:
    model = quantize_model(nn.Linear(3, 2), PrecisionPlan({"*": "E4M3"}))
    assert [name for name, _, _ in named_quantized_weights(model)] == ["weight"]
    assert type(dequantize_model(model)) is nn.Linear


def test_other_modules_are_left_alone() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Bilinear(3, 3, 2), nn.LayerNorm(2), nn.Linear(2, 2))
    before = copy.deepcopy(model)
    quantize_model(model, PrecisionPlan({"*": "E4M3"}))
    assert [type(module) for module in model[:3]] == [nn.Conv1d, nn.Bilinear, nn.LayerNorm]
    assert all(torch.equal(a, b) for a, b in zip(model[:3].parameters(), before[:3].parameters(), strict=True))
    with pytest.raises(PlanError, match=r"plan '0': it matches no layer of the model; nearest: 3"):
        quantize_model(before, PrecisionPlan({"0": "E4M3"}))


# Weight tying


def test_tied_weights_stay_one_parameter_with_one_scale() -> None:
    plain = gpt(tie_weights=True)
    model = quantize_model(copy.deepcopy(plain), PrecisionPlan({"*": "E4M3"}))
    assert model.wte.raw_weight is model.lm_head.raw_weight
    assert model.wte.weight_scaler is model.lm_head.weight_scaler
    names = [name for name, _, _ in named_quantized_weights(model)]
    assert names.count("wte.weight") == 1 and "lm_head.weight" not in names
    twin = by_hand(plain)
    assert torch.equal(model(tokens())[0], twin(tokens())[0])
    model(tokens(), tokens(1))[1].backward()
    twin(tokens(), tokens(1))[1].backward()
    assert torch.equal(model.wte.raw_weight.grad, twin.wte.weight.grad)
    other = copy.deepcopy(model)
    assert other.wte.raw_weight is other.lm_head.raw_weight
    assert other.wte.weight_scaler is other.lm_head.weight_scaler is not model.wte.weight_scaler
    dequantize_model(model)
    assert model.wte.weight is model.lm_head.weight


@pytest.mark.parametrize(
    ("patterns", "text"),
    [
        (
            {"wte": "E4M3", "*": "BF16"},
            "wte.weight: one Parameter would be read in different formats: "
            "wte.weight (E4M3) and lm_head.weight (BF16). Give all that share it one format, or untie them.",
        ),
        (
            {"lm_head": None, "*": "E4M3"},
            "wte.weight: one Parameter would be read in different formats: "
            "wte.weight (E4M3) and lm_head.weight (left alone). Give all that share it one format, or untie them.",
        ),
    ],
)
def test_tied_layers_in_different_formats_are_refused(patterns: dict[str, str | None], text: str) -> None:
    model = gpt(tie_weights=True)
    with pytest.raises(PlanError) as caught:
        quantize_model(model, PrecisionPlan(patterns))
    assert str(caught.value) == text
    assert not any(isinstance(module, QuantizedModule) for module in model.modules())


def test_tied_layers_both_left_alone_are_fine() -> None:
    model = quantize_model(gpt(tie_weights=True), PrecisionPlan({"wte": None, "lm_head": None, "*": "E4M3"}))
    assert model.wte.weight is model.lm_head.weight


def test_a_weight_shared_with_a_module_that_cannot_be_quantized_is_refused() -> None:
    model = nn.ModuleDict({"emb": nn.Embedding(4, 3), "own": nn.Module()})
    model["own"].table = model["emb"].weight
    with pytest.raises(PlanError, match=r"emb\.weight \(E4M3\) and own\.table \(left alone\)"):
        quantize_model(model, PrecisionPlan({"*": "E4M3"}))


def test_one_module_under_two_names_is_one_layer() -> None:
    layer = nn.Linear(3, 3)
    model = nn.ModuleDict({"a": layer, "b": layer})
    with pytest.raises(PlanError, match=r"a\.weight \(E4M3\) and b\.weight \(E5M2\)"):
        quantize_model(model, PrecisionPlan({"a": "E4M3", "b": "E5M2"}))
    quantize_model(model, PrecisionPlan({"*": "E4M3"}))
    assert [name for name, _, _ in named_quantized_weights(model)] == ["a.weight"]
    assert torch.equal(model["b"].weight, rounded(layer.raw_weight.detach()))


# Modes, scales and state


@pytest.mark.parametrize("scaling", ["delayed", "current"])
def test_scales_advance_by_one_step_in_training_and_never_in_eval(scaling: Any) -> None:
    model = quantize_model(gpt(), PrecisionPlan({"*": "E4M3"}, scaling=scaling, history=2))
    scalers = {name: scaler for name, _, scaler in named_quantized_weights(model)}
    start = {name: scaler.scale.clone() for name, scaler in scalers.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(16)
    model.eval()
    advance_scales(model)
    assert all(torch.equal(scaler.scale, start[name]) for name, scaler in scalers.items())
    model.train()
    advance_scales(model)
    factor = 16 if scaling == "current" else 1  # a delayed scale still rests on the amax of before
    assert all(torch.equal(scaler.scale, factor * start[name]) for name, scaler in scalers.items())
    advance_scales(model)
    assert all(torch.equal(scaler.scale, 16 * start[name]) for name, scaler in scalers.items())


def test_a_model_in_eval_mode_is_quantized_with_frozen_scales() -> None:
    model = quantize_model(gpt().eval(), PrecisionPlan({"*": "E4M3"}))
    assert not any(module.training for module in model.modules())


def test_training_by_a_plain_optimizer_follows_the_twin() -> None:
    plain = gpt()
    model = quantize_model(copy.deepcopy(plain), PrecisionPlan({"*": "E4M3"}, scaling="current"))
    masters = copy.deepcopy(plain)
    optimizer, reference = (torch.optim.SGD(m.parameters(), lr=0.5) for m in (model, masters))
    for step in range(5):
        model(tokens(step), tokens(step + 1))[1].backward()
        twin = by_hand(masters)
        twin(tokens(step), tokens(step + 1))[1].backward()
        for parameter, other in zip(masters.parameters(), twin.parameters(), strict=True):
            parameter.grad = other.grad
        for each in (optimizer, reference):
            each.step()
            each.zero_grad()
        advance_scales(model)
    for (name, parameter), other in zip(model.named_parameters(), masters.named_parameters(), strict=True):
        assert torch.equal(parameter, other[1]), name


def test_state_goes_from_one_quantized_model_to_another() -> None:
    plan = PrecisionPlan({"*": "E4M3"}, history=3)
    model = quantize_model(gpt(), plan)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(7)
    advance_scales(model)
    advance_scales(model)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    other = quantize_model(gpt(), plan)
    assert not torch.equal(other.wte.weight_scaler.scale, model.wte.weight_scaler.scale)
    result = other.load_state_dict(state, strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    assert torch.equal(other(tokens())[0], model(tokens())[0])
    advance_scales(model)
    advance_scales(other)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_plain_state_lacks_only_the_scales() -> None:
    model = quantize_model(gpt(), PrecisionPlan({"wte": "E4M3"}))
    missing, unexpected = model.load_state_dict(gpt().state_dict(), strict=False)
    assert missing == ["wte.weight_scaler.scale", "wte.weight_scaler.amax_history"] and not unexpected


def test_functional_calls_round_the_weights_that_they_are_given() -> None:
    model = quantize_model(gpt(), PrecisionPlan({"*": "E4M3"}))
    other = {name: 0.5 * parameter.detach() for name, parameter in model.named_parameters()}
    halved = copy.deepcopy(model)
    halved.load_state_dict(other, strict=False)
    out = torch.func.functional_call(model, other, (tokens(),))[0]
    assert torch.equal(out, halved(tokens())[0])


# Back to a plain model


def test_dequantizing_bakes_what_the_model_computed() -> None:
    plain = encoder()
    classes = {name: type(module) for name, module in plain.named_modules()}
    keys = list(plain.state_dict())
    model = quantize_model(copy.deepcopy(plain), PrecisionPlan({"*": "E4M3"}))
    parameters = dict(model.named_parameters())
    before = model(draw(2, 5, 8))
    assert dequantize_model(model) is model
    assert {name: type(module) for name, module in model.named_modules()} == classes
    assert list(model.state_dict()) == keys
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert torch.equal(model(draw(2, 5, 8)), before)
    twin = by_hand(plain)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_dequantizing_can_keep_the_masters() -> None:
    plain = gpt()
    model = quantize_model(copy.deepcopy(plain), PrecisionPlan({"*": "E4M3"}))
    dequantize_model(model, keep_masters=True)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
    again = quantize_model(model, PrecisionPlan({"*": "E5M2"}))
    assert torch.equal(again(tokens())[0], by_hand(plain, "E5M2")(tokens())[0])


def test_dequantizing_a_plain_model_changes_nothing() -> None:
    model, plain = gpt(), gpt()
    dequantize_model(model)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_quantizing_twice_is_refused() -> None:
    model = quantize_model(gpt(), PrecisionPlan({"lm_head": "E4M3"}))
    with pytest.raises(PlanError) as caught:
        quantize_model(model, PrecisionPlan({"wte": "E5M2"}))
    assert str(caught.value) == (
        "lm_head (QuantizedLinear): the model is already quantized. "
        "Call dequantize_model first, with keep_masters=True to keep the stored weights."
    )


# What cannot be quantized faithfully


class OwnWeight(nn.Linear):
    """A user's layer that computes its weight itself."""

    @property
    def weight(self) -> Tensor:
        return self._parameters["weight"] - 1.0

    @weight.setter
    def weight(self, value: nn.Parameter) -> None:
        self.register_parameter("weight", value)


def _own_weight() -> nn.Module:
    layer = OwnWeight.__new__(OwnWeight)
    nn.Module.__init__(layer)
    layer._parameters["weight"], layer._parameters["bias"] = nn.Parameter(draw(2, 3)), None
    layer.in_features, layer.out_features = 3, 2
    return layer


def _old_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning):
        return torch.nn.utils.weight_norm(nn.Linear(3, 2))


def _scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Linear(3, 2))


def _taken() -> nn.Module:
    layer = nn.Linear(3, 2)
    layer.weight_scaler = "mine"
    return layer


def _subclassed() -> nn.Module:
    class Tagged(torch.Tensor):
        pass

    layer = nn.Linear(3, 2)
    layer.weight = nn.Parameter(layer.weight.data.as_subclass(Tagged))
    return layer


def _ao() -> nn.Module:
    from torch.ao.nn.quantizable import MultiheadAttention

    return MultiheadAttention(4, 2)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(3, 2)), "it is parametrized"),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(3, 2)), "it is parametrized"),
    "attention": (
        lambda: parametrizations.spectral_norm(nn.MultiheadAttention(4, 2), "in_proj_weight"),
        "it is parametrized",
    ),
    "old weight norm": (_old_weight_norm, "its weight is no Parameter: weight norm, spectral norm, pruning"),
    "old spectral norm": (lambda: spectral_norm(nn.Linear(3, 2)), "its weight is no Parameter"),
    "pruned": (lambda: prune.random_unstructured(nn.Linear(3, 2), "weight", 0.5), "its weight is no Parameter"),
    "own weight": (_own_weight, "its class defines weight itself"),
    "lazy": (lambda: nn.LazyLinear(2), "its weight has no shape yet. Run a batch through the lazy model first"),
    "meta": (lambda: nn.Linear(3, 2, device="meta"), "its weight is on the meta device and has no values"),
    "float8": (lambda: nn.Linear(3, 2).to(torch.float8_e4m3fn), "its weight is torch.float8_e4m3fn. Cast the model"),
    "complex": (lambda: nn.Linear(3, 2, dtype=torch.complex64), "its weight is torch.complex64"),
    "tensor subclass": (_subclassed, "its weight is a Tagged of layout torch.strided, not a plain dense tensor"),
    "scripted": (_scripted, "its weight is held by TorchScript or torch.ao"),
    "torch.ao": (_ao, "its weight is held by TorchScript or torch.ao"),
    "name taken": (_taken, "it already has an attribute weight_scaler"),
    "max_norm": (lambda: nn.Embedding(4, 3, max_norm=1.0), "max_norm=1.0 renormalizes the table in the forward pass"),
    "sparse": (lambda: nn.Embedding(4, 3, sparse=True), "sparse=True gives sparse gradients"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_quantized_is_refused_before_anything_changes(case: str) -> None:
    make, text = REFUSED[case]
    model = nn.ModuleDict({"first": nn.Linear(3, 3), "bad": make()})
    with pytest.raises(UnsupportedModuleError) as caught:
        quantize_model(model, PrecisionPlan({"*": "E4M3"}))
    assert text in str(caught.value)
    assert str(caught.value).startswith("bad ")
    assert type(model["first"]) is nn.Linear
    quantize_model(model, PrecisionPlan({"bad*": None, "*": "E4M3"}))
    assert isinstance(model["first"], QuantizedModule) and not isinstance(model["bad"], QuantizedModule)
