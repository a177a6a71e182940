from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.config.recipe import Train
from shoestring.planning import growth
from shoestring.planning.growth import choose_growth
from shoestring.training.profiling import Speed


@pytest.fixture(autouse=True)
def _a_second_an_image(monkeypatch):
    monkeypatch.setattr(growth, "calibrate", lambda *args, **rest: Speed("float32", 1.0, 1.0))


def _chosen(images, network, context, seconds, **settings) -> tuple[str, list[str]]:
    notes: list[str] = []
    around = replace(context, log=notes.append)
    schedule = choose_growth(network, images, Train(**{"model": "x", **settings}), context=around, seconds=seconds)
    return schedule.text, notes


def test_a_network_that_would_see_few_images_grows(images, make_images, make_model, context):
    model, many = make_model(images, "resnet20", width=0.25), make_images(30_000)
    text, notes = _chosen(many, model, context, 50_001)
    assert text == "constant"
    assert notes == ["grow constant: the whole resnet20 would see 50,001 images in the time, which are enough"]
    text, notes = _chosen(many, model, context, 49_999)
    assert text == "resolution,width,depth"
    assert notes == ["grow resolution,width,depth: the whole resnet20 would see 49,999 images in the time"]
    assert _chosen(images, model, context, 2.1 * len(images))[0] == "constant"
    assert _chosen(images, model, context, 1.9 * len(images))[0] == text


def test_what_sgd_trains_grows_earlier(make_images, make_model, context):
    images = make_images(30_000)
    model = make_model(images, "resnet20", width=0.25)
    assert _chosen(images, model, context, 59_000, optimiser="sgd")[0] == "resolution,width,depth"
    assert _chosen(images, model, context, 61_000, optimiser="sgd")[0] == "constant"


def test_a_network_without_blocks_to_leave_out_grows_in_width(images, make_model, context):
    assert _chosen(images, make_model(images, "convnet"), context, 10)[0] == "resolution,width"


def test_what_cannot_grow_does_not(make_images, make_model, context):
    images = make_images(side=16, channels=3)
    frozen = make_model(images, "resnet20", width=0.25)
    frozen.module.requires_grad_(False)
    assert _chosen(images, frozen, context, 10)[0] == "resolution"


@pytest.mark.parametrize(
    ("seconds", "settings", "told"),
    [
        (None, {}, []),
        (10, {"model": "auto"}, ["grow constant: a network that fits the time gains nothing by growing"]),
        (10, {"weights": "some.safetensors"}, []),
    ],
)
def test_nothing_grows_where_that_was_not_measured(images, make_model, context, seconds, settings, told):
    assert _chosen(images, make_model(images, "resnet20"), context, seconds, **settings) == ("constant", told)
