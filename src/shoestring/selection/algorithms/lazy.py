"""Scores that fall as images are chosen: made exact for the few that might lead, and for all only now and then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import Floats, products, slices
from shoestring.selection.algorithms.ties import TOLERANCE, highest

_LAG = 64  # images that are chosen before all scores are made exact: one product of matrices instead of as many smaller
_BATCH = 16  # rivals whose scores are made exact at first; four times as many each further time
_NONE = float(np.finfo(np.float32).min)  # below every score


class Falling:
    """Scores (N,) that each chosen image changes by its cosines: `after(scores, cosines)`, (R,) and (R, P) to (R,).

    No chosen image raises a score by more than `rise`.
    """

    def __init__(
        self,
        features: Floats,
        scores: NDArray[np.floating],
        after: Callable[[NDArray[np.floating], Floats], NDArray[np.floating]],
        rise: float = 0.0,
    ) -> None:
        self.features, self.after, self.rise = features, after, rise
        self.scores = scores  # before those were chosen:
        self.lately: list[int] = []

    def lead(self, free: NDArray[np.bool_], rng: np.random.Generator) -> int:
        """The image, of those in the mask (N,), with the highest score."""
        if len(self.lately) >= _LAG:
            self._all()
        bounds = np.where(free, self.scores + self.rise * len(self.lately), -np.inf)
        known = np.full(len(bounds), -np.inf)
        count = _BATCH
        while self.lately and len(rivals := np.flatnonzero(bounds > max(known.max() - TOLERANCE, _NONE))):
            if 4 * min(count, len(rivals)) > len(free):
                self._all()
            else:
                if len(rivals) > count:
                    rivals = rivals[np.argpartition(bounds[rivals], -count)[-count:]]
                known[rivals], bounds[rivals] = self._now(rivals), -np.inf
                count *= 4
        return highest(known, rng) if self.lately else highest(self.scores, rng, free)

    def add(self, pick: int) -> None:
        """Choose an image."""
        self.lately.append(pick)

    def _now(self, rows: NDArray[np.int64] | slice) -> NDArray[np.floating]:
        return self.after(self.scores[rows], products(self.features[rows], self.features[self.lately]))

    def _all(self) -> None:
        for rows in slices(len(self.scores), 4096):
            self.scores[rows] = self._now(rows)
        self.lately = []
