from __future__ import annotations

import pytest

from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Train
from shoestring.planning.growth import choose_growth
from shoestring.planning.optimizer import choose_optimizer


def _chosen(images, network, seconds, **settings) -> tuple[str, str]:
    """The schedule, where an image takes a second, and the reason."""
    settings = Train(**{"model": "x", **settings})
    optimizer = choose_optimizer(network, settings)
    times = StepTimes(1.0, 1.0)
    schedule, reason = choose_growth(network, settings, optimizer, count=len(images), seconds=seconds, times=times)
    return schedule.text, reason


def test_a_network_that_would_see_few_images_grows(images, make_images, make_model):
    model, many = make_model(images, "resnet20", width=0.25), make_images(30_000)
    text, reason = _chosen(many, model, 50_001)
    assert text == "constant"
    assert reason == "there is time for 50,001 images with the whole resnet20, which is enough"
    text, reason = _chosen(many, model, 49_999)
    assert text == "resolution,width,depth"
    assert reason == "there is time for only 49,999 images with the whole resnet20"
    assert _chosen(images, model, 2.1 * len(images))[0] == "constant"
    assert _chosen(images, model, 1.9 * len(images))[0] == text


def test_what_sgd_trains_grows_earlier(make_images, make_model):
    images = make_images(30_000)
    model = make_model(images, "resnet20", width=0.25)
    assert _chosen(images, model, 59_000, optimizer="sgd")[0] == "resolution,width,depth"
    assert _chosen(images, model, 61_000, optimizer="sgd")[0] == "constant"


def test_a_network_without_blocks_to_leave_out_grows_in_width(images, make_model):
    assert _chosen(images, make_model(images, "convnet"), 10)[0] == "resolution,width"


def test_what_cannot_grow_does_not(make_images, make_model):
    images = make_images(side=16, channels=3)
    frozen = make_model(images, "resnet20", width=0.25)
    frozen.module.requires_grad_(False)
    assert _chosen(images, frozen, 10)[0] == "resolution"


@pytest.mark.parametrize(
    ("seconds", "settings", "reason"),
    [
        (None, {}, "the budget is not a time"),
        (10, {"model": "auto"}, "the width of the network fits the time"),
        (10, {"weights": "some.safetensors"}, "the network has loaded weights"),
    ],
)
def test_nothing_grows_where_that_was_not_measured(images, make_model, seconds, settings, reason):
    assert _chosen(images, make_model(images, "resnet20"), seconds, **settings) == ("constant", reason)
