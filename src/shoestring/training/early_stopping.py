"""Early stopping: keep the best weights, and stop when the score has not improved for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from shoestring.budget import SAFETY_FACTOR, Window
from shoestring.models.model import Model


@dataclass(frozen=True)
class Score:
    """The score of a model (higher is better); it takes about as long as `passes` forward passes of an image."""

    measure: Callable[[Model], float]
    passes: float = 0.0


class EarlyStopping:
    """Stops after `limit` scores in a row without improvement; never if `limit` is None.

    The model is scored every `every` of the budget. With a time budget it is scored only if that fits into the
    remaining time, judged by the slowest score so far, or by the budget's prediction time for the first one.
    """

    def __init__(self, limit: int | None, score: Score | None = None, *, every: float = 0.05) -> None:
        self.limit, self.every, self.score = limit, every, score
        self._seconds: float | None = None
        self._next, self._best, self._misses = every, float("-inf"), 0
        self._weights: dict[str, Tensor] | None = None
        self.latest: float | None = None  # score, until `take_latest`

    def due(self, fraction: float) -> bool:
        """Whether a score is due at this fraction of the budget."""
        return self.limit is not None and fraction >= self._next

    def should_stop(self, model: Model, window: Window) -> bool:
        """Score the model if that is due and fits into the time; returns whether to stop training."""
        if self.score is None or not self.due(window.fraction) or not self._fits(self.score, window):
            return False
        start = time.monotonic()
        score = self.score.measure(model)
        self._seconds = max(time.monotonic() - start, self._seconds or 0.0)
        return self.update(score, model.module, window.fraction)

    def _fits(self, score: Score, window: Window) -> bool:
        if window.budget.unit != "seconds":
            return True
        seconds = score.passes * (window.budget.seconds_per_pass or 0.0) if self._seconds is None else self._seconds
        return SAFETY_FACTOR * seconds <= window.remaining

    def update(self, score: float, module: nn.Module, fraction: float) -> bool:
        """Add a score (higher is better) of the current weights; returns whether to stop."""
        assert self.limit is not None
        self._next, self.latest = fraction + self.every, score
        if score > self._best:
            self._best, self._misses = score, 0
            self._weights = {key: value.detach().clone() for key, value in module.state_dict().items()}
        else:
            self._misses += 1
        return self._misses >= self.limit

    def take_latest(self) -> float | None:
        """Return the score since the last call, if there is one."""
        latest, self.latest = self.latest, None
        return latest

    def state(self) -> dict[str, Any]:
        """The state for `restore`."""
        return {"next": self._next, "best": self._best, "misses": self._misses, "weights": self._weights}

    def restore(self, state: dict[str, Any], *, reset: bool = False) -> None:
        """Continue from a saved state; with `reset` only the best score and weights are kept."""
        self._best, self._weights = state["best"], state["weights"]
        if not reset:
            self._next, self._misses = state["next"], state["misses"]

    def is_current(self, fraction: float) -> bool:
        """Whether the last score is recent at this fraction of the budget: later scores may not have fitted.

        If training continued long after the last score, the best scored weights are no longer the best ones.
        """
        return fraction <= self._next + self.every

    def restore_best(self, module: nn.Module) -> bool:
        """Load the weights of the best score; returns False if there are none."""
        if self._weights is not None:
            module.load_state_dict(self._weights)
        return self._weights is not None
