"""Costs of a model: parameters, multiply-accumulates (MACs), file size and latency."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from shoestring.runtime.device import eval_mode, synchronize
from shoestring.runtime.threads import single_thread
from shoestring.runtime.timing import thread_clock

BATCH_SIZE = 64
MIN_PASSES = 3  # forward passes of one image that measuring takes at least, on one thread


class Measurable(Protocol):
    """A network, and the size of its input images."""

    @property
    def module(self) -> nn.Module:
        """Network."""
        ...

    @property
    def preprocessing(self) -> Any:
        """An object with `resolution` and `channels`."""
        ...


@dataclass(frozen=True)
class Cost:
    """Costs of one forward pass of one image, which is a prediction without test-time augmentation.

    Latencies are medians in milliseconds: `latency_ms` is that of a single image on one thread of the CPU, without the
    time that other processes take, or on the accelerator; `latency_threads_ms` that on all threads, which wait for each
    other on a busy machine, and of which there are `latency_threads` (None on an accelerator); `latency_batch_ms` that
    per image of a batch of 64 on all threads. The last two times are None if there was no time to measure them, or no
    other thread.
    """

    params: int
    macs: int
    file_bytes: int
    latency_ms: float
    latency_threads_ms: float | None
    latency_batch_ms: float | None
    latency_threads: int | None

    def of_prediction(self, passes: float) -> dict[str, float | None]:
        """Return the costs of a prediction that takes so many forward passes on average; other work is negligible.

        Keys are `passes`, `macs`, and those of the latencies.
        """
        latencies = {name: getattr(self, name) for name in ("latency_ms", "latency_threads_ms", "latency_batch_ms")}
        return {
            "passes": passes,
            "macs": round(passes * self.macs),
            **{name: None if value is None else passes * value for name, value in latencies.items()},
            "latency_threads": self.latency_threads,
        }


def measure_cost(
    model: Measurable, *, device: str | torch.device = "cpu", seconds: float = 1.0, limit: float | None = None
) -> Cost:
    """Measure a model at its own resolution on a device, with about `seconds` of timing in total.

    File size is that of the safetensors file. The network is moved to the device and stays there. With a `limit` in
    seconds for everything, latencies on all threads and of a batch are not measured if there is no time for them.
    """
    deadline = math.inf if limit is None else time.monotonic() + limit
    module, device = model.module.to(device), torch.device(device)
    params, macs, size = count_params(module), count_macs(model), file_bytes(module)
    count = torch.get_num_threads() if device.type == "cpu" else None
    threaded = batched = None
    with eval_mode(module), torch.inference_mode():
        image = blank_images(model, 1, device)
        with single_thread(count):
            single, own = _median_seconds(lambda: module(image), device, seconds / 3)
        if count not in (None, 1) and time.monotonic() + 2 * single <= deadline:
            threaded = 1000 * _median_seconds(lambda: module(image), device, seconds / 3)[0]
        if time.monotonic() + 2 * BATCH_SIZE * single <= deadline:
            images = blank_images(model, BATCH_SIZE, device)
            batched = 1000 * _median_seconds(lambda: module(images), device, seconds / 3)[0] / BATCH_SIZE
    latency = single if count is None else own
    return Cost(params, macs, size, 1000 * latency, threaded, batched, count)


def count_params(module: nn.Module) -> int:
    """Count the parameters of a module."""
    return sum(weight.numel() for weight in module.parameters())


def count_macs(model: Measurable) -> int:
    """Count the multiply-accumulates of one image at the model's own resolution; the same number on every device.

    Convolutions, matrix products, linear and recurrent layers, and attention are counted.
    """
    image = blank_images(model, 1, next(model.module.parameters()).device)
    with eval_mode(model.module), mac_counter() as counter:
        model.module(image)
    return counter.macs


@contextmanager
def mac_counter() -> Iterator[_Counter]:
    """Count the multiply-accumulates of a block, without gradients, in the attribute `macs` of the yielded counter."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one kernel for a whole layer would hide its products
    try:
        # Below autograd, the counter sees operations before a device selects kernels, which pad and fuse them.
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd(), _Counter() as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Counter(TorchDispatchMode):
    """Counts operations by their shapes.

    The formulas of `torch.utils.flop_counter` would do, but importing them, or decomposing a linear layer, imports
    Triton and SymPy, which takes a second of every run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch imports the compiler to disable it for this mode

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        macs = _MACS.get(func._schema.name)
        if macs is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        result = func(*args, **kwargs)
        self.macs += macs(func, result, *args)
        return result


def _product(func: Any, result: Tensor, left: Tensor, *more: Any) -> int:
    """A matrix product contracts the last axis of its left factor."""
    return result.numel() * left.shape[-1]


def _shifted_product(func: Any, result: Tensor, shift: Tensor, left: Tensor, *more: Any) -> int:
    return _product(func, result, left)


def _convolution(func: Any, result: Tensor, inputs: Tensor, weight: Tensor, *more: Any) -> int:
    """Each output of a convolution reads one filter; each input of a transposed one is multiplied by one."""
    transposed = "transpose" in func._schema.name or (func._schema.name == "aten::convolution" and more[4])
    return (inputs if transposed else result).numel() * (weight.numel() // weight.shape[0])


def _attention(func: Any, result: Tensor, query: Tensor, key: Tensor, value: Tensor, *more: Any) -> int:
    """Products of queries (..., L, D) and keys (..., S, D), and of attention weights and values (..., S, V)."""
    return query.numel() // query.shape[-1] * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _recurrent(func: Any, result: Any, inputs: Tensor, *more: Any) -> int:
    """One multiplication by every weight at each step of inputs (..., features), in all layers and directions."""
    weights = more[2 if func._overloadname == "data" else 1]
    return inputs.numel() // inputs.shape[-1] * sum(weight.numel() for weight in weights if weight.ndim > 1)


_PRODUCTS = ("linear", "matmul", "mm", "bmm", "mv", "dot")
_SHIFTED_PRODUCTS = ("addmm", "baddbmm", "addmv")
_CONVOLUTIONS = ("convolution", *(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)))
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")

_MACS: dict[str, Callable[..., int]] = {
    **{f"aten::{name}": _product for name in _PRODUCTS},
    **{f"aten::{name}": _shifted_product for name in _SHIFTED_PRODUCTS},
    **{f"aten::{name}": _convolution for name in _CONVOLUTIONS},
    **{f"aten::{name}": _recurrent for name in _RECURRENT},
    "aten::scaled_dot_product_attention": _attention,
}


def blank_images(model: Measurable, count: int, device: torch.device) -> Tensor:
    """Return so many preprocessed images (count, C, R, R) of the network's size, for measurements."""
    size = model.preprocessing
    images = torch.zeros(count, size.channels, size.resolution, size.resolution, device=device)
    return images.contiguous(memory_format=torch.channels_last)


def file_bytes(module: nn.Module) -> int:
    """Return the size of the module's safetensors file."""
    from safetensors.torch import save

    return len(save({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}))


def _median_seconds(function: Callable[[], object], device: torch.device, seconds: float) -> tuple[float, float]:
    """Return the median time of a call, and that without the time of other processes, which is that of this thread.

    There are as many calls as fit into `seconds`, which include a warm-up call.
    """
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    function()
    synchronize(device)
    while not times or time.perf_counter() + times[-1][0] < end:
        start, thread_start = time.perf_counter(), thread_clock()
        function()
        synchronize(device)
        times.append((time.perf_counter() - start, thread_clock() - thread_start))
    whole, own = map(statistics.median, zip(*times))
    return whole, own
