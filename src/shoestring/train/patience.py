"""Early stopping: keep the best weights, and stop when nothing better has come for a while."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Patience:
    """Counts scores in a row that brought nothing; never stops when `limit` is None."""

    def __init__(self, limit: int | None, *, every: float = 0.05) -> None:
        self.limit, self.every = limit, every
        self._next, self._best, self._misses = every, float("-inf"), 0
        self._weights: dict[str, Tensor] | None = None

    def due(self, fraction: float) -> bool:
        """Whether a score is wanted at this fraction of the budget."""
        return self.limit is not None and fraction >= self._next

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

    def restore_best(self, module: nn.Module) -> bool:
        """Give the module the weights of its best score; whether there are any."""
        if self._weights is not None:
            module.load_state_dict(self._weights)
        return self._weights is not None
