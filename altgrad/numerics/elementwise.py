"""How rounding runs over whole tensors: traced within a compiled model, eagerly in tiles, or as a kernel of its own.

The tensors of a call are flat, or matrices where each row has a unit (scale) of its own. A matrix with as many rows as
columns would have the compiler tie the two: it runs eagerly.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from altgrad.numerics.compiling import SMALLEST, Kernel, tile_rows
from altgrad.numerics.format import FloatFormat
from altgrad.numerics.kernel import WORDS, Constants, Packed, numbers, round_nearest, round_stochastic, tensors
from altgrad.numerics.noise import thresholds
from altgrad.numerics.units import arithmetic_dtype


def rounded(x: Tensor, fmt: FloatFormat, unit: Tensor | None, key: Tensor | None, saturate: bool = True) -> Tensor:
    """Return `x` rounded, without tiles or buffers: the form that a compiler fuses into what is around it.

    Args:
        x: Tensor of any float dtype and shape.
        fmt: The format.
        unit: Its scale, which broadcasts to `x`, in the arithmetic's dtype for `x`; None for 1.
        key: For stochastic rounding; None rounds to nearest.
        saturate: Whether results beyond max are held there.
    """
    return _round(x, unit, key, 0, numbers(fmt, _working_dtype(x, fmt), saturate), fmt.is_reference)


def round_into(
    out: Tensor, x: Tensor, fmt: FloatFormat, unit: Tensor | None, key: Tensor | None, saturate: bool, compiled: bool
) -> None:
    """Round `x` into `out`.

    Args:
        out: Tensor of `x`'s shape and dtype; may share memory with `x`.
        x: As in `rounded`.
        fmt: As in `rounded`.
        unit: As in `rounded`.
        key: As in `rounded`.
        saturate: As in `rounded`.
        compiled: Use one compiled kernel in place of eager tiles.
    """
    source, target, unit = _flat(x, out, unit)
    dtype = _working_dtype(x, fmt)
    if compiled and _compiles(source):
        c = tensors(fmt, dtype, x.device, saturate)
        name = "quantize" if saturate else "quantize_unsaturated"
        _family(name, fmt.is_reference).compiled(target, source, unit, key, c)
    else:
        _round_in_tiles(target, source, unit, key, numbers(fmt, dtype, saturate), fmt.is_reference)
    if target.data_ptr() != out.data_ptr():
        out.copy_(target.view(out.shape))


def round_and_count(
    out: Tensor,
    x: Tensor,
    previous: Tensor | None,
    fmt: FloatFormat,
    unit: Tensor | None,
    key: Tensor | None,
    compiled: bool,
) -> Tensor:
    """Round `x` into `out` with saturation; return counts of flips, overflow and underflow.

    Args:
        out: As in `round_into`.
        x: As in `rounded`.
        previous: An earlier result, of `x`'s shape and dtype, in memory of its own; None counts no flips.
        fmt: As in `rounded`.
        unit: As in `rounded`.
        key: As in `rounded`.
        compiled: As in `round_into`.

    Returns:
        int64 tensor of shape (3,).
    """
    source, target, unit = _flat(x, out, unit)
    before = previous if previous is None else previous.reshape(source.shape).contiguous()
    dtype = _working_dtype(x, fmt)
    if compiled and _compiles(source):
        c = tensors(fmt, dtype, x.device)
        counts: Tensor = _family("quantize_and_count", fmt.is_reference).compiled(target, source, unit, key, c, before)
    else:
        counts = torch.zeros(3, dtype=torch.int64, device=x.device)
        _round_in_tiles(target, source, unit, key, numbers(fmt, dtype), fmt.is_reference, counts, before)
    if target.data_ptr() != out.data_ptr():
        out.copy_(target.view(out.shape))
    return counts


def _working_dtype(x: Tensor, fmt: FloatFormat) -> torch.dtype:
    """Return the dtype that rounds: float64 for the references, whose constants leave float32's range."""
    return torch.float64 if fmt.is_reference else arithmetic_dtype(x.dtype)


def _flat(x: Tensor, out: Tensor, unit: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return `x`, a target and the unit as contiguous vectors, or as a matrix with one unit a row."""
    shape: tuple[int, ...] = (-1,)
    if unit is not None and unit.ndim:
        rows = unit.shape[0]
        if unit.ndim == x.ndim and rows == x.shape[0] and unit.numel() == rows < x.numel():
            shape, unit = (rows, -1), unit.reshape(rows, 1).contiguous()
        else:
            unit = unit.expand(x.shape).reshape(-1).contiguous()
    overlaps = x.untyped_storage().data_ptr() == out.untyped_storage().data_ptr()
    # A flat tensor stays itself: kernels would have to make a plain tensor of a view of it.
    source = (x if x.ndim == len(shape) == 1 else x.reshape(shape)).contiguous()
    if overlaps and source.data_ptr() == x.data_ptr():
        source = source.clone()  # signs are read after values are written
    target = out if out.is_contiguous() else torch.empty_like(out, memory_format=torch.contiguous_format)
    return source, target if target.shape == source.shape else target.view(shape), unit


def _compiles(source: Tensor) -> bool:
    """Return whether a shape shares the one compiled version of a kernel."""
    return min(source.shape) >= SMALLEST and (source.ndim == 1 or source.shape[0] != source.shape[1])


def _units(x: Tensor, unit: Tensor | None, reference: bool, out: Tensor | None = None) -> Tensor:
    """Return `x` in units of the format, in the arithmetic's dtype; `x` itself where there is nothing to do."""
    y = x.to(arithmetic_dtype(x.dtype))
    if unit is not None:
        # A true division: exact for a power of two, and IEEE division for any other scale.
        y = torch.div(y, unit, out=out)
    # References round as torch's cast does, by way of float32. The cast itself will not do: Inductor removes a cast to
    # a narrow dtype and back.
    return y.to(torch.float32).to(torch.float64) if reference else y


def _round(
    x: Tensor, unit: Tensor | None, key: Tensor | None, start: int | Tensor, c: Constants, reference: bool
) -> Tensor:
    """Return `x` rounded, in its own dtype."""
    y = _units(x, unit, reference)
    if key is None:
        result = round_nearest(y, y, c)
    else:
        result = round_stochastic(y, y, thresholds(y.shape, key, y.dtype, start), c)
    return (result if unit is None else result * unit).to(x.dtype)


def _round_in_tiles(
    out: Tensor,
    x: Tensor,
    unit: Tensor | None,
    key: Tensor | None,
    c: Constants,
    reference: bool,
    counts: Tensor | None = None,
    before: Tensor | None = None,
) -> None:
    """Round eagerly, a tile after the other so that passes stay within caches, and count where there are counts."""
    width = x.shape[1] if x.ndim == 2 else 1
    step = tile_rows(width, x.device)
    working = torch.float64 if reference else arithmetic_dtype(x.dtype)
    shape = (min(step, x.shape[0]), *x.shape[1:])
    scratch = torch.empty(shape, dtype=WORDS[working].integer, device=x.device)
    # Counts share one buffer: each fresh one would cost more, in pages that the system clears, than the counting.
    flags = torch.empty(shape if counts is not None else 0, dtype=working, device=x.device)
    for first in range(0, x.shape[0], step):
        part = slice(first, first + step)
        tile, target = x[part], out[part]
        tile_unit = unit[part] if unit is not None and unit.ndim else unit
        # The result takes shape where it will stand, if that has the arithmetic's dtype.
        place = target if target.dtype == working else None
        y = _units(tile, tile_unit, reference, None if reference else place)
        if counts is not None:
            own = flags[: tile.shape[0]]
            counts[1] += _count(torch.gt, torch.abs(y, out=own), y.new_full((), float(c.highest)), own)
        if key is None:
            result = round_nearest(y, tile, c, place, scratch[: tile.shape[0]])
        else:
            noise = thresholds(tile.shape, key, working, first * width)
            result = round_stochastic(y, tile, noise, c, place)
        if tile_unit is not None:
            result.mul_(tile_unit)
        if result is not target:
            target.copy_(result)
        if counts is not None:
            zero = target.new_zeros(())
            if before is not None:
                counts[0] += _count(torch.ne, target, before[part], own)
            counts[2] += _count(torch.ne, tile, zero, own) - _count(torch.ne, target, zero, own)


_SUMS = (torch.float32, torch.float64)


def _count(comparison: Callable[..., Tensor], a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """Return the number of elements of a tile for which a comparison holds, as an int64; `out` is overwritten."""
    # Written as float it is vectorized, which a comparison written as bool is not. Up to 2^24 ones a float32 sum is
    # exact.
    return comparison(a, b, out=out).sum(dtype=_SUMS[a.numel() > 1 << 24]).to(torch.int64)


class _Family:
    """The kernels of one function: by rounding, kind of unit and dtype, each with one compiled version.

    Args:
        function: Takes out, x, unit, key, constants, perhaps more, and `reference`.
        name: For `compiled_variants`.
        reference: Whether the format is a 16-bit reference.
    """

    def __init__(self, function: Callable[..., Any], name: str, reference: bool) -> None:
        self._function, self._name, self._reference = function, name, reference
        self._kernels: dict[tuple[object, ...], Kernel] = {}

    def compiled(
        self, out: Tensor, x: Tensor, unit: Tensor | None, key: Tensor | None, c: Packed, *more: Tensor | None
    ) -> Any:
        """Call the kernel that fits."""
        kind = "" if unit is None else "_scaled" if not unit.ndim else "_rows" if unit.ndim == 2 else "_each"
        given = tuple(extra is not None for extra in more)
        parts = (key is not None, kind, x.dtype, x.device.type, given)
        if parts not in self._kernels:
            rounding = "" if key is None else "_stochastic"
            dtype = str(x.dtype).removeprefix("torch.")
            reference = "_reference" if self._reference else ""
            flips = "_flips" if any(given) else ""
            name = f"{self._name}{flips}{rounding}{kind}{reference}_{dtype}"
            self._kernels[parts] = Kernel(self._function, name, reference=self._reference)
        return self._kernels[parts].compiled(out, x, unit, key, c, *more)


@functools.cache
def _family(name: str, reference: bool) -> _Family:
    function = _write_and_count if name == "quantize_and_count" else _write_rounded
    return _Family(function, name, reference)


def _write_rounded(
    out: Tensor, x: Tensor, unit: Tensor | None, key: Tensor | None, c: Packed, *, reference: bool
) -> None:
    out.copy_(_round(x, unit, key, 0, c.unpack(), reference))


def _write_and_count(
    out: Tensor,
    x: Tensor,
    unit: Tensor | None,
    key: Tensor | None,
    c: Packed,
    before: Tensor | None,
    *,
    reference: bool,
) -> Tensor:
    result = _round(x, unit, key, 0, c.unpack(), reference)
    overflow = (_units(x, unit, reference).abs() > c.unpack().highest).sum(dtype=torch.int32)
    underflow = ((result == 0) & (x != 0)).sum(dtype=torch.int32)
    flips = torch.zeros_like(overflow) if before is None else (result != before).sum(dtype=torch.int32)
    out.copy_(result)
    return torch.stack([flips, overflow, underflow]).to(torch.int64)
