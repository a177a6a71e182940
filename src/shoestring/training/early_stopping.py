"""Early stopping: keep the best weights, and stop when nothing better has come for a while."""

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
    """How good a model is, by `measure` (higher is better), which takes about so many forward passes of an image."""

    measure: Callable[[Model], float]
    passes: float = 0.0


class Patience:
    """Counts scores in a row that brought nothing; never stops when `limit` is None.

    Of a budget of time, a score is taken only when it fits into what is left, by what the slowest one took so far; the
    first by the budget's pace.
    """

    def __init__(self, limit: int | None, score: Score | None = None, *, every: float = 0.05) -> None:
        self.limit, self.every, self.score = limit, every, score
        self._took: float | None = None
        self._next, self._best, self._misses = every, float("-inf"), 0
        self._weights: dict[str, Tensor] | None = None

    def due(self, fraction: float) -> bool:
        """Whether a score is wanted at this fraction of the budget."""
        return self.limit is not None and fraction >= self._next

    def stops(self, model: Model, window: Window) -> bool:
        """Score the model if that is due and fits into the time; whether to stop training."""
        if self.score is None or not self.due(window.fraction) or not self._fits(self.score, window):
            return False
        began = time.monotonic()
        score = self.score.measure(model)
        self._took = max(time.monotonic() - began, self._took or 0.0)
        return self.over(score, model.module, window.fraction)

    def _fits(self, score: Score, window: Window) -> bool:
        if window.budget.unit != "seconds":
            return True
        seconds = score.passes * (window.budget.seconds_per_pass or 0.0) if self._took is None else self._took
        return SAFETY_FACTOR * seconds <= window.remaining

    def over(self, score: float, module: nn.Module, fraction: float) -> bool:
        """Take a score (higher is better) of the module as it is; whether to stop."""
        assert self.limit is not None
        self._next = fraction + self.every
        if score > self._best:
            self._best, self._misses = score, 0
            self._weights = {key: value.detach().clone() for key, value in module.state_dict().items()}
        else:
            self._misses += 1
        return self._misses >= self.limit

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {"next": self._next, "best": self._best, "misses": self._misses, "weights": self._weights}

    def restore(self, state: dict[str, Any], *, anew: bool = False) -> None:
        """Go on from a state taken before; `anew`, only the best so far is known, and the counting begins again."""
        self._best, self._weights = state["best"], state["weights"]
        if not anew:
            self._next, self._misses = state["next"], state["misses"]

    def knows_end(self, fraction: float) -> bool:
        """Whether the last score is of about this fraction of the budget: later ones may not have fitted into the time.

        The best weights of a training that went on long after are not the best ones.
        """
        return fraction <= self._next + self.every

    def restore_best(self, module: nn.Module) -> bool:
        """Give the module the weights of its best score; whether there are any."""
        if self._weights is not None:
            module.load_state_dict(self._weights)
        return self._weights is not None
