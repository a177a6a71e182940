"""Training with images that have no labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring import Classifier, api, execute
from shoestring.budget import Budget
from shoestring.config.plan import UnlabeledPlan, run_plan, to_dict
from shoestring.config.recipe import Recipe, Train
from shoestring.data.images import Dataset
from shoestring.errors import UserError
from shoestring.execute import unlabeled
from shoestring.execute.first_part import FirstPart, UnlabeledUse
from shoestring.planning.resolve import resolve
from shoestring.planning.unlabeled import plan_unlabeled
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.progress import TrainingSummary

TRAIN = {"model": "simplecnn", "width": 0.25, "batch_size": 8, "use_unlabeled": True, "label_smoothing": 0.0}


def _run(images, others, context, *, validation=None, budget=None, **train):
    budget = budget or Budget(epochs=40, steps=("train",))
    recipe = Recipe(train=Train(**{**TRAIN, **train}))
    resolved = resolve(recipe, Dataset.of(images, validation), budget, context, steps=("train",))
    return execute.train_on_all(images, others, resolved, budget=budget, validation=validation)


@pytest.fixture
def divided(make_images):
    """Labeled images, others, and validation images."""
    images = make_images(150)
    return images[:24], images[24:114], images[114:]


def test_confident_images_are_trained_on(divided, context):
    notes = []
    labeled, others, validation = divided
    model, summary, _, use = _run(labeled, others, replace(context, log=notes.append), validation=validation)
    assert use is not None and (use.images, use.predicted) == (90, 90)
    assert 0 < use.used <= 90 and use.confidence is not None and 0.5 <= use.confidence <= 1
    assert use.accuracy is not None and use.accuracy > 0.9
    assert use.kept == (use.after >= use.before)
    assert summary.steps > 0
    assert execute.accuracy(model, validation) > 0.9
    assert any("of them with known labels" in note for note in notes)
    assert any(note.startswith("validation accuracy") for note in notes)


def test_true_labels_of_other_images_are_not_used(divided, context):
    labeled, others, validation = divided
    wrong = others[np.arange(len(others))]
    wrong._labels = (others._labels + 1) % 3  # type: ignore[operator]
    results = [_run(labeled, part, context, validation=validation) for part in (others, wrong)]
    for one, other in zip(results[0][0].module.parameters(), results[1][0].module.parameters()):
        assert one.equal(other)
    assert results[0][3].used == results[1][3].used
    assert results[0][3].accuracy > 0.9 > 0.1 > results[1][3].accuracy


def test_labels_that_make_the_network_worse_are_not_kept(divided, context, monkeypatch):
    labeled, others, validation = divided
    monkeypatch.setattr(unlabeled, "accuracy", lambda model, images: 0.0)
    first = {}
    original = unlabeled._label

    def remember(model, *rest):
        first.update({name: tensor.clone() for name, tensor in model.module.state_dict().items()})
        return original(model, *rest)

    monkeypatch.setattr(unlabeled, "_label", remember)
    notes = []
    model, _, _, use = _run(labeled, others, replace(context, log=notes.append), validation=validation)
    assert use is not None and not use.kept and use.after == 0
    assert all(tensor.equal(first[name]) for name, tensor in model.module.state_dict().items())
    assert any("the earlier network is kept" in note for note in notes)


def test_without_validation_images_the_confidence_is_fixed(divided, context):
    labeled, others, _ = divided
    use = _run(labeled, others, context)[3]
    assert use.confidence == 0.95 and use.before is use.after is None
    assert use.kept == (use.used > 0)
    assert _run(labeled, others, context, unlabeled_confidence=0.999999)[3].used < 90


def test_no_image_is_confident_enough(divided, context):
    labeled, others, validation = divided
    model, _, _, use = _run(labeled, others, context, validation=validation, unlabeled_confidence=1.0)
    assert use.used == 0 and use.accuracy is None and not use.kept
    assert execute.accuracy(model, validation) > 0.9


def test_without_other_images_training_is_as_usual(divided, context):
    labeled, others, validation = divided
    for none in (None, others[:0]):
        model, _, _, use = _run(labeled, none, context, validation=validation)
        usual = _run(labeled, None, context, validation=validation, use_unlabeled=False)[0]
        assert use is None
        assert all(one.equal(other) for one, other in zip(model.module.parameters(), usual.module.parameters()))


def test_a_budget_that_is_too_small_for_two_parts_trains_on_labeled_images(divided, context):
    labeled, others, validation = divided
    use = _run(labeled, others, context, validation=validation, budget=Budget(epochs=5, steps=("train",)))[3]
    assert use == UnlabeledUse(90)


def test_a_budget_in_flops_pays_for_predictions(divided, context):
    labeled, others, validation = divided
    budget = Budget(flops=2e8, steps=("train",))
    use = _run(labeled, others, context, validation=validation, budget=budget)[3]
    assert 0 < use.predicted <= 90
    assert budget.counted <= 1.01 * 2e8


def test_the_first_part_is_saved_and_loaded(images, make_model, tmp_path):
    model = make_model(images)
    summary = TrainingSummary(3, 1.0, 8, "sgd", "float32", "constant", 0.0, "budget")
    part = FirstPart(model, summary, np.array([3, 1]), np.array([0, 2]), UnlabeledUse(9, 8, 2, 0.9, None, 0.5))
    assert FirstPart.load(tmp_path) is FirstPart.load(None) is None
    part.save(None)
    part.save(tmp_path)
    loaded = FirstPart.load(tmp_path)
    assert loaded is not None
    assert (loaded.summary, loaded.use) == (summary, part.use)
    assert loaded.indices.tolist() == [3, 1] and loaded.labels.tolist() == [0, 2]
    assert all(one.equal(other) for one, other in zip(model.module.parameters(), loaded.model.module.parameters()))


@pytest.mark.parametrize("stop", [3, 20])
def test_an_interrupted_training_continues(divided, context, tmp_path, every_step, monkeypatch, stop):
    labeled, others, validation = divided
    reports, results, read, load = [], [], [], Checkpoint.load

    def counted(checkpoint):
        """Read a checkpoint, which takes long for a large network."""
        saved = load(checkpoint)
        read.extend([] if saved is None else [saved])
        return saved

    def interrupt(*report):
        reports.append(report)
        if len(reports) == stop:
            raise KeyboardInterrupt

    for name in ("whole", "cut"):
        own = replace(context, folder=tmp_path / name)
        (tmp_path / name).mkdir()
        settings = {"validation": validation, "budget": Budget(epochs=12, steps=("train",))}
        if name == "cut":
            with pytest.raises(KeyboardInterrupt):
                _run(labeled, others, replace(own, on_progress=interrupt), **settings)
            settings["budget"] = Budget(epochs=12, steps=("train",))
            monkeypatch.setattr(Checkpoint, "load", counted)
        results.append(_run(labeled, others, own, **settings))
    assert len(read) == 1
    (one, *_, use), (other, *_, again) = results
    assert use == again
    assert all(first.equal(second) for first, second in zip(one.module.parameters(), other.module.parameters()))


def test_a_plan_says_how_images_without_labels_are_used(images, context):
    budget, recipe = Budget(epochs=4, steps=("train",)), Recipe(train=Train(**TRAIN, unlabeled_confidence=0.9))
    plan = resolve(recipe, Dataset.of(images), budget, context, steps=("train",)).plan
    assert plan.unlabeled == UnlabeledPlan(0.4, 0.2, 0.9)
    assert run_plan(to_dict(plan)).unlabeled == plan.unlabeled
    assert plan_unlabeled(Train(), context) is None
    with pytest.raises(UserError, match="use --schedule deadline"):
        plan_unlabeled(Train(use_unlabeled=True, schedule="anytime"), context)
    with pytest.raises(UserError, match="single process"):
        plan_unlabeled(Train(use_unlabeled=True), replace(context, distributed=object()))


def test_python_functions_take_images_without_labels(divided):
    labeled, others, validation = divided
    settings = {**TRAIN, "budget": Budget(epochs=30, steps=("train",))}
    model = api.train(labeled, validation=validation, unlabeled=others, **settings)
    assert execute.accuracy(model, validation) > 0.9
    with pytest.raises(UserError, match="not selected"):
        api.train(labeled, **settings)


def test_a_classifier_uses_unselected_and_given_images(divided, arguments):
    labeled, others, _ = divided
    X, y = labeled.pixels, labeled.targets
    settings = {"model": "simplecnn", "width": 0.25, "batch_size": 8, "mirrored": False, "device": "cpu", "epochs": 30}
    given = Classifier(**settings).fit(X, y, unlabeled=others.pixels)
    assert (given.unlabeled_.images, given.unlabeled_.accuracy) == (90, None)
    both = Classifier(**settings, examples=12, select="random", use_unlabeled=True)
    both.fit(X, y, unlabeled=others.pixels)
    assert both.unlabeled_.images == 90 + len(X) - 12 - round(0.1 * len(X) + 0.5)
    assert Classifier(**settings).fit(X, y).unlabeled_ is None
    with pytest.raises(UserError, match="not selected, or have no labels: set examples"):
        Classifier(**settings, use_unlabeled=True).fit(X, y)
    with pytest.raises(UserError, match="no effect without use_unlabeled"):
        Classifier(**settings, unlabeled_confidence=0.9).fit(X, y)
