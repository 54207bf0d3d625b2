"""Random thresholds for stochastic rounding: a hash of a key and the element's index.

One call draws one key of 64 bits from the generator. Every element then hashes the key with its index, in integers,
so that the same key gives the same bits in eager and in compiled code, on every device, whatever the memory layout.
The hash is a 32-bit xor-shift-multiply mixer of the lowbias32 kind, with shifts and multipliers found by
automated search for low avalanche bias (https://github.com/skeeto/hash-prospector); the key's second half enters
between its rounds, so that two keys never give permutations of one another's draws.
"""

import math

import torch
from torch import Tensor

# Multipliers of the mixer; both fit a positive int32.
_FIRST, _SECOND = 0x21F0_AAAD, 0x735A_2D97


def draw_key(generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw one key: two int32 words, on `device`.

    Args:
        generator: Its own device does the drawing; a CPU generator gives the same key for every `device`.
        device: Where the key is needed.

    Returns:
        int32 tensor of shape (2,).
    """
    low, high = torch.iinfo(torch.int32).min, torch.iinfo(torch.int32).max
    key = torch.randint(low, high + 1, (2,), dtype=torch.int64, generator=generator, device=generator.device)
    return key.to(device=device, dtype=torch.int32, non_blocking=True)


def hash_indices(shape: torch.Size, key: Tensor, start: int | Tensor = 0) -> Tensor:
    """Hash each element's index with a key.

    Args:
        shape: Shape of the result; an element's index is `start` and its place in row-major order, below 2^31.
        key: int32 tensor of shape (2,), from `draw_key`.
        start: Index of the first element, for parts of a larger whole; compiled code takes it as an int32 tensor.

    Returns:
        int32 tensor of that shape, uniform over all 32 bits.
    """
    count = math.prod(shape)
    if isinstance(start, Tensor):
        index = torch.arange(count, dtype=torch.int32, device=key.device).add_(start)
    else:
        index = torch.arange(start, start + count, dtype=torch.int32, device=key.device)
    # int32 products wrap modulo 2^32; `>>` copies the sign, so the mask makes the shift a logical one.
    h = index.bitwise_xor_(key[0])
    h.bitwise_xor_((h >> 16).bitwise_and_(0xFFFF)).mul_(_FIRST)
    h.bitwise_xor_((h >> 15).bitwise_and_(0x1FFFF)).add_(key[1]).mul_(_SECOND)
    h.bitwise_xor_((h >> 15).bitwise_and_(0x1FFFF))
    return h.view(shape)


def thresholds(shape: torch.Size, key: Tensor, dtype: torch.dtype, start: int | Tensor = 0) -> Tensor:
    """Return a uniform threshold for each element, on the lattice of odd multiples of 2^-17.

    The lattice is centered in (0, 1): it holds neither 0, so that a value on the grid never moves, nor 1.

    Args:
        shape: Shape of the result.
        key: int32 tensor of shape (2,), from `draw_key`.
        dtype: Float dtype of the result.
        start: As in `hash_indices`.

    Returns:
        Tensor of that shape with values ``(2 r + 1) * 2^-17``, ``r`` uniform in 0 .. 65535.
    """
    r = (hash_indices(shape, key, start) >> 16).bitwise_and_(0xFFFF)
    return r.to(dtype).mul_(2.0**-16).add_(2.0**-17)
