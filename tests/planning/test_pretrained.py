from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from shoestring import Budget, api
from shoestring.cli.main import main
from shoestring.config.plan import FineTune
from shoestring.config.recipe import Grow, Recipe, Train
from shoestring.data.build import AtMost
from shoestring.errors import UserError
from shoestring.models import Model, Preprocessing
from shoestring.planning.model import Network, build_network
from shoestring.planning.optimizer import choose_optimizer, peak_rates
from shoestring.planning.pretrained import (
    SIDES,
    choose_fine_tuning,
    is_pretrained,
    sides_for,
    stored_resolution,
    with_weights,
)

LITE0 = "timm:tf_efficientnet_lite0"
PRETRAINED = Train(model=LITE0, weights="pretrained")
HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"model": "auto"}, None),
        ({"model": "convnet"}, None),
        ({"model": LITE0}, "pretrained"),
        ({"model": "timm:resnet18"}, "pretrained"),
        ({"model": "timm:ghostnet_050"}, None),  # there are no weights of it
        ({"model": LITE0, "weights": "none"}, "none"),
        ({"model": "convnet", "weights": "none"}, "none"),
        ({"model": "timm:ghostnet_050", "weights": "pretrained"}, "pretrained"),
    ],
)
def test_timm_networks_start_from_pretrained_weights(settings, weights):
    chosen = with_weights(Train(**settings))
    assert chosen.weights == weights
    assert is_pretrained(chosen) == (weights == "pretrained")
    assert with_weights(chosen) == chosen


def test_the_input_is_that_of_the_pretrained_weights(images):
    settings = replace(PRETRAINED, tta="crops", flip=True)
    model = build_network(Network(LITE0, side=128), images, settings, seed=0)  # of grayscale images of 8 x 8 pixels
    assert model.preprocessing == Preprocessing(128, 3, HALF, HALF, True, 0, "bicubic")
    large = build_network(Network(LITE0, side=96), _photos(64), settings, seed=0)
    assert large.preprocessing == Preprocessing(96, 3, HALF, HALF, True, 3, "bicubic")


def test_the_input_is_that_of_the_saved_model(images, make_model, tmp_path):
    saved = make_model(images, "resnet20", width=0.25)
    saved = replace(saved, preprocessing=replace(saved.preprocessing, mean=(0.25,), interpolation="bicubic"))
    saved.save(tmp_path)
    settings = Train(model="resnet20", width=0.25, weights=str(tmp_path))
    model = build_network(Network("resnet20", {"width": 0.25}), images, settings, seed=0)
    assert model.preprocessing == replace(saved.preprocessing, shift=model.preprocessing.shift)


@pytest.mark.parametrize(("stored", "sides"), [(32, [96, 128]), (160, [96, 128, 160]), (300, list(SIDES))])
def test_small_images_are_not_enlarged_further_than_the_default(stored, sides):
    assert sides_for(_photos(stored)) == sides


def test_fine_tuning_needs_weights_and_known_blocks(images):
    model = build_network(Network(LITE0, side=96), images, PRETRAINED, seed=0)
    assert choose_fine_tuning(model, PRETRAINED, epochs=3).tune == "all"
    assert choose_fine_tuning(model, PRETRAINED, epochs=0.1).tune == "head"
    given = choose_fine_tuning(model, replace(PRETRAINED, tune="last:2"), epochs=0.1)
    assert (given.tune, given.probe) == ("last:2", True)
    assert choose_fine_tuning(model, Train(model=LITE0), epochs=3) is None
    with pytest.raises(UserError, match="--tune names blocks of a pretrained network"):
        choose_fine_tuning(model, Train(model=LITE0, tune="head"), epochs=3)
    with pytest.raises(UserError, match="unknown block of timm:tf_efficientnet_lite0 'layer3'"):
        choose_fine_tuning(model, replace(PRETRAINED, tune="layer3"), epochs=3)


def test_own_weights_are_tuned_only_on_request(images, make_model):
    model, settings = make_model(images, "resnet20", width=0.25), Train(model="resnet20", weights="some.safetensors")
    assert choose_fine_tuning(model, settings, epochs=3) is None
    tuned = choose_fine_tuning(model, replace(settings, tune="layer3"), epochs=3)
    assert isinstance(tuned, FineTune) and not tuned.probe


def test_requested_learning_rates_are_exact(images):
    model = build_network(Network(LITE0, side=96), images, PRETRAINED, seed=0)
    assert choose_optimizer(model, PRETRAINED) == "adamw"
    assert peak_rates(model, PRETRAINED, "adamw", batch_size=10) == (3e-4, 0.02)
    assert peak_rates(model, replace(PRETRAINED, learning_rate=0.5), "adamw", batch_size=10)[0] == 0.5
    loaded = Train(model="resnet20", weights="some.safetensors")
    assert peak_rates(model, loaded, "sgd", batch_size=128)[0] == pytest.approx(0.01)
    assert peak_rates(model, replace(loaded, learning_rate=0.5), "sgd", batch_size=128)[0] == 0.5


def test_photos_are_stored_larger_for_pretrained_networks():
    assert stored_resolution(Recipe(train=Train(model=LITE0))) == AtMost(160)
    assert stored_resolution(Recipe(train=Train(model=LITE0, weights="none"))) is None
    assert stored_resolution(Recipe()) == AtMost(160)  # a pretrained network may be chosen
    assert stored_resolution(Recipe(train=Train(width=0.5))) is None
    assert stored_resolution(Recipe(grow=Grow("width"))) is None
    assert stored_resolution(Recipe(resolution=50, train=Train(model=LITE0))) == 50


def test_a_head_alone_is_a_logistic_regression(make_images):
    images = make_images(30, side=16, channels=3)
    model = api.train(images, model=LITE0, tune="head", budget=Budget(epochs=2, steps=("train",)))
    again = api.train(images, model=LITE0, tune="head", budget=Budget(epochs=2, steps=("train",)))
    assert (model.predict(images) == again.predict(images)).all()
    assert (model.predict(images) == np.array(images.classes)[images.targets]).mean() > 0.9


def test_a_run_fine_tunes_a_pretrained_network_which_can_be_pruned(tmp_path, capsys, make_images):
    images = make_images(24, classes=2, side=32, channels=3)
    np.savez(tmp_path / "images.npz", images=images.pixels, labels=images.labels)
    words = ["run", str(tmp_path / "images.npz"), "--model", LITE0, "--no-flip", "--device", "cpu"]
    words += ["--epochs", "4", "--batch-size", "4"]
    words += ["--out", str(tmp_path / "run"), "--json", "--quiet"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"] >= 0.75
    plan = json.loads((tmp_path / "run" / "run.json").read_text())["plan"]["train"]
    assert plan["side"] == 128 and plan["optimizer"] == "adamw"
    assert plan["fine_tune"] == {"tune": "all", "head_factor": 1.0, "decay": 0.9, "probe": True, "views": 0}
    model = Model.load(tmp_path / "run")
    assert (model.preprocessing.mean, model.preprocessing.interpolation) == (HALF, "bicubic")
    assert main(words) == 0
    capsys.readouterr()
    pruned = ["prune", str(tmp_path / "run"), "--macs", "0.7", "--epochs", "3", "--batch-size", "4", "--device", "cpu"]
    assert main([*pruned, "--out", str(tmp_path / "pruned"), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["macs"] <= 0.7 * result["macs"]


def _photos(side: int):
    from shoestring.data.memory import in_memory

    pixels = np.random.default_rng(0).integers(0, 255, (6, side, side, 3), dtype=np.uint8)
    return in_memory(pixels, np.arange(6) % 2, classes=["a", "b"], resolution=side, mirrored=True)
