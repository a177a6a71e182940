from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, log_loss, precision_score, recall_score

from label_images import LABELS, label_images
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.evaluation.files import write_metrics
from shoestring.evaluation.metrics import wilson_interval
from shoestring.evaluation.multi_label import average_precision
from shoestring.evaluation.tasks import collect, measure, temperature_of, without_images
from shoestring.evaluation.warnings import find_warnings
from shoestring.tasks import MULTI_LABEL


@pytest.fixture
def images() -> Images:
    return label_images(80)


def _scores(images: Images, *, noise: float = 2.0, sure: float = 1.5) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (sure * (2 * images.targets - 1) + rng.normal(0, noise, images.targets.shape)).astype(np.float32)


def _batches(scores: np.ndarray) -> Iterator[np.ndarray]:
    yield from np.array_split(scores, 3)


def _measured(images: Images, scores: np.ndarray) -> dict:
    return measure(collect(_batches(scores), images), classes=images.classes, split="test").as_dict()


def test_metrics_are_those_of_scikit_learn(images):
    scores, labels = _scores(images), images.targets
    found, predicted = _measured(images, scores), (scores >= 0).astype(int)
    assert (found["task"], found["split"], found["images"]) == ("multi-label", "test", 80)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["interval"] == list(wilson_interval(round(80 * found["accuracy"]), 80))
    assert found["macro_average_precision"] == pytest.approx(average_precision_score(labels, scores))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found["micro_f1"] == pytest.approx(f1_score(labels, predicted, average="micro"))
    losses = [log_loss(column, 1 / (1 + np.exp(-own.astype(float)))) for column, own in zip(labels.T, scores.T)]
    assert found["loss"] == pytest.approx(np.mean(losses))
    for index, name in enumerate(LABELS):
        column, guesses, entry = labels[:, index], predicted[:, index], found["per_class"][name]
        assert entry == {
            "images": column.sum(),
            "average_precision": pytest.approx(average_precision_score(column, scores[:, index])),
            "recall": pytest.approx(recall_score(column, guesses)),
            "precision": pytest.approx(precision_score(column, guesses)),
            "f1": pytest.approx(f1_score(column, guesses)),
        }


@given(arrays(np.int64, 20, elements=st.integers(0, 1)), arrays(np.float32, 20, elements=st.integers(-3, 3)))
def test_average_precision_with_ties(labels, scores):
    found = average_precision(labels, scores)
    if labels.any():
        assert found == pytest.approx(average_precision_score(labels, scores))
    else:
        assert found is None


def test_labels_that_never_occur_have_no_metrics(images):
    rare = images[np.flatnonzero(images.targets[:, 2] == 0)]
    found = _measured(rare, np.where(np.arange(3) == 2, -5, _scores(rare)).astype(np.float32))
    assert found["per_class"]["wings"] == {
        "images": 0,
        **dict.fromkeys(("average_precision", "recall", "precision", "f1")),
    }
    others = [found["per_class"][name] for name in ("red", "large")]
    assert found["macro_average_precision"] == pytest.approx(np.mean([one["average_precision"] for one in others]))
    assert found["macro_f1"] == pytest.approx(np.mean([one["f1"] for one in others]))
    json.dumps(found, allow_nan=False)


def test_extreme_and_missing_outputs(images):
    scores = np.where(images.targets > 0, np.float32(200), np.float32(-200))
    found = _measured(images, scores)
    assert (found["accuracy"], found["macro_average_precision"], found["calibration_error"]) == (1, 1, 0)
    assert found["loss"] == pytest.approx(0)
    wrong = _measured(images, -scores)
    assert wrong["loss"] == pytest.approx(200) and wrong["calibration_error"] == pytest.approx(1)
    scores[3, 1] = np.nan
    with pytest.raises(UserError, match=r"not numbers \(NaN\) for 1 of 80 images"):
        _measured(images, scores)


def test_without_images(images):
    nothing = without_images(MULTI_LABEL, images.classes, "test")
    assert nothing.keys() == _measured(images, _scores(images)).keys()
    assert find_warnings(nothing) == ["there are no test images, so the accuracy was not measured"]
    none = collect([], images[:0])
    assert none.accuracy is None and none.score is None and temperature_of(none) == 1
    with pytest.raises(UserError, match="the test split has no images"):
        measure(none, classes=images.classes, split="test")


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_temperature_makes_log_odds_those_of_the_labels(factor):
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0, 2, (3000, 3)).astype(np.float32)
    labels = (rng.random((3000, 3)) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    images = Images(np.zeros((3000, 1, 1, 1), np.uint8), labels, LABELS, np.arange(3000).astype(str), fingerprint="")
    predictions = collect([factor * log_odds], images, to_fit=True)
    assert temperature_of(predictions) == pytest.approx(factor, rel=0.1)
    assert predictions.score == pytest.approx(average_precision_score(labels, log_odds))


def test_files(images, tmp_path):
    scores = _scores(images)
    predictions = collect([scores], images)
    metrics = measure(predictions, classes=images.classes, split="test")
    write_metrics(tmp_path, metrics, predictions, images)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "per_class.csv", "predictions.csv"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics.as_dict()
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 80 and rows[7]["id"] == str(images.ids[7])
    for index, name in enumerate(LABELS):
        assert int(rows[7][name]) == images.targets[7, index]
        assert int(rows[7][f"{name} predicted"]) == (scores[7, index] >= 0)
        assert float(rows[7][f"{name} probability"]) == pytest.approx(1 / (1 + np.exp(-scores[7, index])), abs=1e-4)
    with (tmp_path / "per_class.csv").open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == list(LABELS)


def test_warnings(images):
    assert find_warnings(_measured(images, _scores(images))) == []
    scores = _scores(images)
    scores[:, 0] = 0.5  # the same for all images
    scores[:, 2] = scores[:, 2] / 100 - 1  # a good order, below the threshold
    assert find_warnings(_measured(images, scores)) == [
        "1 of 3 labels is ranked no better than at random: red",
        "1 of 3 labels is never predicted: wings",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        every = images[np.flatnonzero(images.targets[:, 0])]  # "red" says nothing here
        assert find_warnings(_measured(every, np.where(np.arange(3) == 0, 9, _scores(every)).astype(np.float32))) == []
