"""The context of a step: device, seed, threads, folder for checkpoints, and where to log."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.config.units import Bytes
from shoestring.errors import UserError, unknown

if TYPE_CHECKING:
    from shoestring.runtime.distributed import Distributed


_DEVICES = ("auto", "cpu", "cuda", "mps")


def _silent(*_: Any, **__: Any) -> None:
    """Log nothing."""


@dataclass(frozen=True)
class Context:
    """What every step needs beside its own arguments; passed down unchanged.

    Args:
        device: Where to compute.
        seed: Seed of the run.
        folder: Where an interrupted step leaves its checkpoint; None keeps no checkpoints.
        log: Called with a message for the user.
        on_progress: Called as `on_progress(step, fraction, values)`, many times a second.
        distributed: The distributed job that this process belongs to, if any.
        threads: Maximum number of CPU threads where their number is tuned by measurement (under a time budget); None
            keeps PyTorch's number.
    """

    device: str = "cpu"
    seed: int = 0
    folder: Path | None = None
    log: Callable[[str], None] = field(default=_silent)
    on_progress: Callable[[str, float, dict[str, Any]], None] = field(default=_silent)
    distributed: Distributed | None = None
    threads: int | None = None

    @property
    def rank_and_size(self) -> tuple[int, int]:
        """Rank of this process, and the number of processes that train together."""
        return (0, 1) if self.distributed is None else (self.distributed.rank, self.distributed.size)

    def in_folder(self, name: str) -> Context:
        """Return the context with checkpoints in a subfolder of this name."""
        return replace(self, folder=self.folder / name if self.folder else None)


def prepare(
    *,
    device: str = "auto",
    memory: str | Bytes | None = None,
    threads: int | None = None,
    seed: int = 0,
    distributed: Distributed | None = None,
    **rest: Any,
) -> Context:
    """Choose the device, seed PyTorch, and set threads and the accelerator memory limit; call once per process.

    `rest` are further fields of the context. Raises `UserError` for a device that is not available, and for a memory
    limit that cannot be parsed or without an accelerator.
    """
    import torch

    _keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    if distributed is not None:
        device = distributed.device(device)
    elif device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    _check_device(device)
    if memory is not None:
        _limit_memory(device, memory)
    torch.manual_seed(seed if distributed is None else seed + distributed.rank)
    tuned = threads is None and distributed is None and device == "cpu"
    most = torch.get_num_threads() if tuned else None
    return Context(device=device, seed=seed, distributed=distributed, threads=most, **rest)


def _check_device(device: str) -> None:
    """Make a numbered CUDA device the current one. Raises `UserError` if the device cannot be used."""
    import torch

    try:
        found = torch.device(device)
    except RuntimeError:
        raise unknown("device", device, _DEVICES, hint="With several GPUs, choose one as cuda:1.") from None
    if found.type == "cpu" and found.index is not None:
        raise UserError(f"device '{device}' cannot be used: the CPU has no number. Try --device cpu.")
    try:
        if found.type == "cuda" and found.index is not None:
            torch.cuda.set_device(device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device '{device}' cannot be used: {reason}. Try --device cpu.") from None


def _keep_freed_memory() -> None:
    """Let the C library reuse large blocks instead of returning them to the system after each step.

    Activations are freed and allocated again at every step; otherwise each step faults its pages in again, which costs
    10 to 20% of the time on a CPU.
    """
    import ctypes

    trim_threshold, mmap_threshold = -1, -3  # of glibc's mallopt
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(mmap_threshold, 1 << 30)
        library.mallopt(trim_threshold, (1 << 31) - 1)


def _limit_memory(device: str, memory: str | Bytes) -> None:
    """Limit the accelerator's memory to a size such as '2GB'."""
    import torch

    size = Bytes(memory)
    if not device.startswith("cuda"):
        raise UserError(f"--memory limits accelerator memory, and the device is '{device}'. Remove --memory.")
    index = torch.device(device).index
    index = torch.cuda.current_device() if index is None else index
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(min(size / total, 1.0), index)
