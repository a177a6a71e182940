"""The command line, the functions and the classifier do the same with the same images, seed and epochs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shoestring import Budget, Classifier, Model, evaluate, load, train
from shoestring.cli.main import main
from shoestring.models.inference import log_probabilities

EPOCHS, SEED = 12, 3


@pytest.mark.parametrize("model", ["simplecnn", "convnet"])
def test_one_training_by_three_interfaces(make_images, tmp_path, model):
    images, test = make_images(80), make_images(24, seed=1)
    arrays = {"images": images.pixels, "labels": images.targets, "test_images": test.pixels}
    np.savez(tmp_path / "data.npz", **arrays, test_labels=test.targets)
    words = ["run", str(tmp_path / "data.npz"), "--epochs", str(EPOCHS), "--seed", str(SEED), "--width", "0.125"]
    words += ["--model", model, "--device", "cpu", "--out", str(tmp_path / "run"), "--quiet"]
    assert main(words) == 0
    result = json.loads((tmp_path / "run" / "run.json").read_text())["result"]
    by_command = Model.load(tmp_path / "run")

    data = load(tmp_path / "data.npz")
    budget = Budget(epochs=EPOCHS, steps=("train",))
    settings = {"model": model, "width": 0.125, "seed": SEED}
    by_function = train(data.train, validation=data.validation, budget=budget, **settings)

    classifier = Classifier(epochs=EPOCHS, model=model, width=0.125, random_state=SEED, device="cpu")
    classifier.fit(images.pixels, images.targets)

    models = (by_command, by_function, classifier.model_)
    assert len({one.preprocessing for one in models}) == 1  # the views of a prediction, too
    assert [one.temperature for one in models] == pytest.approx([by_command.temperature] * 3)
    assert by_command.temperature != 1
    expected = np.exp(log_probabilities(by_command, data.test))
    assert np.allclose(np.exp(log_probabilities(by_function, data.test)), expected, atol=1e-6)
    assert np.allclose(classifier.predict_proba(test.pixels), expected, atol=1e-6)
    metrics = evaluate(by_function, data.test)
    assert (metrics.accuracy, metrics.loss) == pytest.approx((result["accuracy"], result["loss"]), abs=1e-5)


def test_ten_epochs_are_the_usual_budget(images):
    settings = {"model": "simplecnn", "width": 0.125}
    default = train(images, **settings)
    ten = train(images, budget=Budget(epochs=10, steps=("train",)), **settings)
    assert np.array_equal(log_probabilities(default, images), log_probabilities(ten, images))
    assert default.temperature == 1
    classifier = Classifier(**settings, validation_fraction=None, mirrored=False).fit(images.pixels, images.targets)
    assert np.allclose(classifier.predict_proba(images.pixels), np.exp(log_probabilities(ten, images)), atol=1e-6)
