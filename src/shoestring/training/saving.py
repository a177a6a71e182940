"""Save a training while it runs: states to roll back to, a checkpoint to resume from, snapshots to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from shoestring.budget import Window
from shoestring.config.model_files import newest_snapshot
from shoestring.errors import UserError
from shoestring.models.model import Model
from shoestring.runtime.context import Context
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.divergence import DivergenceGuard
from shoestring.training.progress import TrainingState
from shoestring.training.snapshots import Snapshots

_INTERVAL = 0.01  # fraction of the training between two checks of the loss, for which an accelerator has to wait
_VALIDATION = 0.0025  # fraction of the training that the validation of one snapshot may take
_CAUTION = 1.5  # writing the last checkpoint may take this many times as long as the one before

# measures a model on at most so many validation images, as values for progress reports; None if these are too few
Validate = Callable[[Model, int], Mapping[str, float] | None]


class Saver:
    """Checks the loss now and then, and saves only finite states: in memory and in the context's folder.

    With `anytime` model snapshots are saved as well, and those of a timed training are validated with `validate`.
    """

    def __init__(
        self,
        state: TrainingState,
        window: Window,
        context: Context,
        *,
        anytime: bool,
        validate: Validate | None = None,
    ) -> None:
        self.state, self.window, self.checkpoint = state, window, Checkpoint(context.folder)
        self.guard = DivergenceGuard(state, context.log)
        seconds = window.length if window.budget.unit == "seconds" else 0.0
        self.snapshots = Snapshots(context.folder if anytime else None, seconds)
        self._validate, self._validation = validate, dict[str, float]()
        self._next = 0.0

    def due(self) -> bool:
        """Whether the loss is to be checked."""
        return self.window.fraction >= self._next

    def save(self, loss: Tensor, **extra: Any) -> bool:
        """Save what is due; if training diverged, restore an earlier state instead and return False.

        `extra` is saved with the checkpoint. Raises `UserError` if training diverged too often.
        """
        fraction = self.window.fraction
        self._next = fraction + _INTERVAL
        if self.roll_back(loss):
            return False
        self.guard.save(self.state, fraction)
        if self.checkpoint.due():
            self._save_checkpoint(ended=False, **extra)
            if self.state.plan.extendable:
                self.window.budget.reserve("state", _CAUTION * self.checkpoint.seconds)
        if self.snapshots.due(fraction):
            self.snapshots.save(self._snapshot)
        return True

    def take_validation(self) -> dict[str, float]:
        """Return what was measured of a snapshot saved since the last call, as values for progress reports."""
        values, self._validation = self._validation, {}
        return values

    def _snapshot(self) -> Model:
        """Return the model as if training ended here, after validating it on as many images as time allows."""
        model, seconds = self.state.usable(), self.window.budget.seconds_per_pass
        if self._validate is not None and seconds:
            self._validation = dict(self._validate(model, int(_VALIDATION * self.window.length / seconds)) or {})
        return model

    def roll_back(self, loss: Tensor) -> bool:
        """`DivergenceGuard.roll_back`, with an error that names the last snapshot."""
        try:
            return self.guard.roll_back(loss, self.state)
        except UserError as error:
            folder = self.checkpoint.folder
            if folder is None or (snapshot := newest_snapshot(folder)) is None:
                raise
            raise UserError(f"{error} An earlier model is in {snapshot}.") from None

    def end(self, **extra: Any) -> None:
        """Save the final checkpoint if the training can be extended."""
        if self.state.plan.extendable:
            self.window.budget.release("state")
            self._save_checkpoint(ended=True, **extra)

    def _save_checkpoint(self, *, ended: bool, **extra: Any) -> None:
        window = self.window
        budget = {"window": (window.start, window.portion), "counted": window.budget.counted}
        end = {"total": window.budget.total, "ended": ended}
        self.checkpoint.save(self.state.pack() | budget | end | extra)
