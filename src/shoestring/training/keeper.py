"""What is kept of a training while it runs: states to go back to, a state to go on from, a model to use."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from shoestring.budget import Window
from shoestring.errors import UserError
from shoestring.runtime.context import Context
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.divergence import Rescue
from shoestring.training.snapshots import Snapshots, newest
from shoestring.training.state import State

_EVERY = 0.01  # share of the training between two looks at the loss, which make an accelerator wait
_CAUTION = 1.5  # what writing the last state may take, by the time that writing one took before


class Keeper:
    """Looks at the loss now and then; only what is found well is kept, in memory and in the context's folder.

    `anytime` says whether there is to be a model to use at any time, too; `extendable` whether the state at the end is
    kept, which a longer training goes on from, and `extended` whether this one does so.
    """

    def __init__(
        self, state: State, window: Window, context: Context, *, anytime: bool, extendable: bool, extended: bool
    ) -> None:
        self.state, self.window, self.checkpoint = state, window, Checkpoint(context.folder)
        self.extendable, self.extended = extendable, extended
        self.rescue = Rescue(state, context.log)
        seconds = window.length if window.budget.unit == "seconds" else 0.0
        self.snapshots = Snapshots(context.folder if anytime else None, seconds)
        self._next = 0.0

    def due(self) -> bool:
        """Whether it is time to look."""
        return self.window.fraction >= self._next

    def well(self, loss: Tensor, **more: Any) -> bool:
        """Whether training goes well, and then keep what is due; else the state is now one from before.

        `more` goes with the state that an interrupted training goes on from. Raises `UserError` when training went
        astray too often.
        """
        fraction = self.window.fraction
        self._next = fraction + _EVERY
        if self.stray(loss):
            return False
        self.rescue.keep(self.state, fraction)
        if self.checkpoint.due():
            self._save(ended=False, **more)
            if self.extendable:
                self.window.budget.reserve("state", _CAUTION * self.checkpoint.took)
        if self.snapshots.due(fraction):
            self.snapshots.save(self.state.shipped)
        return True

    def stray(self, loss: Tensor) -> bool:
        """`Rescue.stray`; an error names the model that is kept."""
        try:
            return self.rescue.stray(loss, self.state)
        except UserError as error:
            folder = self.checkpoint.folder
            if folder is None or (kept := newest(folder)) is None:
                raise
            raise UserError(f"{error} A model from before is in {kept}.") from None

    def end(self, **more: Any) -> None:
        """Keep the state that a longer training goes on from, if there may be one."""
        if self.extendable:
            self.window.budget.release("state")
            self._save(ended=True, **more)

    def _save(self, *, ended: bool, **more: Any) -> None:
        window = self.window
        place = {"window": (window.start, window.share), "counted": window.budget.counted}
        about = {"total": window.budget.total, "ended": ended, "extended": self.extended}
        self.checkpoint.save(self.state.pack() | place | about | more)
