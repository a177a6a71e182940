"""What surrounds a step and is not its business: the device, the seed, where states are kept, whom to tell."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.errors import UserError, unknown

if TYPE_CHECKING:
    from shoestring.runtime.distributed import Team


_DEVICES = ("auto", "cpu", "cuda", "mps")


def _silent(*_: Any, **__: Any) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Context:
    """Handed down unchanged through all steps.

    `say(text)` takes notes for people; `tick(step, fraction, values)` takes progress many times a second;
    `folder` is where an interrupted step leaves its state (nowhere, when None); `team` are the
    processes that train together (this one alone, when None). `threads` is the most threads to compute with, whose
    number is chosen by measuring where time counts; None leaves the number that PyTorch has.
    """

    device: str = "cpu"
    seed: int = 0
    folder: Path | None = None
    log: Callable[[str], None] = field(default=_silent)
    on_progress: Callable[[str, float, dict[str, Any]], None] = field(default=_silent)
    team: Team | None = None
    threads: int | None = None

    @property
    def rank_and_size(self) -> tuple[int, int]:
        """Which process this is, of how many that train together."""
        return (0, 1) if self.team is None else (self.team.rank, self.team.size)

    def in_folder(self, name: str) -> Context:
        """The same, with states kept in a folder of that name below."""
        return replace(self, folder=self.folder / name if self.folder else None)


def prepare(
    *,
    device: str = "auto",
    memory: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    team: Team | None = None,
    **rest: Any,
) -> Context:
    """Set threads and the accelerator's memory cap once for the process, and find the device.

    Raises `UserError` for a device that does not exist, a memory cap without an accelerator or an unreadable one.
    """
    import torch

    _keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    if team is not None:
        device = team.device(device)
    elif device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError:
        raise unknown("device", device, _DEVICES, hint="One of several is cuda:1.") from None
    try:
        if torch.device(device).type == "cuda" and torch.device(device).index is not None:
            torch.cuda.set_device(device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device '{device}' cannot be used: {reason}. Try --device cpu.") from None
    if memory is not None:
        _cap(device, memory)
    torch.manual_seed(seed if team is None else seed + team.rank)
    measured = threads is None and team is None and device == "cpu"
    return Context(device=device, seed=seed, team=team, threads=torch.get_num_threads() if measured else None, **rest)


def _keep_freed_memory() -> None:
    """Let the C library reuse large blocks instead of giving them back to the system after each step.

    Activations are freed and asked for again at every step; without this each step faults in its pages anew, which
    costs a tenth to a fifth of the time on a CPU.
    """
    import ctypes

    trim_threshold, mmap_threshold = -1, -3  # of glibc's mallopt
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(mmap_threshold, 1 << 30)
        library.mallopt(trim_threshold, (1 << 31) - 1)


def _cap(device: str, memory: str) -> None:
    """Cap the accelerator's memory at so many bytes ('2GB')."""
    import torch

    from shoestring.config.units import parse_quantity

    size = parse_quantity(memory.strip().removesuffix("B").removesuffix("b"), what="memory size")
    if not device.startswith("cuda"):
        raise UserError(f"--memory caps accelerator memory, and the device is '{device}'. Leave it out.")
    index = torch.device(device).index
    index = torch.cuda.current_device() if index is None else index
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(min(size / total, 1.0), index)
