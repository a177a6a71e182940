"""A method with its options, called as its signature asks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError
from shoestring.selection.difficulty import rows_within
from shoestring.selection.pool import NOTHING, Pool


@dataclass(frozen=True)
class Strategy:
    """A selection method, its options, and the part of the images by difficulty that it sees (all, when None).

    A method that declares the keyword `already` is told what has been chosen before and chooses beside it; from others
    these images are kept. One that declares `counts` is given the images of all classes at once, with how many to
    choose of each; others are called class by class where classes are balanced.
    """

    method: Callable[..., NDArray[np.int64]]
    options: Mapping[str, Any]
    within: str | None = None

    def takes(self, name: str) -> bool:
        """Whether the method declares this argument."""
        return name in inspect.signature(self.method).parameters

    def __call__(
        self,
        pool: Pool,
        size: int,
        *,
        rng: np.random.Generator,
        already: NDArray[np.int64] = NOTHING,
        counts: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """`size` places (size,) of the pool, best first, none of those in `already`."""
        free = np.ones(len(pool), dtype=bool)
        free[already] = False
        if self.within is not None:
            free &= self._inside(pool, size, counts, rng)
            if free.sum() < size:
                raise UserError(f"--within {self.within} leaves {free.sum():,} new images, and {size:,} are wanted.")
        rows = np.flatnonzero(free)
        provided: dict[str, Any] = {}
        if self.takes("already"):
            rows = np.union1d(rows, already)
            provided["already"] = np.searchsorted(rows, already)
        if self.takes("counts"):
            provided["counts"] = counts
        part = pool if len(rows) == len(pool) else pool.part(rows)
        return rows[self.method(part, size, rng=rng, **provided, **self.options)]

    def _inside(
        self, pool: Pool, size: int, counts: NDArray[np.int64] | None, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """A mask (N,) of the images within the part by difficulty, of each class where there are counts."""
        assert self.within is not None
        mask = np.zeros(len(pool), dtype=bool)
        if counts is None:
            mask[rows_within(pool, self.within, least=size, rng=rng)] = True
            return mask
        labels = pool.labels
        for label in np.flatnonzero(counts):
            own = np.flatnonzero(labels == label)
            mask[own[rows_within(pool.part(own), self.within, least=int(counts[label]), rng=rng)]] = True
        return mask
