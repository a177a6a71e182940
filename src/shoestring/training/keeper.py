"""What is kept while a training runs: states to go back to, a checkpoint to resume from, a model to use."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from shoestring.budget import Window
from shoestring.errors import UserError
from shoestring.runtime.context import Context
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.divergence import Rescue
from shoestring.training.progress import Progress
from shoestring.training.snapshots import Snapshots, newest

_EVERY = 0.01  # fraction of the training between two checks of the loss, for which an accelerator has to wait
_CAUTION = 1.5  # writing the last checkpoint may take this many times as long as the one before


class Keeper:
    """Checks the loss now and then, and saves only sound states: in memory and in the context's folder.

    With `anytime` a usable model is saved as well.
    """

    def __init__(self, progress: Progress, window: Window, context: Context, *, anytime: bool) -> None:
        self.progress, self.window, self.checkpoint = progress, window, Checkpoint(context.folder)
        self.rescue = Rescue(progress, context.log)
        seconds = window.length if window.budget.unit == "seconds" else 0.0
        self.snapshots = Snapshots(context.folder if anytime else None, seconds)
        self._next = 0.0

    def due(self) -> bool:
        """Whether it is time to check."""
        return self.window.fraction >= self._next

    def well(self, loss: Tensor, **more: Any) -> bool:
        """Whether training is sound; then save what is due, otherwise go back to an earlier state.

        `more` is saved with the checkpoint. Raises `UserError` if training diverged too often.
        """
        fraction = self.window.fraction
        self._next = fraction + _EVERY
        if self.stray(loss):
            return False
        self.rescue.keep(self.progress, fraction)
        if self.checkpoint.due():
            self._save(ended=False, **more)
            if self.progress.plan.extendable:
                self.window.budget.reserve("state", _CAUTION * self.checkpoint.took)
        if self.snapshots.due(fraction):
            self.snapshots.save(self.progress.usable)
        return True

    def stray(self, loss: Tensor) -> bool:
        """`Rescue.stray`; an error names the snapshot that was saved."""
        try:
            return self.rescue.stray(loss, self.progress)
        except UserError as error:
            folder = self.checkpoint.folder
            if folder is None or (saved := newest(folder)) is None:
                raise
            raise UserError(f"{error} An earlier model is in {saved}.") from None

    def end(self, **more: Any) -> None:
        """Save the checkpoint that a longer training continues from, if there may be one."""
        if self.progress.plan.extendable:
            self.window.budget.release("state")
            self._save(ended=True, **more)

    def _save(self, *, ended: bool, **more: Any) -> None:
        window = self.window
        place = {"window": (window.start, window.portion), "counted": window.budget.counted}
        about = {"total": window.budget.total, "ended": ended}
        self.checkpoint.save(self.progress.pack() | place | about | more)
