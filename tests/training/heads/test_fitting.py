from __future__ import annotations

import numpy as np
import pytest
import torch

from shoestring import Classifier, api
from shoestring.budget import Budget
from shoestring.config.plan import FineTune, TrainPlan
from shoestring.config.recipe import Train
from shoestring.execute import accuracy
from shoestring.models import inference
from shoestring.models.head_modules import CosineHead, MLPHead
from shoestring.models.heads import head_module
from shoestring.planning.pretrained import choose_fine_tuning
from shoestring.training import probe
from shoestring.training.fine_tuning import rate_factors
from shoestring.training.heads.class_means import fit_class_means
from shoestring.training.heads.on_features import train_on_features, training_flops
from shoestring.training.loop import fit
from shoestring.training.probe import head_flops, method_of, probe_head

LITE0 = "timm:tf_efficientnet_lite0"


def _rows(count: int = 60, classes: int = 3, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Features around a far center, with one direction per class."""
    rng, labels = np.random.default_rng(0), np.arange(count) % classes
    directions = rng.normal(size=(classes, size))
    return (10 + directions[labels] + rng.normal(0, 0.2, (count, size))).astype(np.float32), labels


def _head(classes: int = 3, size: int = 12, **about) -> CosineHead:
    torch.manual_seed(0)
    return CosineHead(size, classes, **{"learned": False, **about})


def _accuracy(head, features, labels) -> float:
    with torch.no_grad():
        return (head.eval()(torch.from_numpy(features)).argmax(1).numpy() == labels).mean()


def test_weights_are_the_means_of_centered_features_of_unit_length():
    features, labels = _rows()
    head = _head()
    fit_class_means(head, features, labels)
    center = np.mean([features[labels == label].mean(0) for label in range(3)], 0)
    assert head.center.numpy() == pytest.approx(center, abs=1e-4)
    units = features - center
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    for label, weight in enumerate(head.cosine.weight.detach().numpy()):
        mean = units[labels == label].mean(0)
        assert weight == pytest.approx(mean / np.linalg.norm(mean), abs=1e-4)
    assert _accuracy(head, features, labels) == 1


def test_images_are_weighted_in_the_means():
    features = np.array([[2, 0], [0, 2], [-2, 0], [0, -2]], dtype=np.float32)
    labels, head = np.array([0, 0, 1, 1]), _head(2, 2)
    fit_class_means(head, features, labels, sample_weight=np.array([1, 0, 1, 0], dtype=np.float32))
    assert head.cosine.weight.detach().numpy() == pytest.approx(np.array([[1, 0], [-1, 0]]), abs=1e-6)


def test_classes_without_images_and_images_at_the_center_get_a_random_direction():
    head = _head(4, 5)
    fit_class_means(head, np.ones((3, 5), dtype=np.float32), np.array([0, 0, 2]))
    weight = head.cosine.weight.detach()
    assert weight.isfinite().all()
    assert torch.allclose(weight.norm(dim=1), torch.ones(4), atol=1e-5)


@pytest.mark.parametrize("factor", [1.0, 1e-3, 1e3])
def test_a_head_is_trained_on_features_of_any_length(factor):
    features, labels = _rows()
    features *= np.float32(factor)
    torch.manual_seed(0)
    mlp = MLPHead(12, 3, (16, 8), dropout=0.2)
    train_on_features(mlp, features, labels)
    assert _accuracy(mlp, features, labels) > 0.95
    assert not mlp.training


def test_training_a_head_is_reproducible_and_changes_no_random_state():
    features, labels = _rows()

    def trained() -> torch.Tensor:
        torch.manual_seed(0)
        mlp = MLPHead(12, 3, (8,), dropout=0.2)
        after = torch.get_rng_state()
        train_on_features(mlp, features, labels, seed=1)
        assert torch.equal(torch.get_rng_state(), after)
        return mlp.last.weight.detach().clone()

    assert torch.equal(trained(), trained())


def test_training_a_head_ends_with_its_time():
    features, labels = _rows()
    torch.manual_seed(0)
    mlp, same = MLPHead(12, 3, (8,), dropout=0.0), MLPHead(12, 3, (8,), dropout=0.0)
    same.load_state_dict(mlp.state_dict())
    train_on_features(mlp, features, labels, seconds=1e-9)  # a single step, at learning rate 0
    assert torch.equal(mlp.last.weight, same.last.weight)
    train_on_features(mlp, features, labels, seconds=1e9)
    assert not torch.equal(mlp.last.weight, same.last.weight)


def test_a_cosine_head_is_trained_from_the_class_means():
    features, labels = _rows()
    labels = labels.copy()
    labels[:20] = 0  # so that means are not best
    means, learned = _head(), _head(learned=True)
    for head in (means, learned):
        fit_class_means(head, features, labels)
    before = learned.log_scale.item()
    train_on_features(learned, features, labels)
    assert learned.log_scale.item() != before
    assert _loss(learned, features, labels) < _loss(means, features, labels)


def _loss(head, features, labels) -> float:
    with torch.no_grad():
        logits = head.eval()(torch.from_numpy(features))
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item()


@pytest.mark.parametrize(
    ("head", "method"),
    [
        ("linear", "logistic regression"),
        ("dual", "logistic regression"),
        ("mlp:16", "adamw"),
        ("cosine", "adamw"),
        ("prototype", "class means"),
    ],
)
def test_only_the_head_is_fitted(images, make_model, head, method):
    model = make_model(images, "resnet20", width=0.5, head=head)
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    features = probe_head(model, images)
    assert features.shape == (60, 32)
    changed = {name for name, tensor in model.module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith("linear.") for name in changed)
    assert accuracy(model, images) > 0.9
    assert method_of(model) == method
    assert (head_flops(model, 60) > 0) == (method == "adamw")


@pytest.mark.parametrize("head", ["linear", "mlp:16", "prototype"])
def test_without_time_a_head_is_fitted_to_the_first_images(images, make_model, tmp_path, monkeypatch, head):
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path))
    model = make_model(images, "resnet20", width=0.5, head=head)
    monkeypatch.setattr(probe, "MIN_PROBED", 40)
    monkeypatch.setattr(inference, "_CACHED_VALUES", 0)  # batches of 16 images
    features = probe_head(model, images, seconds=0.0)
    assert len(features) == 48
    assert not list(tmp_path.rglob("*.npy"))
    assert len(probe_head(model, images)) == 60


def test_flops_of_training_a_head_are_those_of_its_steps():
    assert training_flops(MLPHead(10, 2, (5,), 0.0), 64) == 6 * 300 * 64 * (10 * 5 + 5 + 5 * 2 + 2)


@pytest.mark.parametrize("head", ["mlp:16", "cosine", "prototype", "dual"])
def test_the_head_alone_is_tuned(images, make_model, context, head):
    model = make_model(images, "resnet20", width=0.25, head=head)
    assert rate_factors(model, FineTune(head_factor=7.0))[model.heads[0]] == 7
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    plan = TrainPlan(10, "float32", "adamw", learning_rate=1e-2, weight_decay=0.01, fine_tune=FineTune("head"))
    fit(model, images, Budget(epochs=2, steps=("train",)).window("train"), plan, context)
    changed = {name for name, tensor in model.module.state_dict().items() if not torch.equal(tensor, before[name])}
    tuned = {name for name, _ in model.module.named_parameters() if name.startswith("linear.")}
    assert changed == tuned and tuned


def test_prototypes_are_fitted_to_features_of_any_weights(images, make_model):
    model = make_model(images, "resnet20", width=0.25, head="prototype")
    settings = {"model": "resnet20", "weights": "some.safetensors", "tune": "head"}
    fitted = choose_fine_tuning(model, Train(**settings, head="prototype"), epochs=3)
    trained = choose_fine_tuning(model, Train(**settings, head="cosine"), epochs=3)
    assert fitted is not None and fitted.probe
    assert trained is not None and not trained.probe


@pytest.mark.parametrize("head", ["mlp:16", "cosine", "prototype", "dual"])
def test_heads_are_fitted_to_pretrained_features(make_images, head):
    images = make_images(30, side=16, channels=3)
    model = api.train(images, model=LITE0, head=head, tune="head", budget=Budget(epochs=2, steps=("train",)))
    assert model.options == {"head": head}
    assert (model.predict(images) == np.array(images.classes)[images.targets]).mean() > 0.9


def test_a_classifier_has_a_head(images):
    settings = {"model": "simplecnn", "width": 0.25, "mirrored": False, "device": "cpu", "label_smoothing": 0.0}
    classifier = Classifier(epochs=20, head="mlp:16", **settings).fit(images.pixels, images.targets)
    assert isinstance(head_module(classifier.model_.module), MLPHead)
    assert classifier.score(images.pixels, images.targets) > 0.6
