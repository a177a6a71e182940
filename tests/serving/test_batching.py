from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from color_networks import COLORS, picture, pixels
from shoestring.serving.batching import Predictor
from shoestring.serving.errors import Refused
from shoestring.serving.metrics import Metrics
from shoestring.serving.settings import Settings


class Gray:
    """A network of which the first probability is the gray level of the image; it waits until it may go on."""

    metadata = SimpleNamespace(resolution=4, channels=3, fit="crop")

    def __init__(self, sessions: int = 1) -> None:
        self.sessions = list(range(sessions))
        self.batches: list[int] = []
        self.used: set[int] = set()
        self.go = threading.Event()

    def run(self, images: np.ndarray, session: int = 0) -> np.ndarray:
        self.go.wait(10)
        self.batches.append(len(images))
        self.used.add(session)
        if images.max() == 255:
            raise RuntimeError("out of memory")
        return images[:, 0, 0, :1].astype(np.float32)


def image(level: int) -> np.ndarray:
    return np.full((4, 4, 3), level, dtype=np.uint8)


@pytest.fixture
def make_predictor():
    made = []

    def make(network: Gray, **settings) -> Predictor:
        settings = {"max_images": 4, **settings}
        made.append(Predictor(network, Settings(**settings), Metrics().of_model("gray")))
        return made[-1]

    yield make
    for predictor in made:
        predictor.network.go.set()
        predictor.close()


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_concurrent_requests_share_batches_and_get_their_own_results(make_predictor):
    network = Gray()
    predictor = make_predictor(network, batch=8, queue=100)

    async def run() -> list:
        requests = [asyncio.create_task(predictor.predict([image(2 * i), image(2 * i + 1)])) for i in range(30)]
        await until(lambda: predictor.waiting == 60)
        await asyncio.sleep(0.1)  # until all are decoded
        network.go.set()
        return await asyncio.gather(*requests)

    results = asyncio.run(run())
    assert [[int(row[0]) for row in rows] for rows in results] == [[2 * i, 2 * i + 1] for i in range(30)]
    assert sum(network.batches) == 60 and max(network.batches) == 8 and len(network.batches) <= 10
    assert predictor.waiting == 0


def test_beyond_the_queue_requests_are_refused(make_predictor):
    network = Gray()
    predictor = make_predictor(network, queue=5)

    async def run() -> None:
        first = asyncio.create_task(predictor.predict([image(1)] * 3))
        await until(lambda: predictor.waiting == 3)
        with pytest.raises(Refused, match="busy") as refused:
            await predictor.predict([image(2)] * 3)
        assert refused.value.status == 429 and refused.value.headers == {"retry-after": "1"}
        second = asyncio.create_task(predictor.predict([image(2)] * 2))
        await until(lambda: predictor.waiting == 5)
        network.go.set()
        assert len(await first) == 3 and len(await second) == 2
        assert len(await predictor.predict([image(2)] * 4)) == 4

    asyncio.run(run())


def test_a_request_without_an_answer_in_time_is_refused_and_not_predicted(make_predictor):
    network = Gray()
    predictor = make_predictor(network, timeout=0.1, batch=1)

    async def run() -> None:
        blocking = asyncio.create_task(predictor.predict([image(1)]))
        with pytest.raises(Refused, match=r"no answer within 0\.1 s") as refused:
            await predictor.predict([image(2)])
        assert refused.value.status == 503
        with pytest.raises(Refused):
            await blocking
        network.go.set()
        await until(lambda: not predictor.waiting)
        assert (await predictor.predict([image(3)]))[0][0] == 3
        assert network.batches == [1, 1]

    asyncio.run(run())


def test_errors_of_one_image_are_results_and_defects_are_raised(make_predictor):
    network = Gray()
    network.go.set()
    predictor = make_predictor(network)

    async def run() -> None:
        first, second = await predictor.predict([b"text", picture("red")])
        assert isinstance(first, Refused) and first.status == 415
        assert int(second[0]) == COLORS["red"][0]
        with pytest.raises(RuntimeError, match="out of memory"):
            await predictor.predict([image(255)])
        assert (await predictor.predict([image(7)]))[0][0] == 7  # the threads go on

    asyncio.run(run())


def test_all_sessions_take_from_one_queue_and_end(make_predictor):
    network = Gray(sessions=3)
    predictor = make_predictor(network, batch=1, queue=100)

    async def run() -> None:
        requests = [asyncio.create_task(predictor.predict(list(pixels("red", "blue", side=4)))) for _ in range(20)]
        await until(lambda: predictor.waiting == 40)
        predictor.close()  # what is in the queue is answered all the same
        network.go.set()
        for rows in await asyncio.gather(*requests):
            assert [int(row[0]) for row in rows] == [200, 30]

    asyncio.run(run())
    end = time.monotonic() + 5
    while predictor.is_alive and time.monotonic() < end:
        time.sleep(0.01)
    assert not predictor.is_alive
