"""Several processes at work on one training, as torchrun starts them: the first tells, the others hear.

Word goes between processors (gloo), also where gradients go between accelerators (nccl).
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

_WAIT = timedelta(days=30)  # others wait while the first chooses images and evaluates, however long that takes


def rank() -> int:
    """Which process of its team this is, by torchrun's environment: 0 for the first one, and for one alone."""
    return int(os.environ.get("RANK", 0)) if _size() > 1 else 0


def _size() -> int:
    """How many processes there are, one where the environment is not whole: cluster systems set parts of it."""
    whole = all(name in os.environ for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"))
    size = os.environ.get("WORLD_SIZE", "1")
    if not whole or not size.isdecimal() or int(size) == 1:
        return 1
    for name in ("RANK", "LOCAL_RANK"):
        value = os.environ.get(name, "0")
        if not (value.isdecimal() and int(value) < int(size)):
            raise UserError(
                f"the environment variable {name} is '{value}', and a number from 0 to {int(size) - 1} is expected."
            )
    return int(size)


@dataclass
class Team:
    """The processes of a job: which one this is, on this machine (`local`) and in all (`rank`), of how many (`size`).

    `gradients` is the group that averages them; the processors' own when None. `busy` says that the others wait for
    this process in the middle of something: they would not hear a word then.
    """

    rank: int
    size: int
    local: int
    gradients: ProcessGroup | None = None
    busy: bool = False

    def device(self, wanted: str) -> str:
        """The device of this process; `UserError` for one that several cannot share."""
        import torch

        if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
            return "cpu"
        if wanted in ("auto", "cuda"):
            return f"cuda:{self.local}"
        raise UserError(f"several processes train on cpu or cuda, not on '{wanted}': each takes a device of its own.")

    def connect(self, device: str) -> None:
        """Let gradients go from accelerator to accelerator; all processes call this at once."""
        import torch
        from torch import distributed

        if device != "cpu":
            torch.cuda.set_device(device)
            group = distributed.new_group(backend="nccl")
            assert isinstance(group, distributed.ProcessGroup), "all processes are in it"
            self.gradients = group

    def tell(self, word: Any) -> None:
        """Send a word to all others, which `hear` it. Only the first process tells."""
        from torch import distributed

        self.busy = True
        distributed.broadcast_object_list([word], src=0)
        self.busy = False

    def hear(self) -> Any:
        """The next word of the first process; None when all is done."""
        from torch import distributed

        heard = [None]
        distributed.broadcast_object_list(heard, src=0)
        return heard[0]

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """What goes wrong in the block on one process is a `UserError` on all; all processes enter it at once."""
        from torch import distributed

        own: Exception | None = None
        try:
            yield
        except (UserError, OSError) as error:
            own = error
        told: list[str | None] = [None] * self.size
        distributed.all_gather_object(told, None if own is None else str(own))
        if own is not None:
            raise own
        for number, text in enumerate(told):
            if text is not None:
                raise UserError(f"process {number} of {self.size}: {text}")


def gone(error: Exception) -> bool:
    """Whether an error says that another process has ended."""
    return any(words in str(error) for words in ("Connection closed by peer", "Connection reset by peer"))


@contextmanager
def gathered() -> Iterator[Team | None]:
    """The team that this process belongs to, None for one alone; at the end of the block all is done for the others."""
    if _size() == 1:
        yield None
        return
    # loaded later, as training does, it would keep the group, whose threads can crash a process that ends
    import torch.distributed.nn  # noqa: F401
    from torch import distributed

    distributed.init_process_group("gloo", timeout=_WAIT)
    team = Team(rank(), _size(), int(os.environ.get("LOCAL_RANK", 0)))
    try:
        yield team
    finally:
        if team.rank == 0 and not team.busy:
            with suppress(RuntimeError):  # the others may be gone
                team.tell(None)
        if not team.busy:  # else the others end when this process does, and are waited for by nobody
            distributed.destroy_process_group()
