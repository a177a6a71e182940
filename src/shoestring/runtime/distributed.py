"""Several processes training one model, as torchrun starts them.

Messages go from rank 0 to the workers over gloo; gradients are averaged over gloo on CPUs and over NCCL on GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shoestring.errors import UserError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_TIMEOUT = timedelta(days=30)  # workers wait while rank 0 selects images and evaluates, however long that takes


def rank() -> int:
    """Return the rank of this process from torchrun's environment; 0 outside a distributed job."""
    return int(os.environ.get("RANK", 0)) if _world_size() > 1 else 0


def _world_size() -> int:
    """Number of processes; 1 if the environment is incomplete: cluster systems set some of the variables."""
    complete = all(name in os.environ for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"))
    size = os.environ.get("WORLD_SIZE", "1")
    if not complete or not size.isdecimal() or int(size) == 1:
        return 1
    for name in ("RANK", "LOCAL_RANK"):
        value = os.environ.get(name, "0")
        if not (value.isdecimal() and int(value) < int(size)):
            raise UserError(
                f"the environment variable {name} is '{value}', and a number from 0 to {int(size) - 1} is expected."
            )
    return int(size)


@dataclass
class Distributed:
    """A process of a distributed job: its `rank`, its rank on this machine, and the number of processes (`size`).

    Gradients are averaged over `gradient_group` (the default group if None). `in_collective` is set while the workers
    take part in a collective operation with this process; if it fails there, they cannot receive messages.
    """

    rank: int
    size: int
    local_rank: int
    gradient_group: ProcessGroup | None = None
    in_collective: bool = False

    def device(self, requested: str) -> str:
        """Return the device of this process. Raises `UserError` for a device that several processes cannot use."""
        import torch

        if requested == "cpu" or (requested == "auto" and not torch.cuda.is_available()):
            return "cpu"
        if requested in ("auto", "cuda"):
            return f"cuda:{self.local_rank}"
        raise UserError(f"distributed training takes --device cpu or cuda (one GPU per process), not '{requested}'.")

    def connect(self, device: str) -> None:
        """Create the group for gradients; all processes must call this together."""
        import torch
        from torch import distributed

        if device != "cpu":
            torch.cuda.set_device(device)
            group = distributed.new_group(backend="nccl")
            assert isinstance(group, distributed.ProcessGroup), "the group holds all processes"
            self.gradient_group = group

    def broadcast(self, message: Any) -> None:
        """Send a message from rank 0 to all workers, which `receive` it."""
        from torch import distributed

        self.in_collective = True
        distributed.broadcast_object_list([message], src=0)
        self.in_collective = False

    def receive(self) -> Any:
        """Return the next message of rank 0; None at the end of the job."""
        from torch import distributed

        messages = [None]
        distributed.broadcast_object_list(messages, src=0)
        return messages[0]

    @contextmanager
    def shared_errors(self) -> Iterator[None]:
        """If the block fails in one process, raise `UserError` in all; all processes must enter it together."""
        from torch import distributed

        own: Exception | None = None
        try:
            yield
        except (UserError, OSError) as error:
            own = error
        errors: list[str | None] = [None] * self.size
        distributed.all_gather_object(errors, None if own is None else str(own))
        if own is not None:
            raise own
        for number, text in enumerate(errors):
            if text is not None:
                raise UserError(f"process {number} of {self.size}: {text}")


def connection_lost(error: Exception) -> bool:
    """Return whether an error means that another process of the job has ended."""
    return any(words in str(error) for words in ("Connection closed by peer", "Connection reset by peer"))


@contextmanager
def process_group() -> Iterator[Distributed | None]:
    """Join the distributed job of this process (None outside one); at the end, rank 0 releases the workers."""
    if _world_size() == 1:
        yield None
        return
    # if loaded later, as training does, it would keep the group, whose threads can crash an exiting process
    import torch.distributed.nn  # noqa: F401
    from torch import distributed

    distributed.init_process_group("gloo", timeout=_TIMEOUT)
    job = Distributed(rank(), _world_size(), int(os.environ.get("LOCAL_RANK", 0)))
    try:
        yield job
    finally:
        if job.rank == 0 and not job.in_collective:
            with suppress(RuntimeError):  # the workers may be gone
                job.broadcast(None)
        if not job.in_collective:  # otherwise the workers end when this process does, and nobody waits for them
            distributed.destroy_process_group()
