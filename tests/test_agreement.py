"""The command line, the functions and the classifier do the same with the same images, seed and epochs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring import Budget, Classifier, Model, evaluate, load, train
from shoestring.cli.main import main
from shoestring.models.inference import log_probabilities
from shoestring.runs.directory import RunDir
from shoestring.runs.validate import read_recipe

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


NET = ("--model", "simplecnn", "--width", "0.125", "--device", "cpu")


@pytest.fixture(scope="module")
def rectangles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wide and high photos, bright at one of two ends."""
    root, rng = tmp_path_factory.mktemp("rectangles") / "photos", np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for end, name in enumerate(("first", "last")):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 120, (14, 26, 3), dtype=np.uint8)
                pixels[:, slice(13) if end == 0 else slice(13, 26)] += 120
                turned = pixels.swapaxes(0, 1) if index % 2 else pixels
                Image.fromarray(turned).save(root / split / name / f"{index:02d}.png")
    return root


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_rectangles_become_the_same_squares_on_every_path(rectangles, tmp_path, call, fit):
    run, files = tmp_path / "run", sorted((rectangles / "test").rglob("*.png"))
    call("train", rectangles, "--fit", fit, "--resolution", 12, "--epochs", 20, *NET, "--out", run)
    model = Model.load(run)
    assert json.loads((run / "train" / "model.json").read_text())["preprocessing"]["fit"] == fit

    def expected(model: Model, fit: str) -> np.ndarray:
        test = load(rectangles, resolution=12, fit=fit).test  # type: ignore[arg-type]
        return np.exp(log_probabilities(model, test[np.argsort(test.ids)]))

    right = expected(model, fit)
    for other in {"crop", "squash", "pad"} - {fit}:
        assert abs(expected(model, other) - right).max() > 1e-3
    opened = [Image.open(file) for file in files]
    for form in (files, opened, [np.asarray(image) for image in opened]):
        assert np.allclose(model.predict_proba(form), right, atol=1e-6)
    wide = [np.asarray(image) for image in opened if image.width > image.height]
    rows = [image.width > image.height for image in opened]
    assert np.allclose(model.predict_proba(np.stack(wide)), right[rows], atol=1e-6)
    for guess, row in zip(call("predict", run, *files), right):
        assert guess["classes"][0]["probability"] == pytest.approx(row.max(), abs=1e-5)
    for where, words in (("own", ()), ("other", ("--on", rectangles))):
        call("evaluate", run, *words, "--out", tmp_path / where)
        with (tmp_path / where / "predictions.csv").open(newline="") as table:
            confidences = [float(row["confidence"]) for row in sorted(csv.DictReader(table), key=lambda row: row["id"])]
        assert confidences == pytest.approx(right.max(1), abs=1e-4)

    train_files = sorted((rectangles / "train").rglob("*.png"))
    classifier = Classifier(epochs=20, model="simplecnn", width=0.125, device="cpu", resolution=12, image_fit=fit)
    classifier.fit(train_files, [file.parent.name for file in train_files])
    assert classifier.model_.preprocessing.fit == fit
    assert np.allclose(classifier.predict_proba(files), expected(classifier.model_, fit), atol=1e-6)


def test_pruning_inherits_the_fit(rectangles, tmp_path):
    words = ["--quiet", "--epochs", "20", "--out"]
    assert (
        main(["train", str(rectangles), "--fit", "pad", "--resolution", "12", *NET, *words, str(tmp_path / "a")]) == 0
    )
    assert main(["prune", str(tmp_path / "a"), "--params", "0.5", *words, str(tmp_path / "b")]) == 0
    assert Model.load(tmp_path / "b").preprocessing.fit == "pad"
    recipe = read_recipe(RunDir(tmp_path / "b"))
    assert recipe is not None and recipe.fit == "pad"


def test_runs_of_earlier_versions_have_the_center_square(rectangles, tmp_path, capsys):
    run = tmp_path / "run"
    assert (
        main(["train", str(rectangles), "--resolution", "12", "--epochs", "20", *NET, "--out", str(run), "--quiet"])
        == 0
    )
    before = json.loads((run / "run.json").read_text())["result"]["accuracy"]
    for file, part in ((run / "run.json", "recipe"), (run / "train" / "model.json", "preprocessing")):
        content = json.loads(file.read_text())
        assert content[part].pop("fit") == "crop"
        file.write_text(json.dumps(content))
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == before
    assert Model.load(run).preprocessing.fit == "crop"
