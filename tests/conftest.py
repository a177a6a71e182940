from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from shoestring.data.images import Images
from shoestring.data.memory import in_memory
from shoestring.errors import messages_with_flags
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.runs import session
from shoestring.runtime.context import Context
from shoestring.training import loop
from shoestring.training.checkpoint import Checkpoint

# on a loaded machine the first text alone takes seconds to come up with
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture(scope="session", autouse=True)
def _surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One thread, and an image cache that goes away."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOESTRING_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def arguments() -> None:
    """Messages speak of arguments, as in Python."""


@pytest.fixture(autouse=True)
def _messages(request: pytest.FixtureRequest) -> Iterator[None]:
    """Messages speak of flags, as they are written, unless a test asks for `arguments`."""
    if "arguments" in request.fixturenames:
        yield
        return
    with messages_with_flags():
        yield


@pytest.fixture(scope="session")
def make_images() -> Callable[..., Images]:
    """Makes images whose classes differ in which quarter is bright: make_images(60, classes=3, side=8, channels=1)."""

    def make(
        count: int = 60, *, classes: int = 3, side: int = 8, channels: int = 1, seed: int = 0, mirrored: bool = False
    ) -> Images:
        rng = np.random.default_rng(seed)
        labels = np.arange(count) % classes
        pixels = rng.integers(0, 80, (count, side, side, channels), dtype=np.uint8)
        half = side // 2
        for image, label in zip(pixels, labels):
            top, left = divmod(int(label) % 4, 2)
            image[top * half : (top + 1) * half, left * half : (left + 1) * half] += 150
        names = [f"class{index}" for index in range(classes)]
        return in_memory(pixels, labels.astype(np.int64), classes=names, resolution=side, mirrored=mirrored)

    return make


@pytest.fixture
def images(make_images: Callable[..., Images]) -> Images:
    """Sixty grey images of 8 x 8 pixels in three classes that are easy to tell apart."""
    return make_images()


@pytest.fixture
def make_model() -> Callable[..., Model]:
    """Makes a small network for images: make_model(images, "simplecnn", width=0.25)."""

    def make(images: Images, name: str = "simplecnn", **options) -> Model:
        torch.manual_seed(0)
        side, _, channels = images.shape
        size = Preprocessing(side, channels, (0.3,) * channels, (0.25,) * channels)
        return build(name, classes=images.classes, preprocessing=size, options={"width": 0.125, **options})

    return make


@pytest.fixture
def context() -> Context:
    """The processor, seed 0, nobody told."""
    return Context()


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports and checkpoints after each step, not after so many seconds."""
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    monkeypatch.setattr(Checkpoint, "due", lambda self: self.file is not None)


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs with a hundredth of a second for latencies, and digits few enough to be trained on in no time."""
    monkeypatch.setattr(session, "_MAX_TIMING_RESERVE", 0.01)
    load = session.load

    def few(*args, **kwargs):
        data = load(*args, **kwargs)
        return replace(data, train=data.train[:300], validation=data.validation[:50], test=data.test[:100])

    monkeypatch.setattr(session, "load", few)
