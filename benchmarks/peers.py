"""Other ways to round float32 to E4M3 and back, each as its own documentation has it done.

Every peer gets what it can use: buffers where its interface takes them, `torch.compile` where it runs under it. A peer
that does not saturate as E4M3 does has its input clamped first, where that makes it exact. A peer that is not
installed, or does not run here, says so and is left out.
"""

import functools
import importlib.metadata
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

MAX = 448.0
"""The largest E4M3 value."""

Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Peer:
    """A way to round, from elsewhere.

    Attributes:
        name: For tables.
        distribution: What pip installs; its version stands in the results.
        make: Takes the input and returns what rounds it, again at every call, to a float32 tensor.
        compiled_here: Whether `torch.compile` is our idea; it is not in the peer's documentation.
        on_cuda: Whether it runs on a GPU.
    """

    name: str
    distribution: str
    make: Callable[[Tensor], Call]
    compiled_here: bool = False
    on_cuda: bool = True

    def version(self) -> str:
        """Return the installed version, or an empty string."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return ""

    def why_not(self, device: str) -> str:
        """Return why the peer cannot run here, or an empty string where it does."""
        if not self.version():
            return "not installed"
        if device == "cuda" and not self.on_cuda:
            return "CPU only"
        logging.disable(logging.WARNING)  # torchao has much to say where there is no GPU
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # Inductor uses several threads at any size only if the tensor that it first saw was worth it.
                self.make(torch.linspace(-500, 500, 1 << 20, device=device))()
        except Exception as error:  # whatever a foreign package raises, the other rows stand
            return f"does not run here: {type(error).__name__}"
        finally:
            logging.disable(logging.NOTSET)
        return ""


def _torch_cast(x: Tensor) -> Call:
    narrow, out = torch.empty_like(x, dtype=torch.float8_e4m3fn), torch.empty_like(x)
    return lambda: out.copy_(narrow.copy_(x))


def _torch_cast_compiled(x: Tensor) -> Call:
    return _compiled(x, _cast_round_trip)


def _cast_round_trip(x: Tensor) -> Tensor:
    return x.to(torch.float8_e4m3fn).to(torch.float32)


def _ml_dtypes(x: Tensor) -> Call:
    import ml_dtypes
    import numpy as np

    values = x.numpy()
    held, out = np.empty_like(values), np.empty_like(values)
    narrow = np.empty(values.shape, dtype=ml_dtypes.float8_e4m3fn)

    def call() -> Tensor:
        np.clip(values, -MAX, MAX, out=held)  # without it, overflow is NaN
        with np.errstate(invalid="ignore"):  # NaN is among the inputs
            narrow[...] = held
        out[...] = narrow
        return torch.from_numpy(out)

    return call


def _gfloat(x: Tensor) -> Call:
    return _compiled(x, _gfloat_function())


@functools.cache
def _gfloat_function() -> Callable[[Tensor], Tensor]:
    import gfloat
    from gfloat.formats import format_info_ocp_e4m3

    return functools.partial(gfloat.round_ndarray, format_info_ocp_e4m3, sat=True)


def _brevitas(x: Tensor) -> Call:
    quantizer = _brevitas_quantizer(x.device)
    return lambda: quantizer(x)


def _brevitas_compiled(x: Tensor) -> Call:
    return _compiled(x, _brevitas_quantizer(x.device))


@functools.cache
def _brevitas_quantizer(device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return brevitas' own float quantizer, set to OCP E4M3 with a scale of 1."""
    from brevitas.core.bit_width import BitWidthConst
    from brevitas.core.bit_width.float import ComputeMaxMantissa
    from brevitas.core.function_wrapper import FloatClamp, Identity, TensorClamp
    from brevitas.core.quant.float import FloatQuant
    from brevitas.core.utils import StatelessBuffer

    clamp = FloatClamp(TensorClamp(), signed=True, nan_values=("111",), max_available_float=torch.tensor(MAX))
    quantizer = FloatQuant(
        signed=True,
        exponent_bit_width_impl=BitWidthConst(4),
        mantissa_bit_width_impl=BitWidthConst(3),
        exponent_bias_impl=StatelessBuffer(torch.tensor(7.0)),
        float_clamp_impl=clamp,
        input_view_impl=Identity(),
        compute_max_mantissa=ComputeMaxMantissa(),
    )
    quantizer = quantizer.eval().to(device)
    return lambda x: quantizer(x)[0]


def _torchao(x: Tensor) -> Call:
    return _compiled(x, _torchao_round_trip)


def _torchao_round_trip(x: Tensor) -> Tensor:
    from torchao.prototype.custom_fp_utils import _f32_to_floatx_unpacked, _floatx_unpacked_to_f32

    # Its E4M3 has no NaN and ends at 480: the clamp makes it end at 448.
    found: Tensor = _floatx_unpacked_to_f32(_f32_to_floatx_unpacked(x.clamp(-MAX, MAX), 4, 3), 4, 3)
    return found


def _qtorch(x: Tensor) -> Call:
    from qtorch.quant import float_quantize

    return lambda: float_quantize(x, exp=4, man=3, rounding="nearest")


def _pychop(x: Tensor) -> Call:
    import pychop

    pychop.backend("torch")
    chop: Any = pychop.Chop(exp_bits=4, sig_bits=3)
    return lambda: chop(x)


def _compiled(x: Tensor, function: Callable[[Tensor], Tensor]) -> Call:
    """Return a call of a compiled function that writes into a buffer, in the same pass if the compiler can."""
    out, write = torch.empty_like(x), _writer(function)

    def call() -> Tensor:
        write(x, out)
        return out

    return call


@functools.cache
def _writer(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], None]:
    def write(x: Tensor, out: Tensor) -> None:
        out.copy_(function(x))

    # Dynamo keeps versions, and their limit, by code object: each peer has one of its own.
    code = write.__code__.replace(co_name=f"write_{len(_WRITERS)}")
    _WRITERS.append(torch.compile(FunctionType(code, globals(), code.co_name, closure=write.__closure__), dynamic=True))
    return _WRITERS[-1]


_WRITERS: list[Callable[[Tensor, Tensor], None]] = []

PEERS = (
    Peer("torch cast", "torch", _torch_cast),
    Peer("torch cast, compiled", "torch", _torch_cast_compiled, compiled_here=True),
    Peer("ml_dtypes", "ml_dtypes", _ml_dtypes, on_cuda=False),
    Peer("gfloat, compiled", "gfloat", _gfloat),
    Peer("brevitas", "brevitas", _brevitas),
    Peer("brevitas, compiled", "brevitas", _brevitas_compiled, compiled_here=True),
    Peer("torchao, compiled", "torchao", _torchao),
    Peer("qtorch", "qtorch", _qtorch),
    Peer("pychop", "pychop", _pychop),
)
"""The peers, in the order of tables."""
