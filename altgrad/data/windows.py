"""Where windows of a token stream begin: which there are, and which a model is evaluated on."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from altgrad.errors import CorpusError

Tokens: TypeAlias = npt.NDArray[np.unsignedinteger]


def positions(tokens: Tokens, block_size: int) -> int:
    """Return how many starts a window and its last target fit behind.

    Args:
        tokens: The stream, shape (tokens,).
        block_size: Tokens a window.

    Raises:
        CorpusError: The stream is too short for one window and its target.
    """
    found = len(tokens) - block_size
    if found < 1:
        raise CorpusError(
            str(getattr(tokens, "filename", None) or "tokens"),
            f"its {len(tokens)} tokens are too few for block_size {block_size} and one target",
            f"Give at least {block_size + 1} tokens (more documents), or lower block_size",
        )
    return found


def eval_windows(tokens: Tokens, block_size: int, n: int) -> Tokens:
    """Return `n` windows with their last target, spread evenly from one end of the stream to the other.

    They are the same in every run. Where the stream is shorter than `n` windows, they overlap.

    Args:
        tokens: The stream, shape (tokens,), for example `Corpus.val`.
        block_size: Tokens a window, T.
        n: Number of windows.

    Returns:
        Token ids, shape (n, T + 1).

    Raises:
        CorpusError: The stream is too short for one window and its target.
    """
    last = positions(tokens, block_size) - 1
    return take(tokens, np.arange(n) * last // max(1, n - 1), block_size)


def take(tokens: Tokens, starts: npt.NDArray[np.int64], block_size: int) -> Tokens:
    """Return the windows at `starts` with their last targets, shape (starts, block_size + 1)."""
    windows: Tokens = tokens[starts[:, None] + np.arange(block_size + 1)]
    return windows
