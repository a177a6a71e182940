"""Networks that are trained on several labels per image."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from label_images import LABELS, label_arrays, label_images, noise_images
from shoestring import api
from shoestring.budget import Budget
from shoestring.config.plan import TrainPlan
from shoestring.data.augment import Augment
from shoestring.data.batches import Batches
from shoestring.errors import UserError
from shoestring.models.head_modules import CosineHead, MLPHead
from shoestring.models.inference import Predictor
from shoestring.models.model import Model
from shoestring.tasks import MULTI_LABEL
from shoestring.training.heads import regression
from shoestring.training.heads.class_means import fit_class_means
from shoestring.training.heads.label_probes import fit_label_probes
from shoestring.training.heads.on_features import train_on_features
from shoestring.training.loop import fit
from shoestring.training.probe import probe_head, some_of_each_class

NET = {"model": "simplecnn", "width": 0.25, "batch_size": 16, "flip": False}


@pytest.fixture
def images():
    return label_images(80)


def _train(images, *, epochs: float = 10, **settings) -> Model:
    budget = Budget(epochs=epochs, steps=("train",))
    return api.train(images, budget=budget, validation=label_images(40, seed=1), **{**NET, **settings})


@pytest.fixture(scope="module")
def trained() -> Model:
    return _train(label_images(80))


def test_train_evaluate_predict_save_and_load(trained, tmp_path):
    test = label_images(60, seed=2)
    metrics = api.evaluate(trained, test)
    assert metrics.as_dict()["task"] == "multi-label" and metrics.macro_average_precision > 0.95
    assert trained.task == MULTI_LABEL and trained.temperature != 1
    probabilities = trained.predict_proba(test)
    assert probabilities.shape == (60, 3) and not np.allclose(probabilities.sum(1), 1, atol=0.1)
    assert np.array_equal(trained.predict(test), (probabilities >= 0.5).astype(int))
    assert (trained.predict(test) == test.targets).all(1).mean() == pytest.approx(metrics.accuracy)
    trained.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert loaded.task == MULTI_LABEL and loaded.classes == LABELS
    assert np.array_equal(loaded.predict_proba(test), probabilities)


def test_predictions_are_averaged_over_augmented_images(images, make_model):
    from dataclasses import replace

    model = make_model(images)
    model = replace(model, temperature=2.0, preprocessing=replace(model.preprocessing, mirror=True))
    batch = model.prepare(torch.from_numpy(images.pixels))
    with torch.inference_mode():
        model.module.eval()
        mean = (model.module(batch).sigmoid() + model.module(batch.flip(-1)).sigmoid()) / 2
    (scores,) = Predictor(model)(images)
    assert scores == pytest.approx(torch.logit(mean).numpy() / 2, abs=1e-4)


@pytest.mark.parametrize(
    "settings", [{"mixup": 0.5, "class_weights": "balanced"}, {"class_weights": {"wings": 4.0}}, {"patience": 2}]
)
def test_training_settings(settings):
    metrics = api.evaluate(_train(label_images(80), **settings), label_images(60, seed=2))
    assert metrics.macro_average_precision > 0.9


def test_weights_of_labels_move_their_probabilities():
    noise = noise_images(80)
    plain, weighted = (
        api.train(noise, budget=Budget(epochs=4, steps=("train",)), class_weights=given, **NET)
        for given in (None, {"wings": 20.0})
    )
    change = (weighted.predict_proba(noise) - plain.predict_proba(noise)).mean(0)
    assert change[2] > 0.2 and abs(change[0]) < 0.2


def test_early_stopping_and_growth_and_other_heads(images):
    for settings in ({"grow": "resolution,width", "model": "convnet"}, {"head": "mlp:8"}, {"head": "dual"}):
        assert _train(images, epochs=4, **settings).predict_proba(images).shape == (80, 3)
    with pytest.raises(UserError, match="head prototype needs one class for each image, and these have several"):
        _train(images, head="prototype")


def test_a_pruned_network_keeps_its_labels(trained, images):
    budget = Budget(epochs=6, steps=("prune",))
    pruned = api.prune(trained, images, params=0.6, budget=budget, validation=label_images(40, seed=1))
    assert pruned.task == MULTI_LABEL and pruned.temperature != 1
    assert api.evaluate(pruned, label_images(60, seed=2)).macro_average_precision > 0.9


def test_images_of_another_task_are_refused(trained, images, make_images):
    with pytest.raises(UserError, match="the images have one class for each image, and the model several labels"):
        api.evaluate(trained, make_images())
    with pytest.raises(UserError, match="the validation images have one class for each image, and the images several"):
        api.train(images, validation=make_images())


def test_steps_minimize_the_binary_cross_entropy(images, make_model, context):
    model, losses = make_model(images), []

    def on_progress(step, fraction, values):
        losses.append(values.get("loss"))

    before = functional.binary_cross_entropy_with_logits(*_outputs(model, images))
    plan = TrainPlan(16, "float32", "sgd", learning_rate=0.1, weight_decay=0.0)
    fit(model, images, Budget(epochs=4, steps=("train",)).window("train"), plan, context)
    model.module.eval()
    assert functional.binary_cross_entropy_with_logits(*_outputs(model, images)) < 0.9 * before


def _outputs(model, images) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return model.module(model.prepare(torch.from_numpy(images.pixels))), torch.from_numpy(images.targets).float()


def test_batches_hold_labels_or_probabilities_of_absent_and_present(images, make_model):
    prepare = make_model(images).prepare
    weights = np.arange(240, dtype=np.float32).reshape(80, 3)
    batch = Batches(images, prepare, size=10, augment=Augment(flip=False)).draw()
    assert batch.labels.tolist() == images.targets[batch.index].tolist()
    batch = Batches(images.weighted(weights), prepare, size=10, augment=Augment(flip=False)).draw()
    assert batch.labels.shape == (10, 2, 3)
    assert batch.labels.sum(1).tolist() == weights[batch.index].tolist()
    assert batch.labels[:, 1].tolist() == (weights * images.targets)[batch.index].tolist()
    mixed = Batches(images, prepare, size=10, augment=Augment(flip=False, mixup=1.0)).draw().labels
    assert torch.allclose(mixed.sum(1), torch.ones(10, 3)) and ((mixed > 0) & (mixed < 1)).any()


def _rows(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Features around a far center, with a direction per label."""
    _, labels = label_arrays(count)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, (count, 12))
    return (1 + labels @ rng.normal(size=(3, 12)) + noise).astype(np.float32), labels


def _exact(logits: np.ndarray, labels: np.ndarray) -> float:
    return ((logits >= 0) == labels).all(1).mean()


def test_a_logistic_regression_for_each_label():
    features, labels = _rows()
    features /= np.linalg.norm(features, axis=1).mean()
    weights, biases = fit_label_probes(features, labels, classes=3)
    assert _exact(features @ weights.T + biases, labels) > 0.95
    expected = [
        [LogisticRegression(C=strength, max_iter=200).fit(features, column).coef_[0] for column in labels.T]
        for strength in (1.0, 10.0, 100.0)
    ]
    assert any(weights == pytest.approx(np.array(one), rel=1e-4, abs=1e-4) for one in expected)
    heavy = np.where(labels[:, :1] == 1, [[50.0, 1, 1]], 1).astype(np.float32)
    favored = fit_label_probes(features, labels, classes=3, sample_weight=heavy)
    assert (features @ favored[0].T + favored[1])[:, 0].mean() > (features @ weights.T + biases)[:, 0].mean() + 0.5


@pytest.mark.parametrize("weighted", [False, True])
def test_within_a_time_the_regressions_of_labels_are_the_same(weighted):
    features, labels = _rows()
    features /= np.linalg.norm(features, axis=1).mean()
    weights = np.linspace(0.2, 2, 600, dtype=np.float32).reshape(200, 3) * np.float32([1, 1, 50]) if weighted else None
    usual = fit_label_probes(features, labels, classes=3, sample_weight=weights)
    timed = fit_label_probes(features, labels, classes=3, sample_weight=weights, seconds=1e6)
    logits = [features @ weights.T + biases for weights, biases in (usual, timed)]
    assert ((logits[0] > 0) == (logits[1] > 0)).mean() > 0.98
    assert np.corrcoef(logits[0].ravel(), logits[1].ravel())[0, 1] > 0.98
    norms = [np.linalg.norm(own, axis=1) for own, _ in (usual, timed)]
    assert norms[1] == pytest.approx(norms[0], rel=0.5)


@pytest.mark.parametrize("seconds", [None, 1e6])
def test_labels_that_do_not_vary_get_their_frequency(seconds):
    features, labels = _rows(20)
    labels[:, 0], labels[:, 1] = 0, 1
    weights, biases = fit_label_probes(features, labels, classes=3, seconds=seconds)
    assert not weights[:2].any() and weights[2].any()
    assert biases[:2] == pytest.approx([np.log(0.5 / 20.5), np.log(20.5 / 0.5)])
    biases = fit_label_probes(features[:2], labels[:2] * 0, classes=3, seconds=seconds)[1]
    assert biases == pytest.approx([np.log(0.5 / 2.5)] * 3)


def test_regressions_of_labels_end_with_their_time(monkeypatch):
    readings = count()
    monkeypatch.setattr(regression.time, "monotonic", lambda: float(next(readings)))
    for name in ("_TOLERANCE", "_PRECONDITIONED_TOLERANCE"):
        monkeypatch.setattr(regression, name, 0.0)
    features, labels = _rows()
    weights, _ = fit_label_probes(features, labels, classes=3, seconds=30.0)
    assert next(readings) <= 30 + 12
    assert weights.any(1).all()


def test_heads_are_fitted_to_features():
    features, labels = _rows()
    torch.manual_seed(0)
    mlp, cosine = MLPHead(12, 3, (16,), 0.1), CosineHead(12, 3, learned=True)
    fit_class_means(cosine, features, labels)
    centered = features - cosine.center.numpy()
    centered /= np.linalg.norm(centered, axis=1, keepdims=True)
    mean = centered[labels[:, 1] == 1].mean(0)
    assert cosine.cosine.weight[1].detach().numpy() == pytest.approx(mean / np.linalg.norm(mean), abs=1e-4)
    for head, least in ((mlp, 0.9), (cosine, 0.5)):
        train_on_features(head, features, labels, sample_weight=np.ones(labels.shape, np.float32))
        with torch.no_grad():
            assert _exact(head.eval()(torch.from_numpy(features)).numpy(), labels) > least


def test_the_head_of_a_network_is_fitted(images, make_model):
    model = make_model(images, "resnet20")
    probe_head(model, images)
    metrics = api.evaluate(model, images)
    assert metrics.macro_average_precision > 0.9


def test_a_sample_has_images_of_each_label():
    images = label_images(200)
    few = some_of_each_class(images, 12, seed=0)
    assert len(few) == 12 and few.counts().min() >= 4
    none = images[np.flatnonzero(images.targets.sum(1) == 0)]
    assert len(some_of_each_class(none, 5, seed=0)) == 5
