from __future__ import annotations

import sys

import pytest
import torch

from shoestring.budget import Budget
from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Train
from shoestring.planning.model import build_network, choose_network, preprocessing
from shoestring.planning.profiling import Profile, Profiler
from shoestring.runtime.context import Context


def test_the_preprocessing_makes_channels_standard(make_images):
    images = make_images(channels=3)
    found = preprocessing(images, mirror=True, tta="flip")
    pixels = images.pixels / 255
    assert found.mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-3)
    assert found.std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-3)
    assert (found.resolution, found.channels, found.mirror) == (8, 3, True)


def test_the_model_asked_for_is_built_from_the_seed(images):
    def build(seed: int):
        settings = Train(model="convnet", width=0.25)
        profiler = Profiler(Budget(epochs=1), Context())
        network = choose_network(images, settings, count=60, seconds=None, profiler=profiler)
        return build_network(network, images, settings, seed=seed)

    one, same, other = build(0), build(0), build(1)
    assert (one.name, one.options, one.classes) == ("convnet", {"width": 0.25}, images.classes)
    assert not one.preprocessing.mirror  # these classes differ from their mirror images
    for (name, a), b in zip(one.module.state_dict().items(), same.module.state_dict().values()):
        assert torch.equal(a, b), name
    assert any(not torch.equal(a, c) for a, c in zip(one.module.parameters(), other.module.parameters()))


def _width(images, count: int, seconds: float | None, device: str = "cpu") -> float:
    profiler = Profiler(Budget(1000), Context(device=device))
    return choose_network(images, Train(), count=count, seconds=seconds, profiler=profiler).options["width"]


def test_auto_takes_a_wider_network_where_time_allows(images, monkeypatch):
    monkeypatch.setattr(Profiler, "_measure", lambda *_: Profile("float32", StepTimes(1e-3, 1e-4)))
    widths = [_width(images, 20_000, seconds) for seconds in (1, 180, 400, 1e6)]
    assert widths[0] == 0.25 and widths[-1] == 2.0
    assert widths == sorted(widths) and widths[1] < widths[2]
    assert _width(images, 60, None) == 0.5


@pytest.mark.parametrize(("power", "width"), [(0.0, 2.0), (1.0, 1.0), (2.0, 0.5)])
def test_on_an_accelerator_two_widths_are_timed(images, monkeypatch, power, width):
    timed = []

    def measure(profiler, model, images, settings, size) -> Profile:
        timed.append(model.options["width"])
        return Profile("float32", StepTimes(1e-4 * (timed[-1] / 0.5) ** power, update=0.0001))

    monkeypatch.setattr(Profiler, "_measure", measure)
    monkeypatch.setattr(sys.modules[choose_network.__module__], "count_macs", lambda model: 1000)
    seconds = 160_000 * 2e-4 + 1  # for as many images as few are to be seen, at twice the cost
    assert _width(images, 20_000, seconds, device="cuda") == width
    assert timed == [0.5, 2.0]
