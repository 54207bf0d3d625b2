"""Permutations that are drawn once for a parameter, and drawn again alike wherever they are needed."""

import numpy as np
import torch
from torch import Tensor

from altgrad.numerics.noise import hash_indices


def permutation(count: int, seed: int, index: int, device: torch.device) -> Tensor:
    """Return 0 .. count - 1 in the order of their hashes, as signed words, under a key that seed and index give.

    A key's hash takes every 32-bit word to another one (each of its rounds can be undone), so that no two hashes are
    equal and their order is the same on every device. No generator is drawn from.

    Args:
        count: How many elements, below 2^31.
        seed: At least 0.
        index: Of the parameter in its optimizer: each has a permutation of its own.
        device: Where it is needed.

    Returns:
        int32 tensor (count,), each of 0 .. count - 1 once.
    """
    words = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(2)
    key = torch.from_numpy(words.view(np.int32)).to(device)
    return hash_indices(torch.Size((count,)), key).argsort().to(torch.int32)
