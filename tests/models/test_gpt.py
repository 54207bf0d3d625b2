"""The GPT against torch's own layers, NumPy and the numbers of its definition."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from altgrad.errors import AltGradError, ModelError
from altgrad.models.gpt import GPT, GPTConfig

SHAPE: dict[str, Any] = {"vocab_size": 61, "block_size": 12, "n_layer": 3, "n_head": 4, "n_embd": 32}


def build(seed: int = 0, **changes: Any) -> GPT:
    return GPT(GPTConfig(**{**SHAPE, **changes}), generator=torch.Generator().manual_seed(seed))


def tokens(seed: int, batch: int = 2, length: int = 12) -> Tensor:
    return torch.randint(0, SHAPE["vocab_size"], (batch, length), generator=torch.Generator().manual_seed(seed))


def shake(model: nn.Module, seed: int = 9) -> nn.Module:
    """Move every parameter off its initial value, so that biases and layer norms take part in comparisons."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.2)
    return model


def torch_layer(block: nn.Module, width: int, heads: int, bias: bool) -> nn.TransformerEncoderLayer:
    """Return torch's own layer with a block's weights."""
    layer = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, bias=bias
    ).double()
    state = {
        "self_attn.in_proj_": block.attn.c_attn,
        "self_attn.out_proj.": block.attn.c_proj,
        "linear1.": block.mlp.c_fc,
        "linear2.": block.mlp.c_proj,
        "norm1.": block.ln_1,
        "norm2.": block.ln_2,
    }
    layer.load_state_dict({prefix + k: v for prefix, m in state.items() for k, v in m.state_dict().items()})
    return layer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_logits_are_those_of_torchs_own_layers(bias: bool, training: bool) -> None:
    model = shake(build(bias=bias).double()).train(training)
    idx = tokens(1)
    mask = torch.triu(torch.ones(12, 12, dtype=torch.bool), diagonal=1)
    x = model.wte.weight[idx] + model.wpe.weight[:12]
    for block in model.blocks:
        layer = torch_layer(block, 32, 4, bias).train(training)
        x = layer(x, src_mask=mask)
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    x = (x - mean) / (variance + 1e-5).sqrt() * model.ln_f.weight + (model.ln_f.bias if bias else 0.0)
    expected = x @ model.lm_head.weight.T
    logits, loss = model(idx)
    assert loss is None
    assert logits.shape == (2, 12, 61)
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)


def test_loss_is_the_mean_cross_entropy_in_nats() -> None:
    model = shake(build().double())
    idx, targets = tokens(1), tokens(2)
    logits, loss = model(idx, targets)
    z = logits.detach().numpy()
    shifted = np.exp(z - z.max(-1, keepdims=True))
    probabilities = shifted / shifted.sum(-1, keepdims=True)
    picked = np.take_along_axis(probabilities, targets.numpy()[..., None], -1)
    assert loss.item() == pytest.approx(float(-np.log(picked).mean()), rel=1e-12)


def test_no_position_sees_a_later_token() -> None:
    model = shake(build())
    idx = tokens(1)
    for changed in (1, 6, 11):
        other = idx.clone()
        other[:, changed] = (other[:, changed] + 1) % SHAPE["vocab_size"]
        before, after = model(idx)[0], model(other)[0]
        assert torch.equal(before[:, :changed], after[:, :changed])
        assert (before[:, changed:] != after[:, changed:]).any(dim=-1).all()


def test_a_shorter_sequence_is_a_prefix() -> None:
    model = shake(build()).double()
    idx = tokens(1)
    torch.testing.assert_close(model(idx[:, :5])[0], model(idx)[0][:, :5], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_parameter_count(bias: bool, tied: bool) -> None:
    V, T, L, C = 61, 12, 3, 32
    matrices = 4 * C * C + 8 * C * C
    vectors = 2 * C + (2 * C + 4 * C + 5 * C if bias else 0)
    expected = V * C + T * C + L * (matrices + vectors) + (2 if bias else 1) * C + (0 if tied else V * C)
    assert sum(p.numel() for p in build(bias=bias, tie_weights=tied).parameters()) == expected


def test_names_are_those_that_plans_match() -> None:
    names = {name for name, module in build().named_modules() if isinstance(module, (nn.Linear, nn.Embedding))}
    layers = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert names == {"wte", "wpe", "lm_head", *(f"blocks.{i}.{layer}" for i in range(3) for layer in layers)}


def test_weights_are_the_generators_draws_in_the_order_of_the_names() -> None:
    generator = torch.Generator().manual_seed(5)
    for name, parameter in build(seed=5).named_parameters():
        if parameter.ndim == 2:
            std = 0.02 / math.sqrt(6) if "c_proj" in name else 0.02
            assert torch.equal(parameter, torch.empty(parameter.shape).normal_(0.0, std, generator=generator)), name
        else:
            assert torch.equal(parameter, torch.full_like(parameter, float("ln_" in name and "weight" in name))), name


def test_initial_weights_have_their_standard_deviations() -> None:
    model = build(n_layer=2, n_embd=128, vocab_size=500)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            std = 0.02 / math.sqrt(4) if name.endswith("c_proj.weight") else 0.02
            bound = 5 * std / math.sqrt(2 * parameter.numel())
            assert abs(parameter.std().item() - std) < bound, name
            assert abs(parameter.mean().item()) < 5 * std / math.sqrt(parameter.numel()), name


def test_initial_loss_is_about_that_of_a_uniform_guess() -> None:
    model = build(vocab_size=1000, n_embd=64)
    generator = torch.Generator().manual_seed(3)
    idx, targets = torch.randint(0, 1000, (2, 16, 12), generator=generator)
    # The final norm gives unit channels, so logits have variance 64 * 0.02^2 and the loss exceeds ln V by half that.
    assert model(idx, targets)[1].item() == pytest.approx(math.log(1000) + 64 * 0.02**2 / 2, abs=0.05)


def test_the_global_generator_is_neither_used_nor_moved() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build(seed=4).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = build(seed=4).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["wte.weight"], build(seed=5).state_dict()["wte.weight"])


def test_no_generator_means_seed_zero() -> None:
    plain, seeded = GPT(GPTConfig(**SHAPE)).state_dict(), build(seed=0).state_dict()
    assert all(torch.equal(plain[key], seeded[key]) for key in plain)


def test_biases_and_tying_leave_the_shared_draws_alone() -> None:
    base = build().state_dict()
    for variant in (build(bias=False), build(tie_weights=True)):
        state = variant.state_dict()
        assert all(torch.equal(state[key], base[key]) for key in state if key != "lm_head.weight")


def test_tied_weights_are_one_parameter() -> None:
    model = build(tie_weights=True)
    assert model.lm_head.weight is model.wte.weight
    model(tokens(1), tokens(2))[1].backward()
    assert model.wte.weight.grad is not None


def test_gradients_are_those_of_finite_differences() -> None:
    model = shake(build(n_layer=1, n_embd=8, n_head=2, vocab_size=7, block_size=4).double())
    generator = torch.Generator().manual_seed(3)
    idx, targets = torch.randint(0, 7, (2, 2, 4), generator=generator)
    model(idx, targets)[1].backward()
    step = 1e-6
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            losses = []
            for sign in (1, -2):
                parameter.add_(direction, alpha=sign * step)
                losses.append(model(idx, targets)[1].item())
            parameter.add_(direction, alpha=step)
            slope = (losses[0] - losses[1]) / (2 * step)
            assert (parameter.grad * direction).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-8), name


def test_dropout_acts_in_training_alone() -> None:
    model = shake(build(dropout=0.5))
    plain = shake(build())
    idx = tokens(1)
    torch.manual_seed(0)
    assert not torch.equal(model(idx)[0], model(idx)[0])
    model.eval()
    torch.testing.assert_close(model(idx)[0], plain(idx)[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"n_embd": 30}, "n_embd: 30 channels do not divide into 4 heads. Give a multiple of n_head."),
        ({"n_layer": 0}, "n_layer: 0 is not a size. Give an integer of at least 1."),
        ({"vocab_size": 61.0}, "vocab_size: 61.0 is not a size. Give an integer of at least 1."),
        ({"n_head": True}, "n_head: True is not a size. Give an integer of at least 1."),
        ({"dropout": 1.0}, "dropout: 1.0 is not a probability below 1. Give 0 <= dropout < 1."),
        ({"dropout": math.nan}, "dropout: nan is not a probability below 1. Give 0 <= dropout < 1."),
    ],
)
def test_shapes_that_no_model_has_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ModelError) as caught:
        GPTConfig(**{**SHAPE, **changes})
    assert str(caught.value) == text
    assert isinstance(caught.value, (AltGradError, ValueError))


def test_a_sequence_longer_than_the_context_is_refused() -> None:
    with pytest.raises(ModelError, match="sequences of 13 tokens are longer than block_size 12"):
        build()(tokens(1, length=13))
