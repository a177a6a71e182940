"""Distributed facility location (GreeDi) in processes of this machine or on any executor."""

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
from shoestring.selection.algorithms.partitions import PartSummary, merge_parts, summarize_part
from shoestring.selection.algorithms.rows import StoredRows
from shoestring.selection.pool import Pool

_current: ContextVar[Executor | None] = ContextVar("executor", default=None)


@contextmanager
def use_executor(executor: Executor) -> Iterator[None]:
    """Run partitions on this executor (threads, processes, a cluster) inside the block."""
    token = _current.set(executor)
    try:
        yield
    finally:
        _current.reset(token)


def greedi(
    pool: Pool,
    size: int,
    partitions: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64],
    options: dict[str, Any],
) -> NDArray[np.int64]:
    """Facility location (size,) in two rounds, from random partitions and from their selections.

    GreeDi (Mirzasoleiman et al. 2013): each partition selects `size` images greedily, given those in `already`; the
    second greedy selection is among all of these, by how they cover each other and a sample of the others. Workers
    read their partition only, and the result does not depend on the number of workers.
    """
    free = np.setdiff1d(np.arange(len(pool)), already)
    parts = [np.sort(part) for part in np.array_split(rng.permutation(free), partitions)]
    stored = [pool.take(np.concatenate([already, part])).stored_features.detached() for part in parts]
    before = len(already)
    work = partial(_first_round, size=size, already=before, options=options)
    try:
        with _executor() as executor:
            summaries = list(executor.map(work, stored, rng.spawn(partitions)))
    except BrokenExecutor:
        raise UserError(
            "the worker processes ended early: they ran out of memory, or the script that starts them does not keep "
            'its work under if __name__ == "__main__":.'
        ) from None
    union = np.concatenate([already, *(part[own.rows - before] for part, own in zip(parts, summaries))])
    witnesses = np.concatenate([part[own.witnesses - before] for part, own in zip(parts, summaries)])
    weights = np.concatenate([np.full(len(own.witnesses), own.weight, dtype=np.float32) for own in summaries])
    candidates, seen = pool.take(union).features, pool.take(witnesses).features
    return union[merge_parts(candidates, seen, weights, size, already=before, rng=rng)]


def _first_round(
    rows: StoredRows, rng: np.random.Generator, *, size: int, already: int, options: dict[str, Any]
) -> PartSummary:
    from threadpoolctl import threadpool_limits

    # One thread: there is a worker for each core, and sums must not depend on the machine.
    with threadpool_limits(1, user_api="blas"):
        return summarize_part(rows.read(), size, already=already, rng=rng, **options)


@contextmanager
def _executor() -> Iterator[Executor]:
    """Yield the executor in use, or a process pool of this machine that is shut down afterwards."""
    if (executor := _current.get()) is not None:
        yield executor
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as own:
        yield own
