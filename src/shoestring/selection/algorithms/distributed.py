"""Facility location in parallel processes, or on several machines: GreeDi."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError
from shoestring.selection.algorithms.partitions import Left, among_left, left_by
from shoestring.selection.algorithms.rows import Stored
from shoestring.selection.pool import Pool

_given: ContextVar[Executor | None] = ContextVar("executor", default=None)


@contextmanager
def running_on(executor: Executor) -> Iterator[None]:
    """Within this block parts are worked on by this executor: threads, processes, or a farm of machines."""
    token = _given.set(executor)
    try:
        yield
    finally:
        _given.reset(token)


def in_partitions(
    images: Pool,
    size: int,
    partitions: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64],
    options: dict[str, Any],
) -> NDArray[np.int64]:
    """The choice (size,) of two rounds: of each of so many random parts, and among what these left.

    GreeDi (Mirzasoleiman et al. 2013): each part chooses `size` images, greedily and beside those chosen `already`; of
    all these the greedy choice is taken, by how they cover each other and a sample of the others. Workers read their
    part only, and the choice does not depend on how many there are.
    """
    free = np.setdiff1d(np.arange(len(images)), already)
    parts = [np.sort(part) for part in np.array_split(rng.permutation(free), partitions)]
    stored = [images.part(np.concatenate([already, part])).stored.alone() for part in parts]
    work = partial(_first_round, size=size, before=len(already), options=options)
    try:
        with _executor() as executor:
            left = list(executor.map(work, stored, rng.spawn(partitions)))
    except BrokenExecutor:
        raise UserError(
            "the processes that choose in parts have ended before they were done: memory did not suffice, or a script "
            'that starts them does not have its work below if __name__ == "__main__":.'
        ) from None
    before = len(already)
    union = np.concatenate([already, *(part[own.rows - before] for part, own in zip(parts, left))])
    witnesses = np.concatenate([part[own.witnesses - before] for part, own in zip(parts, left)])
    weights = np.concatenate([np.full(len(own.witnesses), own.weight, dtype=np.float32) for own in left])
    chosen, seen = images.part(union).features, images.part(witnesses).features
    return union[among_left(chosen, seen, weights, size, before=before, rng=rng)]


def _first_round(rows: Stored, rng: np.random.Generator, *, size: int, before: int, options: dict[str, Any]) -> Left:
    """What one part leaves."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):  # as many workers as cores; and sums do not depend on the machine
        return left_by(rows.read(), size, before=before, rng=rng, **options)


@contextmanager
def _executor() -> Iterator[Executor]:
    """The executor that is given, or processes of this machine for as long as they are needed."""
    if (given := _given.get()) is not None:
        yield given
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as own:
        yield own
