from __future__ import annotations

import inspect
import pickle
import warnings
from dataclasses import fields

import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from shoestring import Classifier, Model, UserError
from shoestring.config.recipe import Train

pytestmark = pytest.mark.usefixtures("arguments")

SETTINGS = {"epochs": 16, "model": "simplecnn", "mirrored": False, "device": "cpu"}
QUICK = {**SETTINGS, "epochs": 12, "width": 0.125}


@pytest.fixture(scope="module")
def named(make_images) -> tuple[np.ndarray, np.ndarray]:
    """Images (60, 8, 8) and string labels."""
    images = make_images()
    return images.pixels[..., 0], np.array(["cow", "ant", "bee"])[images.targets]


@pytest.fixture(scope="module")
def fitted(named) -> Classifier:
    return Classifier(**SETTINGS).fit(*named)


def test_fit_predict_and_score_with_string_labels(named, fitted):
    X, y = named
    assert fitted.classes_.tolist() == ["ant", "bee", "cow"]
    assert fitted.subset_ is None
    assert fitted.n_features_in_ == 64
    assert set(fitted.ledger_) == {"plan", "train", "calibrate"}
    probabilities = fitted.predict_proba(X)
    assert probabilities.shape == (60, 3)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert np.array_equal(fitted.predict(X), fitted.classes_[probabilities.argmax(1)])
    assert fitted.score(X, y) == (fitted.predict(X) == y).mean() > 0.8
    assert np.allclose(fitted.predict_proba(X / 255), probabilities, atol=1e-5)


def test_predictions_have_the_type_of_the_labels(named):
    X, _ = named
    y = np.arange(60) % 3 * 10 - 5
    classifier = Classifier(**QUICK).fit(X, y)
    assert classifier.predict(X).dtype == y.dtype
    assert set(classifier.predict(X).tolist()) <= {-5, 5, 15}


def test_parameters_are_stored_unchanged_and_cloned():
    classifier = Classifier(time="5m", examples=100, macs=0.5)
    assert classifier.get_params()["time"] == "5m"
    twin = clone(classifier).set_params(random_state=3, learning_rate=0.1)
    assert {**classifier.get_params(), "random_state": 3, "learning_rate": 0.1} == twin.get_params()
    assert not hasattr(twin, "model_")


def test_all_training_settings_are_parameters():
    parameters = inspect.signature(Classifier.__init__).parameters
    for field in fields(Train):
        name = {"class_weights": "class_weight"}.get(field.name, field.name)  # as in scikit-learn
        assert parameters[name].default == field.default, name


def test_select_train_and_prune_within_one_budget(named, fitted):
    X, y = named
    settings = {**SETTINGS, "epochs": 30, "examples": 36, "select": "random", "params": 0.5}
    one, same = (Classifier(**settings).fit(X, y) for _ in range(2))
    assert one.subset_ is not None and len(one.subset_) == 36
    assert set(one.ledger_) == {"plan", "select", "train", "prune", "calibrate"}
    params = [sum(weight.numel() for weight in c.model_.module.parameters()) for c in (one, fitted)]
    assert params[0] <= 0.5 * params[1]
    assert np.array_equal(one.predict_proba(X), same.predict_proba(X))


def test_fitted_classifier_is_saved_pickled_and_loaded(named, fitted, tmp_path):
    X, _ = named
    expected = fitted.predict_proba(X)
    fitted.save(str(tmp_path / "model"))
    assert Model.load(tmp_path / "model").classes == ("ant", "bee", "cow")
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), expected)
    joblib.dump(fitted, tmp_path / "classifier.joblib")
    assert np.array_equal(joblib.load(tmp_path / "classifier.joblib").predict_proba(X), expected)


def test_methods_raise_before_fitting(named, tmp_path):
    with pytest.raises(NotFittedError):
        Classifier(epochs=1).predict(named[0])
    with pytest.raises(NotFittedError):
        Classifier(epochs=1).save(tmp_path)


def test_grid_search_cross_validation_and_pipeline(named):
    X, y = named
    half = FunctionTransformer(lambda images: images // 2)
    search = GridSearchCV(Classifier(**QUICK), {"learning_rate": [0.01, 0.1]}, cv=2).fit(
        X, y, sample_weight=np.ones(60)
    )
    assert search.best_estimator_.predict(X).shape == (60,)
    scores = cross_val_score(make_pipeline(half, Classifier(**QUICK)), X, y, cv=2)
    assert scores.shape == (2,) and np.isfinite(scores).all()


def test_scikit_learn_estimator_checks(named):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that it skips checks of 2-D arrays
        check_estimator(Classifier(**QUICK))
    tags = Classifier(time="5s").__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert (tags.input_tags.two_d_array, tags.input_tags.three_d_array, tags.input_tags.string) == (False, True, True)
    assert tags.non_deterministic and not Classifier(epochs=1).__sklearn_tags__().non_deterministic
    assert tags.target_tags.required and not tags.target_tags.multi_output


def test_random_state_determines_the_result(named):
    X, y = named
    first, again, other = (Classifier(**QUICK, random_state=s).fit(X, y).predict_proba(X) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    repeated = [Classifier(**QUICK, random_state=np.random.RandomState(5)).fit(X, y).predict_proba(X) for _ in range(2)]
    assert np.array_equal(*repeated)


def test_weights_decide_between_contradictory_labels(named):
    X, _ = named
    X = np.concatenate([X, X])
    y = np.repeat(["right", "wrong"], 60)
    for heavy in ("right", "wrong"):
        weight = np.where(y == heavy, 10.0, 1.0)
        by_sample = Classifier(**QUICK).fit(X, y, sample_weight=weight)
        by_class = Classifier(**QUICK, class_weight={heavy: 10.0}).fit(X, y)
        assert by_sample.predict(X).tolist() == by_class.predict(X).tolist() == [heavy] * 120
        assert np.array_equal(by_sample.predict_proba(X), by_class.predict_proba(X))


def test_weight_of_zero_excludes_the_image(named):
    X, y = named
    weight = (np.arange(60) % 4 != 0) * 2.5
    weighted = Classifier(**QUICK).fit(X, y, sample_weight=weight)
    without = Classifier(**QUICK).fit(X[weight > 0], y[weight > 0], sample_weight=np.ones(45))
    assert np.array_equal(weighted.predict_proba(X), without.predict_proba(X))


def test_fit_accepts_paths_pil_images_and_data_frames(named, tmp_path):
    X, y = named
    files = []
    for number, pixels in enumerate(X):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        files.append(str(tmp_path / f"{number}.png"))
    expected = Classifier(**QUICK).fit(X, y).predict_proba(X)
    forms = [files, [Image.open(file) for file in files], pd.DataFrame({"id": range(60), "path": files})]
    for form in forms:
        labels = pd.Series(y) if isinstance(form, pd.DataFrame) else list(y)
        assert np.array_equal(Classifier(**QUICK).fit(form, labels).predict_proba(form), expected)


def test_validation_images_are_passed_held_out_or_absent(named, make_images):
    X, y = named
    other = make_images(30, seed=1)
    validation = (other.pixels[..., 0], np.array(["cow", "ant", "bee"])[other.targets])
    by_data = Classifier(**QUICK).fit(X, y, validation_data=validation)
    none = Classifier(**QUICK, validation_fraction=None).fit(X, y)
    assert none.model_.temperature == 1 != by_data.model_.temperature
    assert np.array_equal(none.predict(X), by_data.predict(X))
    few = Classifier(**QUICK).fit(X[:3], y[:3])  # one image per class: none can be held out
    assert few.model_.temperature == 1
    with pytest.raises(UserError, match="must be a pair"):
        Classifier(**QUICK).fit(X, y, validation_data=X)
    with pytest.raises(UserError, match="unknown class 'dog' in y"):
        Classifier(**QUICK).fit(X, y, validation_data=(X[:1], ["dog"]))


WRONG = [
    (lambda X, y: (X, np.eye(3)[np.arange(60) % 3]), "one-hot"),
    (lambda X, y: (X, y[:59]), "60 images and y 59 labels"),
    (lambda X, y: (X, None), "y is None"),
    (lambda X, y: (X[:0], y[:0]), "is empty"),
    (lambda X, y: ([], []), "is empty"),
    (lambda X, y: (X[:1], y[:1]), "two classes or more"),
    (lambda X, y: (X, ["cow"] * 60), "two classes or more"),
    (lambda X, y: (X, [*y[:59], None]), "missing labels"),
    (lambda X, y: (X, np.array([*y[:59], pd.NA], dtype=object)), "missing labels"),
    (lambda X, y: (X, np.linspace(0, 1, 60)), "real numbers"),
    (lambda X, y: (X, [np.nan] * 60), "NaN"),
    (lambda X, y: (X, np.array([1, "a"] * 30, dtype=object)), "mixes labels of types int and str"),
    (lambda X, y: (np.where(np.arange(64).reshape(8, 8) == 3, np.nan, X / 255), y), "X holds NaN"),
    (lambda X, y: (X / 10, y), "floats in 0"),
    (lambda X, y: (X.astype(int), y), "expected uint8"),
    (lambda X, y: (X.reshape(60, 64), y), r"shape \(60, 64\)"),
    (lambda X, y: (X[:, :0], y), "no pixels"),
    (lambda X, y: (["nowhere.png"] * 60, y), "cannot read nowhere.png"),
    (lambda X, y: ("nowhere.png", y), "X is a str"),
    (lambda X, y: (None, y), "X is a NoneType"),
    (lambda X, y: ([3] * 60, y), "X holds a int"),
    (lambda X, y: (["a.png"] * 59 + [Image.new("L", (8, 8))], y), "mixes images and paths"),
    (lambda X, y: ([[[1, 2], [3]]] * 60, y), "different lengths"),
    (lambda X, y: (pd.DataFrame([["a.png", "b.png"]] * 60, columns=["path", "path"]), y), "more than one column"),
    (lambda X, y: (pd.DataFrame({"a": [1] * 60, "b": [2] * 60}), y), "columns a, b"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_invalid_data_is_refused(named, change, message):
    X, y = change(*named)
    with pytest.raises(UserError, match=message) as caught:
        Classifier(**QUICK).fit(X, y)
    assert "\n" not in str(caught.value) and "--" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "weight", "message"),
    [
        ({}, np.ones(59), "expected one weight for each of 60 images"),
        ({}, -np.ones(60), "not below 0"),
        ({}, np.full(60, np.nan), "finite"),
        ({}, np.zeros(60), "all images of the class 'ant' have a weight of 0"),
        ({"class_weight": {"bee": 0}}, None, "all images of the class 'bee' have a weight of 0"),
        ({"class_weight": {"bee": -1}}, None, "class_weight must be finite and not below 0"),
        ({}, ["heavy"] * 60, "must be numbers"),
        ({"validation_fraction": 1.5}, None, "validation_fraction"),
        ({"time": "1s"}, None, "one budget, not time and epochs"),
        ({"learning_rate": -1}, None, "learning_rate must be above 0"),
        ({"optimizer": "adamww"}, None, "Did you mean 'adamw'"),
        ({"class_weight": "even"}, None, "class_weight"),
    ],
)
def test_invalid_parameters_are_refused(named, settings, weight, message):
    with pytest.raises(ValueError, match=message) as caught:
        Classifier(**{**QUICK, **settings}).fit(*named, sample_weight=weight)
    assert "--" not in str(caught.value)
