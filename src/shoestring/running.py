"""Running a network: in evaluation mode, to its end, and within the memory that there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

# what PyTorch says on CPUs, by system; accelerators have an error of their own
_NO_MEMORY = ("not enough memory", "can't allocate memory")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every part is in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def wait(device: torch.device | str) -> None:
    """Return when all that was asked of the device is done: accelerators work behind Python's back."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(torch.device(device))


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory did not suffice; what the accelerator holds for later is freed then."""
    if isinstance(error, torch.OutOfMemoryError):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True
    return any(words in str(error) for words in _NO_MEMORY)
