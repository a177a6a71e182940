"""What a model costs: parameters, multiply-accumulates, bytes and milliseconds."""

from __future__ import annotations

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

BATCH = 64
LEAST = 3  # forward passes of an image that counting and timing take at least, where there is no time for a batch


class Measurable(Protocol):
    """A model: its network, and the size of the images that this takes."""

    @property
    def module(self) -> nn.Module:
        """The network."""
        ...

    @property
    def preprocessing(self) -> Any:
        """Has `resolution` and `channels`."""
        ...


@dataclass(frozen=True)
class Cost:
    """Costs of one forward pass of one image, which is all of a prediction with one view.

    `latency_ms` is that of an image alone, `latency_batch_ms` of one of a batch of 64 (medians, milliseconds); the
    latter is None where the time did not suffice for such a batch.
    """

    params: int
    macs: int
    file_bytes: int
    latency_ms: float
    latency_batch_ms: float | None

    def of_prediction(self, passes: float) -> dict[str, float | None]:
        """Costs of a prediction that takes so many forward passes on average: a prediction is these, and little else.

        Keys are `passes`, `macs`, `latency_ms` and `latency_batch_ms`.
        """
        batch = None if self.latency_batch_ms is None else passes * self.latency_batch_ms
        return {
            "passes": passes,
            "macs": round(passes * self.macs),
            "latency_ms": passes * self.latency_ms,
            "latency_batch_ms": batch,
        }


def cost(
    model: Measurable, *, device: str | torch.device = "cpu", seconds: float = 1.0, limit: float | None = None
) -> Cost:
    """Count and time a model at its own resolution on a device, in about `seconds` of timing altogether.

    Bytes are those of the safetensors file. The network is moved to the device and left there. Where all has to be done
    in `limit` seconds, the time of a batch is left out when it would not fit.
    """
    ends = None if limit is None else time.monotonic() + limit
    module, device = model.module.to(device), torch.device(device)
    params, macs, size = sum(weight.numel() for weight in module.parameters()), count_macs(model), _file_bytes(module)
    with eval_mode(module), torch.inference_mode():
        image = _images(model, 1, device)
        alone, together = _median_seconds(lambda: module(image), device, seconds / 2), None
        if ends is None or time.monotonic() + 2 * BATCH * alone <= ends:
            images = _images(model, BATCH, device)
            together = _median_seconds(lambda: module(images), device, seconds / 2) / BATCH * 1000
    return Cost(params, macs, size, alone * 1000, together)


def count_macs(model: Measurable) -> int:
    """Multiply-accumulates of one image at the model's own resolution, the same number on every device.

    Counted are convolutions, matrix products, linear and recurrent layers, and attention.
    """
    image = _images(model, 1, next(model.module.parameters()).device)
    with eval_mode(model.module), counting() as counter:
        model.module(image)
    return counter.macs


@contextmanager
def counting() -> Iterator[_Counter]:
    """Count the multiply-accumulates of what runs inside the block, without gradients: `macs` of what it yields."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one kernel for a whole layer would hide its products
    try:
        # Below autograd the counter meets operations before a device chooses a kernel, and kernels pad and fuse.
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd(), _Counter() as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Counter(TorchDispatchMode):
    """Counts operations by their shapes; torch's own counter would load its compiler, which takes seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the compiler is loaded to be told to leave this alone

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch.utils.flop_counter import flop_registry

        kwargs = kwargs or {}
        own, formula = _MACS.get(func._schema.name), flop_registry.get(func._overloadpacket)
        if own is None and formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        found = func(*args, **kwargs)
        if own is not None:
            self.macs += own(func, *args)
        elif formula is not None:
            self.macs += formula(*args, **kwargs, out_val=found) // 2
        return found


def _attention(func: Any, query: Tensor, key: Tensor, value: Tensor, *more: Any) -> int:
    """Products of queries (..., L, D) with keys (..., S, D), and of their weights with values (..., S, V)."""
    return query.numel() // query.shape[-1] * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _recurrent(func: Any, inputs: Tensor, *more: Any) -> int:
    """Every weight once at each step of inputs (..., features), in all layers and directions."""
    weights = more[2 if func._overloadname == "data" else 1]
    return inputs.numel() // inputs.shape[-1] * sum(weight.numel() for weight in weights if weight.ndim > 1)


# Operations that torch has no formula for, or several that depend on the device.
_MACS: dict[str, Callable[..., int]] = {
    "aten::scaled_dot_product_attention": _attention,
    **dict.fromkeys(("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"), _recurrent),
    "aten::mv": lambda func, matrix, vector: matrix.numel(),
    "aten::addmv": lambda func, shift, matrix, vector: matrix.numel(),
    "aten::dot": lambda func, one, other: one.numel(),
}


def _images(model: Measurable, count: int, device: torch.device) -> Tensor:
    size = model.preprocessing
    images = torch.zeros(count, size.channels, size.resolution, size.resolution, device=device)
    return images.contiguous(memory_format=torch.channels_last)


def _file_bytes(module: nn.Module) -> int:
    from safetensors.torch import save

    return len(save({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}))


def _median_seconds(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The median time of one call, over as many as fit in `seconds` with a first one that is not counted."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    work()
    synchronize(device)
    while not times or time.perf_counter() + times[-1] < end:
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
