"""How to select: a method with its options and a difficulty range."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config import registry
from shoestring.config.difficulty import Difficulty
from shoestring.errors import UserError
from shoestring.selection.difficulty import within_range
from shoestring.selection.pool import NO_INDICES, Pool


@dataclass(frozen=True)
class Strategy:
    """Name and options of a selection method, and the difficulty range that it may select from.

    The range is by margin, and per class if classes are balanced; None: all images.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    within: Difficulty | None = None

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
    within: Difficulty | None = None

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
        candidates: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Select indices (size,) of the pool, best first, none of those in `already`.

        `candidates` are ascending indices that include those in `already`; None: all. All arguments and the result are
        indices of the pool: only here are they translated to and from positions among the images that the function
        gets. Raises `UserError` if there are too few new images in the difficulty range.
        """
        if candidates is None:
            candidates = np.arange(len(pool))
        new = self._new(pool, candidates, already, size, counts, rng)
        visible, provided = new, {}
        if self.accepts("already"):
            visible = np.union1d(new, already)
            provided["already"] = np.searchsorted(visible, already)
        if self.accepts("counts"):
            provided["counts"] = counts
        part = pool if len(visible) == len(pool) else pool.take(visible)
        return visible[self.function(part, size, rng=rng, **provided, **self.options)]

    def _new(
        self,
        pool: Pool,
        candidates: NDArray[np.int64],
        already: NDArray[np.int64],
        size: int,
        counts: NDArray[np.int64] | None,
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Ascending candidates that are not in `already` and in the difficulty range, of each class if counted."""
        if self.within is None:
            return np.setdiff1d(candidates, already, assume_unique=True)
        groups = [(candidates, size)]
        if counts is not None:
            labels = pool.labels[candidates]
            groups = [(candidates[labels == label], int(counts[label])) for label in np.flatnonzero(counts)]
        result = []
        for group, needed in groups:
            in_range = within_range(pool, group, self.within, size=needed, rng=rng)
            result.append(np.setdiff1d(in_range, already, assume_unique=True))
            if len(result[-1]) < needed:
                raise UserError(
                    f"--within {self.within} leaves {len(result[-1]):,} new images, but {needed:,} are to be selected."
                )
        return np.sort(np.concatenate(result))
