"""Batches of token windows: random ones to train on, fixed ones to evaluate on."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from altgrad.errors import CorpusError

Tokens: TypeAlias = npt.NDArray[np.unsignedinteger]
Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""Inputs and targets, int64, shape (B, T) each; the targets are the inputs shifted by one token."""


class BatchSampler:
    """Random windows of a token stream, every position as likely.

    The stream of batches is a function of the seed alone, whatever else draws random numbers, and goes on exactly where
    `state_dict` left it.

    Args:
        tokens: The stream, shape (tokens,), for example `Corpus.train`.
        batch_size: Windows a batch, B.
        block_size: Tokens a window, T.
        seed: Of the positions.

    Attributes:
        count: Batches drawn so far.

    Raises:
        CorpusError: The stream is too short for one window and its target.
    """

    def __init__(self, tokens: Tokens, batch_size: int, block_size: int, seed: int) -> None:
        self._positions = _positions(tokens, block_size)
        self._tokens = tokens
        self._batch_size = batch_size
        self._block_size = block_size
        self._generator = torch.Generator().manual_seed(seed)
        self.count = 0

    def next(self) -> Batch:
        """Return the next batch: inputs and targets, int64, (B, T)."""
        starts = torch.randint(self._positions, (self._batch_size,), generator=self._generator)
        self.count += 1
        return _gather(self._tokens, starts.numpy(), self._block_size)

    def state_dict(self) -> dict[str, torch.Tensor | int]:
        """Return what it takes to go on from here."""
        return {"generator": self._generator.get_state(), "count": self.count}

    def load_state_dict(self, state: dict[str, torch.Tensor | int]) -> None:
        """Go on from a saved state."""
        generator, count = state["generator"], state["count"]
        assert isinstance(generator, torch.Tensor) and isinstance(count, int)
        self._generator.set_state(generator)
        self.count = count


def eval_batches(tokens: Tokens, batch_size: int, block_size: int, n: int) -> list[Batch]:
    """Return `n` batches that are the same in every run: windows spread evenly from one end of the stream to the other.

    Where the stream is shorter than `n * batch_size` windows, they overlap.

    Args:
        tokens: The stream, shape (tokens,), for example `Corpus.val`.
        batch_size: Windows a batch, B.
        block_size: Tokens a window, T.
        n: Number of batches.

    Raises:
        CorpusError: The stream is too short for one window and its target.
    """
    last = _positions(tokens, block_size) - 1
    windows = n * batch_size
    starts = np.arange(windows) * last // max(1, windows - 1)
    return [_gather(tokens, part, block_size) for part in starts.reshape(n, batch_size)]


def _positions(tokens: Tokens, block_size: int) -> int:
    """Return how many starts a window and its last target fit behind."""
    positions = len(tokens) - block_size
    if positions < 1:
        raise CorpusError(
            str(getattr(tokens, "filename", None) or "tokens"),
            f"its {len(tokens)} tokens are too few for block_size {block_size} and one target",
            f"Give at least {block_size + 1} tokens (more documents), or lower block_size",
        )
    return positions


def _gather(tokens: Tokens, starts: npt.NDArray[np.int64], block_size: int) -> Batch:
    """Return the windows at `starts` as inputs and targets."""
    windows = tokens[starts[:, None] + np.arange(block_size + 1)]  # (B, T + 1)
    batch = torch.from_numpy(windows.astype(np.int64))
    return batch[:, :-1].contiguous(), batch[:, 1:].contiguous()
