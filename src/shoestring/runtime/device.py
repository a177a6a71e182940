"""Running a network on a device: evaluation mode, synchronization, memory errors, and faulty kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import nn

# PyTorch's messages on CPUs (they depend on the system), and on accelerators without an exception of their own
_MEMORY_MESSAGES = ("not enough memory", "can't allocate memory", "out of memory")
_MIN_CHANNELS = 8


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards the mode of every submodule is restored."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def synchronize(device: torch.device | str) -> None:
    """Wait until the device has finished all queued work; accelerators run asynchronously."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(torch.device(device))


def out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory ran out; if so, empty the accelerator's cache."""
    if isinstance(error, torch.OutOfMemoryError):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True
    return any(words in str(error) for words in _MEMORY_MESSAGES)


@contextmanager
def safe_convolutions(module: nn.Module, device: torch.device | str) -> Iterator[None]:
    """Disable oneDNN inside the block where its kernels would corrupt memory while training this network.

    On CPUs without AVX-512, weight gradients of strided 1 x 1 convolutions with fewer than eight input channels in
    channels-last format write out of bounds (seen with PyTorch 2.14.1). PyTorch's own kernels are slower.
    """
    if torch.device(device).type != "cpu" or not _lacks_avx512() or not any(map(_is_affected, module.modules())):
        yield
        return
    torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True


def _is_affected(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.weight.shape[1] < _MIN_CHANNELS
    )


@lru_cache(maxsize=1)
def _lacks_avx512() -> bool:
    return "AVX512" not in torch.backends.cpu.get_cpu_capability()
