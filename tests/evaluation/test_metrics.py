from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)

from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.evaluation.files import metrics_json, write_metrics
from shoestring.evaluation.metrics import (
    Metrics,
    calibration_error,
    collect_predictions,
    compute_metrics,
    unmeasured,
    wilson_interval,
)

CLASSES = ("ant", "bee", "cow", "dog")


def _scores(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    logits = rng.normal(size=(count, 4)) + 1.5 * np.eye(4)[labels]
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32), labels


def _measured(scores: np.ndarray, labels, classes: tuple[str, ...] = CLASSES, split: str = "test") -> Metrics:
    """Compute metrics of log-probabilities in batches of three images."""
    parts = (scores[start : start + 3] for start in range(0, len(scores), 3))
    return compute_metrics(
        collect_predictions(parts, np.asarray(labels), classes=len(classes)), classes=classes, split=split
    )


def test_top5_accuracy_of_many_classes_matches_scikit_learn():
    rng, classes = np.random.default_rng(0), tuple(f"class {number}" for number in range(20))
    scores, labels = rng.normal(size=(100, 20)).astype(np.float32), rng.integers(0, 20, 100)
    found = _measured(scores, labels, classes)
    assert found.top5_accuracy == top_k_accuracy_score(labels, scores, k=5, labels=range(20)) > found.accuracy
    assert found.as_dict()["top5_accuracy"] == found.top5_accuracy
    assert _measured(*_scores()).top5_accuracy is None, "among four classes, five guesses are always right"


@pytest.mark.parametrize("seed", range(3))
def test_metrics_match_scikit_learn(seed):
    scores, labels = _scores(seed=seed)
    found, predicted = _measured(scores, labels), scores.argmax(1)
    assert found.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert np.array_equal(found.confusion, confusion_matrix(labels, predicted))
    probabilities = np.exp(scores.astype(np.float64))
    assert found.loss == pytest.approx(log_loss(labels, probabilities / probabilities.sum(1, keepdims=True)), rel=1e-5)
    for name, reference in [("recall", recall_score), ("precision", precision_score), ("f1", f1_score)]:
        expected = reference(labels, predicted, average=None)
        assert [getattr(entry, name) for entry in found.per_class] == pytest.approx(expected)
    assert [entry.images for entry in found.per_class] == np.bincount(labels).tolist()
    assert found.interval == wilson_interval(int((predicted == labels).sum()), 200)


def test_classes_without_images_or_predictions_have_undefined_metrics():
    scores = np.log(np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]], dtype=np.float32))
    found = _measured(scores, [0, 1], classes=("a", "b", "c"))
    a, b, c = found.per_class
    assert (a.recall, a.precision, a.f1) == (1.0, 0.5, pytest.approx(2 / 3))
    assert (b.recall, b.precision, b.f1) == (0.0, None, 0.0)
    assert (c.recall, c.precision, c.f1) == (None, None, None)
    assert (found.balanced_accuracy, found.macro_f1) == (0.5, pytest.approx(1 / 3))
    json.dumps(found.as_dict(), allow_nan=False)


def test_without_images_all_metrics_are_unknown():
    nothing, metrics = unmeasured(CLASSES, "test"), _measured(*_scores()).as_dict()
    assert list(nothing) == list(metrics) and nothing["images"] == 0 and nothing["accuracy"] is None
    assert list(nothing["per_class"]) == list(CLASSES)
    assert nothing["per_class"]["ant"].keys() == metrics["per_class"]["ant"].keys()


def test_no_images_raise_an_error():
    with pytest.raises(UserError, match="the test split has no images"):
        _measured(np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_matches_publication(successes, trials, low, high):
    """Examples of Newcombe 1998, "Two-sided confidence intervals for the single proportion", method 3."""
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (1, 29), (81, 263), (970, 1000), (1000, 1000)])
def test_wilson_interval_matches_scipy(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-8)


@given(st.integers(1, 10_000), st.data())
def test_wilson_interval_contains_the_proportion_and_is_symmetric(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials + 1e-9
    assert successes / trials - 1e-9 <= high <= 1
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low))


def test_calibration_error_by_hand():
    confidence = np.array([0.95, 0.96, 0.5, 0.51, 1.0], dtype=np.float32)
    right = np.array([True, False, True, True, True])
    # bins: 0.5 and 0.51 (7th), 0.95, 0.96 and 1.0 (15th)
    expected = 2 / 5 * abs(0.505 - 1.0) + 3 / 5 * abs((0.95 + 0.96 + 1.0) / 3 - 2 / 3)
    assert calibration_error(confidence, right) == pytest.approx(expected, rel=1e-6)
    assert calibration_error(np.ones(4, dtype=np.float32), np.ones(4, dtype=bool)) == 0.0


def test_files_contain_the_metrics(tmp_path, images):
    rng = np.random.default_rng(0)
    scores = np.log(rng.dirichlet(np.ones(3), len(images))).astype(np.float32)
    predictions = collect_predictions([scores], images.targets, classes=3)
    metrics = compute_metrics(predictions, classes=images.classes, split="test")
    write_metrics(tmp_path, metrics, predictions, images)
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(json.dumps(metrics.as_dict()))
    names = ("per_class", "confusion", "predictions")
    rows = {name: list(csv.reader((tmp_path / f"{name}.csv").read_text().splitlines())) for name in names}
    assert [row[0] for row in rows["per_class"][1:]] == list(images.classes)
    assert [[int(count) for count in row[1:]] for row in rows["confusion"][1:]] == [list(r) for r in metrics.confusion]
    assert [row[0] for row in rows["predictions"][1:]] == images.ids.tolist()
    right = sum(row[1] == row[2] for row in rows["predictions"][1:])
    assert right / len(images) == metrics.accuracy


def _many(count: int, classes: int) -> tuple[Images, np.ndarray]:
    """Images of many classes, and predictions of which half are correct."""
    rng = np.random.default_rng(0)
    labels, ids = np.arange(count) % classes, np.array([f"{index}.png" for index in range(count)])
    names = [f"class {index}" for index in range(classes)]
    images = Images(np.zeros((count, 1, 1, 1), dtype=np.uint8), labels, names, ids, fingerprint="")
    return images, np.where(rng.random(count) < 0.5, labels, rng.integers(0, classes, count))


def test_file_size_grows_with_images_not_with_squared_classes(tmp_path):
    images, guesses = _many(4000, 2000)

    def parts():
        for start in range(0, len(images), 100):
            scores = np.full((100, 2000), -8.0, dtype=np.float32)
            scores[np.arange(100), guesses[start : start + 100]] = -0.1
            yield scores

    predictions = collect_predictions(parts(), images.targets, classes=2000, sample=500)
    assert predictions.sample.shape == (500, 2000)
    assert predictions.sample_indices.tolist() == list(range(0, 4000, 8))
    assert predictions.predicted.tolist() == guesses.tolist()
    assert (predictions.sample.argmax(1) == guesses[::8]).all()
    metrics = compute_metrics(predictions, classes=images.classes, split="test")
    write_metrics(tmp_path, metrics, predictions, images)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1_000_000
    kept = json.loads((tmp_path / "metrics.json").read_text())["confusion"]
    assert kept == [list(cell) for cell in metrics.cells]
    assert np.array_equal(metrics.confusion, confusion_matrix(images.targets, guesses, labels=range(2000)))
    header, *rows = csv.reader((tmp_path / "confusion.csv").read_text().splitlines())
    assert header == ["class", "predicted", "images"]
    number = {name: index for index, name in enumerate(images.classes)}
    assert [[number[label], number[guess], int(count)] for label, guess, count in rows] == kept


def test_confusion_matrix_is_one_line_of_json_for_any_class_names():
    scores, labels = _scores()
    metrics = _measured(scores, labels, classes=('"confusion": null', "confusion", "b\\", "c"))
    text = metrics_json(metrics.as_dict())
    assert json.loads(text) == json.loads(json.dumps(metrics.as_dict()))
    assert sum("[[0,0," in line for line in text.splitlines()) == 1


def test_split_of_one_class_has_metrics(tmp_path):
    scores, _ = _scores()
    found = _measured(scores, np.full(len(scores), 2))
    assert [entry.recall is None for entry in found.per_class] == [True, True, False, True]
    assert found.per_class[2].precision == 1.0
    assert found.per_class[0].precision == 0.0
    assert found.balanced_accuracy == found.accuracy
    f1 = f1_score(np.full(len(scores), 2), scores.argmax(1), average="macro")  # of classes only predicted it is 0
    assert found.macro_f1 == pytest.approx(f1)
    json.loads(metrics_json(found.as_dict()), parse_constant=pytest.fail)


def test_single_class_has_metrics():
    found = _measured(np.zeros((4, 1), dtype=np.float32), [0, 0, 0, 0], classes=("a",))
    assert (found.accuracy, found.loss, found.calibration_error) == (1.0, 0.0, 0.0)


def test_zero_probability_gives_a_finite_loss():
    scores = np.array([[0.0, -np.inf], [-np.inf, 0.0]], dtype=np.float32)
    found = _measured(scores, [0, 0], classes=("a", "b"))
    assert found.loss == pytest.approx(149 * np.log(2) / 2)
    json.loads(metrics_json(found.as_dict()), parse_constant=pytest.fail)


def test_nan_outputs_raise_an_error():
    scores = np.zeros((5, 4), dtype=np.float32)
    scores[2:4, 1] = np.nan
    with pytest.raises(UserError, match=r"not numbers \(NaN\) for 2 of 5 images"):
        _measured(scores, [0] * 5)
