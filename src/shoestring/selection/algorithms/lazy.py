"""Lazy evaluation of scores that fall as images are selected: exact for possible winners, for all only now and then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import Floats, inner_products, slices
from shoestring.selection.algorithms.ties import TOLERANCE, random_argmax

_MAX_PENDING = 64  # selected images before all scores are updated: one matrix product instead of as many smaller ones
_BATCH = 16  # rivals that are evaluated at once at first; four times as many each time
_LOWEST = float(np.finfo(np.float32).min)  # below every score


class LazyScores:
    """Scores (N,) that `update(scores, cosines)` changes for selected images: (R,) and cosines (R, P) to (R,).

    A selected image raises no score by more than `max_rise`.
    """

    def __init__(
        self,
        features: Floats,
        scores: NDArray[np.floating],
        update: Callable[[NDArray[np.floating], Floats], NDArray[np.floating]],
        max_rise: float = 0.0,
    ) -> None:
        self.features, self.update, self.max_rise = features, update, max_rise
        self.scores = scores  # without the pending images
        self.pending: list[int] = []

    def best(self, free: NDArray[np.bool_], rng: np.random.Generator) -> int:
        """Return the image within the mask (N,) that has the highest score."""
        if len(self.pending) >= _MAX_PENDING:
            self._update_all()
        bounds = np.where(free, self.scores + self.max_rise * len(self.pending), -np.inf)
        exact = np.full(len(bounds), -np.inf)
        count = _BATCH
        while self.pending and len(rivals := np.flatnonzero(bounds > max(exact.max() - TOLERANCE, _LOWEST))):
            if 4 * min(count, len(rivals)) > len(free):
                self._update_all()
            else:
                if len(rivals) > count:
                    rivals = rivals[np.argpartition(bounds[rivals], -count)[-count:]]
                exact[rivals], bounds[rivals] = self._updated(rivals), -np.inf
                count *= 4
        return random_argmax(exact, rng) if self.pending else random_argmax(self.scores, rng, free)

    def add(self, pick: int) -> None:
        """Select an image."""
        self.pending.append(pick)

    def _updated(self, rows: NDArray[np.int64] | slice) -> NDArray[np.floating]:
        return self.update(self.scores[rows], inner_products(self.features[rows], self.features[self.pending]))

    def _update_all(self) -> None:
        for rows in slices(len(self.scores), 4096):
            self.scores[rows] = self._updated(rows)
        self.pending = []
