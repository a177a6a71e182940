"""How to select: a method with its options and a difficulty range."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config import registry
from shoestring.errors import UserError
from shoestring.selection.difficulty import within_range
from shoestring.selection.pool import NO_INDICES, Pool


@dataclass(frozen=True)
class Strategy:
    """Name and options of a selection method, and the difficulty range that it may select from.

    `within` is "easiest:0.2", "hardest:0.1" or "middle:0.5", by margin and per class if classes are balanced; None: all
    images.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    within: str | None = None

    def bind(self) -> BoundMethod:
        """Return the registered method with its options converted. Raises `UserError` for unknown names and options."""
        options = registry.bind("select", self.method, dict(self.options))
        return BoundMethod(registry.find("select", self.method), options, self.within)


@dataclass(frozen=True)
class BoundMethod:
    """A method function with its options and difficulty range.

    A function that declares the keyword `already` gets the images selected before and selects in addition to them; from
    other functions they are hidden. One that declares `counts` gets all classes at once and the number to select from
    each; others are called class by class if classes are balanced.
    """

    function: Callable[..., NDArray[np.int64]]
    options: Mapping[str, Any]
    within: str | None = None

    def accepts(self, name: str) -> bool:
        """Whether the function declares this argument."""
        return name in inspect.signature(self.function).parameters

    def __call__(
        self,
        pool: Pool,
        size: int,
        *,
        rng: np.random.Generator,
        already: NDArray[np.int64] = NO_INDICES,
        counts: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Select indices (size,) of the pool, best first, none of those in `already`."""
        free = np.ones(len(pool), dtype=bool)
        free[already] = False
        if self.within is not None:
            free &= self._in_range(pool, size, counts, rng)
            if free.sum() < size:
                raise UserError(
                    f"--within {self.within} leaves {free.sum():,} new images, but {size:,} are to be selected."
                )
        rows = np.flatnonzero(free)
        provided: dict[str, Any] = {}
        if self.accepts("already"):
            rows = np.union1d(rows, already)
            provided["already"] = np.searchsorted(rows, already)
        if self.accepts("counts"):
            provided["counts"] = counts
        part = pool if len(rows) == len(pool) else pool.take(rows)
        return rows[self.function(part, size, rng=rng, **provided, **self.options)]

    def _in_range(
        self, pool: Pool, size: int, counts: NDArray[np.int64] | None, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Mask (N,) of the images in the difficulty range, of each class if there are counts."""
        assert self.within is not None
        mask = np.zeros(len(pool), dtype=bool)
        if counts is None:
            mask[within_range(pool, self.within, size=size, rng=rng)] = True
            return mask
        labels = pool.labels
        for label in np.flatnonzero(counts):
            own = np.flatnonzero(labels == label)
            mask[own[within_range(pool.take(own), self.within, size=int(counts[label]), rng=rng)]] = True
        return mask
