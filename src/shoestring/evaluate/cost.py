"""What a model costs: parameters, multiply-accumulates, bytes and milliseconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from shoestring.running import evaluating, wait

BATCH = 64
LEAST = 2 * (BATCH + 1)  # images that are predicted at least, however short the timing


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
    """Costs of one image: `latency_ms` alone, `latency_batch_ms` as one of a batch of 64 (medians, milliseconds)."""

    params: int
    macs: int
    file_bytes: int
    latency_ms: float
    latency_batch_ms: float


def cost(model: Measurable, *, device: str | torch.device = "cpu", seconds: float = 1.0) -> Cost:
    """Count and time a model at its own resolution on a device, in about `seconds` of timing altogether.

    Bytes are those of the safetensors file. The network is moved to the device and left there.
    """
    module, images = model.module.to(device), _images(model, BATCH, torch.device(device))
    with evaluating(module), torch.inference_mode():
        alone = _median_seconds(lambda: module(images[:1]), images.device, seconds / 2)
        together = _median_seconds(lambda: module(images), images.device, seconds / 2) / BATCH
    params = sum(parameter.numel() for parameter in module.parameters())
    return Cost(params, count_macs(model), _file_bytes(module), alone * 1000, together * 1000)


def count_macs(model: Measurable) -> int:
    """Multiply-accumulates of one image at the model's own resolution: half of the FLOPs that torch counts."""
    image = _images(model, 1, next(model.module.parameters()).device)
    with evaluating(model.module), torch.no_grad(), _Counter() as counter:
        model.module(image)
    return counter.flops // 2


class _Counter(TorchDispatchMode):
    """Counts operations by torch's formulas; torch's own counter would load its compiler, which takes seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the compiler is loaded to be told to leave this alone

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch.utils.flop_counter import flop_registry

        formula, kwargs = flop_registry.get(func._overloadpacket), kwargs or {}
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        found = func(*args, **kwargs)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=found)
        return found


def _images(model: Measurable, count: int, device: torch.device) -> torch.Tensor:
    size = model.preprocessing
    images = torch.zeros(count, size.channels, size.resolution, size.resolution, device=device)
    return images.contiguous(memory_format=torch.channels_last)


def _file_bytes(module: nn.Module) -> int:
    from safetensors.torch import save

    return len(save({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}))


def _median_seconds(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The median time of one call, over as many as fit in `seconds` after a first one that is not counted."""
    work()
    wait(device)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
