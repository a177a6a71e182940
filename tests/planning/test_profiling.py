from __future__ import annotations

import numpy as np
import pytest
import torch

from shoestring.planning import profiling
from shoestring.planning.profiling import first_batch, images_to_time
from shoestring.runtime.timing import Timing


class _Machine:
    """Timings by the number of threads that PyTorch was set to; what was timed with how many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], *, crowded: float = 1.0) -> None:
        self.count, self.seconds, self.crowded = max(seconds), seconds, crowded
        self.timed: list[int] = []
        monkeypatch.setattr(profiling, "set_threads", self._set)
        monkeypatch.setattr(profiling, "time_calls", self._time)
        monkeypatch.setattr(profiling, "low_precisions", lambda device: [])

    def _set(self, count: int) -> None:
        self.count = count

    def _time(self, run, limit: float) -> Timing:
        self.timed.append(self.count)
        seconds = self.seconds[self.count]
        return Timing(seconds * self.crowded, seconds * self.count, self.crowded)


@pytest.mark.parametrize(
    ("seconds", "count", "cost"),
    [
        ({1: 1.0, 2: 0.6}, 2, 0.6),
        ({1: 1.0, 2: 0.97}, 1, 1.0),  # less than five percent
        ({1: 1.0, 2: 30.0}, 1, 1.0),
        ({1: 1.0, 2: 0.5, 4: 0.4, 8: 0.5}, 4, 0.4),
        ({1: 1.0, 2: 0.6, 4: 3.0, 8: 9.0}, 2, 0.6),  # a container that holds fewer processors than it shows
    ],
)
def test_the_number_of_threads_is_measured(images, make_model, monkeypatch, seconds, count, cost):
    machine = _Machine(monkeypatch, seconds)
    model = make_model(images)
    found = profiling.profile(
        model, first_batch(model, images, 10, "cpu"), precision="auto", limit=1, threads=max(seconds)
    )
    assert (machine.count, found.times.train * 10, found.times.crowded) == (count, pytest.approx(cost), False)
    assert found.times.predict * 10 == pytest.approx(cost)


def test_beside_other_work_one_thread_tells_what_the_work_takes(images, make_model, monkeypatch):
    machine = _Machine(monkeypatch, {1: 1.0, 2: 30.0}, crowded=1.5)
    model = make_model(images)
    found = profiling.profile(model, first_batch(model, images, 10, "cpu"), precision="auto", limit=1, threads=2)
    assert (machine.count, found.times.train * 10, found.times.crowded) == (1, pytest.approx(1.0), True)
    assert set(machine.timed) == {1}


def test_a_number_of_threads_that_was_asked_for_stays(images, make_model, monkeypatch):
    machine = _Machine(monkeypatch, {2: 0.6})
    model = make_model(images)
    found = profiling.profile(model, first_batch(model, images, 10, "cpu"), precision="auto", limit=1)
    assert (machine.count, found.times.train * 10) == (2, pytest.approx(0.6))


def test_large_networks_are_timed_on_few_images():
    around = {"most": 32, "step": 100, "device": "cpu"}
    assert images_to_time(1e6, 1.0, **around) == 32
    assert images_to_time(2e10, 1.0, **around) == 16
    assert images_to_time(2e10, 1.0, least=2, **around) == 2
    assert images_to_time(2e10, 1.0, most=32, step=100, device="cuda") == 100


def test_images_are_made_smaller_and_stay_the_same(make_images):
    images = make_images(40, side=64, channels=3)[np.arange(5, 35)]
    small = images.resized(32)
    assert small.shape == (32, 32, 3) and small.pixels.dtype == np.uint8
    assert small.fingerprint == images.fingerprint
    assert (small.targets == images.targets).all() and (small.ids == images.ids).all()
    means = images.pixels.reshape(30, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(small.pixels - means).mean() < 20
    assert torch.equal(torch.from_numpy(small.pixels[3:5]), torch.from_numpy(images[3:5].resized(32).pixels))
