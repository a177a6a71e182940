from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # of this process and those that tests start: other tests need the other cores
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # so that these do not compile all sources again

import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from shoestring.cli.main import main
from shoestring.data.images import Images
from shoestring.data.memory import in_memory
from shoestring.errors import messages_with_flags
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.pruning import latency
from shoestring.runs import pruning, report, session
from shoestring.runtime.context import Context
from shoestring.training import loop, optimizer
from shoestring.training.checkpoint import Checkpoint

# on a loaded machine generating the first text alone takes seconds
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
_MOMENT = 0.01  # seconds
_ALLOWS_CHART = report.TimeLimit.allows_chart


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use one thread and a temporary image cache, draw no charts, and measure times for a moment only."""
    torch.set_num_threads(1)
    gc.freeze()  # of the modules, which would be visited by each collection
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOESTRING_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(report.TimeLimit, "allows_chart", lambda self: False)
        patch.setattr(session, "_MAX_TIMING_RESERVE", _MOMENT)
        patch.setattr(session, "_MAX_TIMING", _MOMENT)
        for module, name in ((pruning, "_SECONDS"), (latency, "_SECONDS"), (optimizer, "_TIMING_SECONDS")):
            patch.setattr(module, name, _MOMENT)
        yield


@pytest.fixture
def arguments() -> None:
    """Make messages name arguments, as in Python."""


@pytest.fixture(autouse=True)
def _messages(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make messages name flags, unless a test uses `arguments`."""
    if "arguments" in request.fixturenames:
        yield
        return
    with messages_with_flags():
        yield


@pytest.fixture
def charts_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw charts of reports if there is time."""
    monkeypatch.setattr(report.TimeLimit, "allows_chart", _ALLOWS_CHART)


@pytest.fixture
def charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the charts of reports."""
    monkeypatch.setattr(report.TimeLimit, "allows_chart", lambda self: True)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict]:
    """Run a command that succeeds and return its JSON result."""

    def run(*words: object) -> dict:
        capsys.readouterr()
        assert main([*map(str, words), "--json", "--quiet"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that fails and return its one error line."""

    def run(*words: object, code: int = 2) -> str:
        capsys.readouterr()
        assert main([*map(str, words), "--quiet"]) == code
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    return run


@pytest.fixture(scope="session")
def make_images() -> Callable[..., Images]:
    """Factory of images with one bright quadrant per class: make_images(60, classes=3, side=8, channels=1)."""

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
    """Sixty 8 x 8 grayscale images in three classes that are easy to separate."""
    return make_images()


@pytest.fixture
def make_model() -> Callable[..., Model]:
    """Factory of small networks: make_model(images, "simplecnn", width=0.25)."""

    def make(images: Images, name: str = "simplecnn", **options) -> Model:
        torch.manual_seed(0)
        side, _, channels = images.shape
        size = Preprocessing(side, channels, (0.3,) * channels, (0.25,) * channels)
        options = {"width": 0.125, **options}
        return build(name, classes=images.classes, preprocessing=size, options=options, task=images.task)

    return make


@pytest.fixture
def context() -> Context:
    """CPU, seed 0, no callbacks."""
    return Context()


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report and save a checkpoint after every step instead of every few seconds."""
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    monkeypatch.setattr(Checkpoint, "due", lambda self: self.file is not None)


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrink the digits data set."""
    load = session.load

    def load_few(*args, **kwargs):
        data = load(*args, **kwargs)
        return replace(data, train=data.train[:300], validation=data.validation[:50], test=data.test[:100])

    monkeypatch.setattr(session, "load", load_few)
