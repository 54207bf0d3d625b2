"""GPT: the decoder-only transformer of GPT-2 (Radford et al. 2019) in one file, after Karpathy's nanoGPT.

Pre-norm blocks, learned positions, exact GELU. Shapes stand in trailing comments: B batch, T time, C channels
(`n_embd`), nh heads, hs head size, V vocabulary.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from altgrad.errors import ModelError

INIT_STD = 0.02
"""Standard deviation of the initial weights (GPT-2)."""

_SHAPE = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd")


@dataclass(frozen=True)
class GPTConfig:
    """The model's shape.

    Args:
        vocab_size: Number of tokens V.
        block_size: Longest sequence, in tokens.
        n_layer: Number of blocks.
        n_head: Attention heads in each block; divides `n_embd`.
        n_embd: Channels C.
        dropout: Probability of dropping an activation in training, in [0, 1). It draws from torch's global
            generator, the only thing in the model that does.
        bias: Whether linear layers and layer norms have biases; `lm_head` has none either way.
        tie_weights: Whether `lm_head` shares the token embedding's weight.

    Raises:
        ModelError: If no such model can exist.
    """

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float = 0.0
    bias: bool = True
    tie_weights: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes that no model has."""
        for name in _SHAPE:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ModelError(name, f"{value!r} is not a size", "Give an integer of at least 1")
        if self.n_embd % self.n_head:
            raise ModelError(
                "n_embd",
                f"{self.n_embd} channels do not divide into {self.n_head} heads",
                "Give a multiple of n_head",
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ModelError("dropout", f"{self.dropout!r} is not a probability below 1", "Give 0 <= dropout < 1")


def _linear(fan_in: int, fan_out: int, bias: bool) -> nn.Linear:
    # Left unfilled: torch's own initialization would draw from the global generator.
    return cast(nn.Linear, skip_init(nn.Linear, fan_in, fan_out, bias=bias))  # type: ignore[no-untyped-call]


def _embedding(rows: int, width: int) -> nn.Embedding:
    return cast(nn.Embedding, skip_init(nn.Embedding, rows, width))  # type: ignore[no-untyped-call]


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention in which no position sees a later one."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.c_attn = _linear(config.n_embd, 3 * config.n_embd, config.bias)
        self.c_proj = _linear(config.n_embd, config.n_embd, config.bias)
        self.resid_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C)."""
        B, T, C = x.shape
        q, k, v = (
            part.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)  # (B, nh, T, hs)
            for part in self.c_attn(x).split(C, dim=2)  # three of (B, T, C)
        )
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)  # (B, nh, T, hs)
        y = y.transpose(1, 2).reshape(B, T, C)  # heads side by side again
        return cast(Tensor, self.resid_dropout(self.c_proj(y)))  # (B, T, C)


class MLP(nn.Module):
    """Two linear layers with a hidden width of 4 C and an exact GELU between."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = _linear(config.n_embd, 4 * config.n_embd, config.bias)
        self.gelu = nn.GELU()
        self.c_proj = _linear(4 * config.n_embd, config.n_embd, config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C)."""
        hidden = self.gelu(self.c_fc(x))  # (B, T, 4 C)
        return cast(Tensor, self.dropout(self.c_proj(hidden)))  # (B, T, C)


class Block(nn.Module):
    """A pre-norm transformer block: attention, then MLP, each added to the residual stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C)."""
        x = x + self.attn(self.ln_1(x))
        return cast(Tensor, x + self.mlp(self.ln_2(x)))


class GPT(nn.Module):
    """A GPT language model.

    Args:
        config: Its shape.
        generator: Draws every initial weight, on its own device; nothing comes from torch's global generator. None
            is a fresh CPU generator with seed 0.

    Attributes:
        config: The shape.
        wte: Token embedding (V, C).
        wpe: Position embedding (block_size, C).
        blocks: The blocks.
        ln_f: Final layer norm.
        lm_head: From channels to logits, no bias; shares `wte`'s weight with `tie_weights`.
    """

    def __init__(self, config: GPTConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.wte = _embedding(config.vocab_size, config.n_embd)
        self.wpe = _embedding(config.block_size, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.lm_head = _linear(config.n_embd, config.vocab_size, bias=False)
        if config.tie_weights:
            self.lm_head.weight = self.wte.weight
        self._initialize(torch.Generator().manual_seed(0) if generator is None else generator)

    @torch.no_grad()
    def _initialize(self, generator: torch.Generator) -> None:
        """Draw the weights, in the order of `named_parameters`.

        Layer norms keep torch's ones and zeros. The layers that write into the residual stream start smaller, by the
        square root of their number (GPT-2, section 2.3), so that its variance does not grow with depth.
        """
        residual_std = INIT_STD / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                if name.endswith(".bias"):
                    parameter.zero_()
                continue
            std = residual_std if name.endswith("c_proj.weight") else INIT_STD
            draw = torch.empty(parameter.shape, device=generator.device)
            parameter.copy_(draw.normal_(0.0, std, generator=generator))

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Predict the next token at every position.

        Args:
            idx: Tokens (B, T), int64, with T at most `block_size`.
            targets: The tokens that follow, (B, T), int64, or None.

        Returns:
            Logits (B, T, V), and the mean cross-entropy in nats as a 0-dim tensor, or None without targets.

        Raises:
            ModelError: If the sequence is longer than `block_size`.
        """
        T = idx.shape[1]
        if T > self.config.block_size:
            raise ModelError(
                "idx",
                f"sequences of {T} tokens are longer than block_size {self.config.block_size}",
                "Shorten them, or build the model with a larger block_size",
            )
        positions = torch.arange(T, device=idx.device)
        x = self.drop(self.wte(idx) + self.wpe(positions))  # (B, T, C)
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())
