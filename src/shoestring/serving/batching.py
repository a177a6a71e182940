"""Predicting the images of concurrent requests in batches: threads that decode, and one for each session.

Nothing waits for a batch to fill. While a batch is predicted, the images of other requests arrive, and are the next
one: alone, an image is predicted at once; under load, batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.runtime.cores import cores
from shoestring.serving.errors import Refused
from shoestring.serving.images import Encoded, read
from shoestring.serving.metrics import ModelMetrics
from shoestring.serving.network import Network
from shoestring.serving.settings import Settings

Result = NDArray[np.float32] | Refused  # probabilities (classes,), or why there are none
_MAX_DECODERS = 8


class Job:
    """The images of one request, and their results so far. Only the thread of its event loop changes the results."""

    __slots__ = ("abandoned", "future", "images", "left", "loop", "results")

    def __init__(self, images: Sequence[Encoded], loop: asyncio.AbstractEventLoop) -> None:
        self.images: list[Encoded | None] = list(images)
        self.results: list[Any] = [None] * len(images)
        self.left, self.loop = len(images), loop
        self.future: asyncio.Future[list[Result]] = loop.create_future()
        self.abandoned = False  # nobody waits for it any more, so that its images need not be predicted


_Item = tuple[Job, int, Any]  # a job, the index of one of its images, and the pixels or the result of that


class Predictor:
    """A network with its threads and its queue. `waiting` is the number of images that are not answered yet."""

    def __init__(self, network: Network, settings: Settings, metrics: ModelMetrics) -> None:
        self.network, self.waiting = network, 0
        self._settings, self._metrics = settings, metrics
        self._encoded: queue.SimpleQueue[tuple[Job, int] | None] = queue.SimpleQueue()
        self._decoded: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._decoders = [_start(self._decode) for _ in range(min(cores(), _MAX_DECODERS))]
        self._sessions = [_start(self._predict, index) for index in range(len(network.sessions))]

    async def predict(self, images: Sequence[Encoded]) -> list[Result]:
        """Return the probabilities of each image, or why there are none.

        Raises `Refused` if the queue has no room for all of them (429), or if there is no answer in time (503).
        """
        if self.waiting + len(images) > self._settings.queue:
            raise Refused(429, "the server is busy: send the request again later", {"retry-after": "1"})
        job = Job(images, asyncio.get_running_loop())
        self._count(len(images))
        for index in range(len(images)):
            self._encoded.put((job, index))
        try:
            return await asyncio.wait_for(job.future, self._settings.timeout)
        except asyncio.TimeoutError:
            raise Refused(503, f"no answer within {self._settings.timeout:g} s", {"retry-after": "1"}) from None
        finally:
            job.abandoned = True

    @property
    def is_alive(self) -> bool:
        """Whether any thread has not ended yet."""
        return any(thread.is_alive() for thread in (*self._decoders, *self._sessions))

    def close(self) -> None:
        """End the threads when everything in the queue is answered; returns at once."""
        for _ in self._decoders:
            self._encoded.put(None)
        _start(self._end_sessions)

    def _end_sessions(self) -> None:
        for thread in self._decoders:
            thread.join()
        for _ in self._sessions:
            self._decoded.put(None)

    def _decode(self) -> None:
        while (item := self._encoded.get()) is not None:
            job, index = item
            image, job.images[index] = job.images[index], None  # its bytes are freed early
            assert image is not None, "an image is decoded once"
            if job.abandoned:
                self._answer([(job, index, _ABANDONED)])
                continue
            start = time.perf_counter()
            try:
                pixels = read(image, self.network.metadata, self._settings)
            except Exception as error:  # whatever it is, it must not end the thread
                self._answer([(job, index, error)])
            else:
                self._decoded.put((job, index, pixels))
            self._metrics.decoded(time.perf_counter() - start)

    def _predict(self, session: int) -> None:
        while (first := self._decoded.get()) is not None:
            found = [first, *self._more(self._settings.batch - 1)]
            items = [item for item in found if item is not None]
            batch = [item for item in items if not item[0].abandoned]
            self._answer([(job, index, _ABANDONED) for job, index, _ in items if job.abandoned])
            if batch:
                self._answer(self._run(batch, session))
            if found[-1] is None:
                return

    def _more(self, most: int) -> Iterator[_Item | None]:
        """Yield what is in the queue at this moment, up to a number or up to the end (None)."""
        with contextlib.suppress(queue.Empty):
            for _ in range(most):
                yield (item := self._decoded.get_nowait())
                if item is None:
                    return

    def _run(self, batch: list[_Item], session: int) -> list[_Item]:
        start = time.perf_counter()
        try:
            rows: list[Any] = list(self.network.run(np.stack([pixels for _, _, pixels in batch]), session))
        except Exception as error:  # of ONNX Runtime, for example without memory
            rows = [error] * len(batch)
        self._metrics.predicted(len(batch), time.perf_counter() - start)
        return [(job, index, row) for (job, index, _), row in zip(batch, rows)]

    def _answer(self, items: list[_Item]) -> None:
        """Pass results on to the event loops of their jobs, once for each loop."""
        for loop in {job.loop for job, _, _ in items}:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(self._finish, [item for item in items if item[0].loop is loop])

    def _finish(self, items: list[_Item]) -> None:
        """Store results; runs in the thread of the event loop."""
        self._count(-len(items))
        for job, index, result in items:
            job.results[index] = result
            job.left -= 1
            if not job.left and not job.future.done():
                defect = next((one for one in job.results if isinstance(one, Exception) and _is_defect(one)), None)
                if defect is None:
                    job.future.set_result(job.results)
                else:
                    job.future.set_exception(defect)

    def _count(self, change: int) -> None:
        self.waiting += change
        self._metrics.waiting(change)


_ABANDONED = Refused(503, "nobody waits for it")


def _is_defect(error: Exception) -> bool:
    return not isinstance(error, Refused)


def _start(target: Callable[..., None], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread
