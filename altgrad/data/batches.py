"""Batches of token windows: random ones to train on, fixed ones to evaluate on."""

from typing import TypeAlias

import numpy as np
import torch

from altgrad.data.windows import Tokens, eval_windows, positions, take

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
        self._positions = positions(tokens, block_size)
        self._tokens = tokens
        self._batch_size = batch_size
        self._block_size = block_size
        self._generator = torch.Generator().manual_seed(seed)
        self.count = 0

    def next(self) -> Batch:
        """Return the next batch: inputs and targets, int64, (B, T)."""
        starts = torch.randint(self._positions, (self._batch_size,), generator=self._generator)
        self.count += 1
        return _batch(take(self._tokens, starts.numpy(), self._block_size))

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
    """Return `n` batches of the windows that every run is evaluated on; see `eval_windows`.

    Args:
        tokens: The stream, shape (tokens,), for example `Corpus.val`.
        batch_size: Windows a batch, B.
        block_size: Tokens a window, T.
        n: Number of batches.

    Raises:
        CorpusError: The stream is too short for one window and its target.
    """
    windows = eval_windows(tokens, block_size, n * batch_size)
    return [_batch(part) for part in windows.reshape(n, batch_size, block_size + 1)]


def _batch(windows: Tokens) -> Batch:
    """Return windows, shape (B, T + 1), as inputs and targets."""
    batch = torch.from_numpy(windows.astype(np.int64))
    return batch[:, :-1].contiguous(), batch[:, 1:].contiguous()
