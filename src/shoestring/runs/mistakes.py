"""Pictures of wrong predictions for test images: the most confident ones, and examples of each confusion."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shoestring.config.units import format_percent
from shoestring.data import Images
from shoestring.data.contact_sheet import data_uri
from shoestring.reporting.pictures import Picture
from shoestring.runs.predictions_file import AnyTestPredictions, LabelTestPredictions, TestPredictions

_SHOWN, _CELLS, _PER_CELL = 24, 40, 4  # most confident mistakes; confusions with examples, images of each
_RELIABLE, _MIN_OTHERS = 0.99, 20  # fraction of right predictions among so many, above which a mistake is surprising


@dataclass(frozen=True)
class Mistakes:
    """The most confident mistakes, examples by cell of the confusion matrix, and a note on how they were found.

    `indices` are those of the test images of the mistakes; `classes` holds, for each, the indices of the classes that
    the mistake is about: the predicted class and the right one, or one label. `late` is whether there was no time for
    some examples.
    """

    pictures: list[Picture] = field(default_factory=list)
    cells: dict[tuple[int, int], list[Picture]] = field(default_factory=dict)
    note: str = ""
    indices: list[int] = field(default_factory=list)
    classes: list[tuple[int, ...]] = field(default_factory=list)
    late: bool = False


def picture_of(images: Images, index: int, caption: str, note: str = "") -> Picture:
    """Return the picture of an image."""
    return Picture(data_uri(images[[index]].pixels[0]), str(images.ids[index]), caption, note)


def label_of(images: Images, index: int) -> str:
    """Return the class of an image, or its labels."""
    targets = images.targets
    if targets.ndim == 1:
        return images.classes[targets[index]]
    return ", ".join(images.classes[label] for label in np.flatnonzero(targets[index])) or "no label"


def find_mistakes(
    test: Images, predictions: AnyTestPredictions | None, left: Callable[[], float] = lambda: math.inf
) -> Mistakes:
    """Return the mistakes among the predictions; none if they are not those of the test images.

    `left` returns the seconds that may still be spent; examples that take longer are left out.
    """
    if predictions is None or len(predictions) != len(test):
        return Mistakes()
    if isinstance(predictions, LabelTestPredictions):
        return _wrong_labels(test, predictions)
    return _wrong_classes(test, predictions, left)


def _wrong_classes(test: Images, predictions: TestPredictions, left: Callable[[], float]) -> Mistakes:
    wrong = np.flatnonzero(~predictions.correct)
    wrong = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")]
    suspicious = _suspicious(predictions)

    def picture(index: int, *, named: bool = True) -> Picture:
        label, predicted = (test.classes[which[index]] for which in (predictions.labels, predictions.predicted))
        confidence = format_percent(predictions.confidence[index])
        caption = f"{label}, predicted as {predicted} ({confidence})" if named else confidence
        return picture_of(test, index, caption, "label may be wrong" if suspicious[index] and named else "")

    shown, started = wrong[:_SHOWN].tolist(), time.monotonic()
    pictures = [picture(index) for index in shown]
    seconds = _PER_CELL * (time.monotonic() - started) / max(len(shown), 1)  # of the examples of a confusion
    pairs, counts = np.unique(
        np.stack([predictions.labels[wrong], predictions.predicted[wrong]]), axis=1, return_counts=True
    )
    cells, late = {}, False
    for number in np.argsort(-counts, kind="stable")[:_CELLS]:
        if late := left() < seconds:
            break
        label, predicted = pairs[:, number].tolist()
        inside = wrong[(predictions.labels[wrong] == label) & (predictions.predicted[wrong] == predicted)]
        cells[label, predicted] = [picture(index, named=False) for index in inside[:_PER_CELL].tolist()]
    note = (
        f'{len(shown)} of {len(wrong):,} wrong predictions on the test images, the most confident first. "Label may be '
        f'wrong": of the other predictions at least as confident, {format_percent(_RELIABLE)} or more are right.'
    )
    about = [(int(predictions.predicted[index]), int(predictions.labels[index])) for index in shown]
    return Mistakes(pictures, cells, note, shown, about, late)


def _suspicious(predictions: TestPredictions) -> NDArray[np.bool_]:
    """Which mistakes (N,) are so confident that nearly all other predictions of this confidence or more are right."""
    order = np.argsort(-predictions.confidence, kind="stable")
    right, others = predictions.correct[order], np.arange(len(order))
    suspicious = np.zeros(len(order), dtype=np.bool_)
    suspicious[order] = ~right & (others >= _MIN_OTHERS) & (np.cumsum(right) >= _RELIABLE * others)
    return suspicious


def _wrong_labels(test: Images, predictions: LabelTestPredictions) -> Mistakes:
    """The most confident wrong label of each image, where there is one."""
    wrong = np.where(predictions.predicted != predictions.labels, predictions.confidence, -1.0)
    worst, highest = wrong.argmax(1), wrong.max(1)
    images = np.flatnonzero(highest >= 0)
    shown = images[np.argsort(-highest[images], kind="stable")][:_SHOWN].tolist()
    pictures = []
    for index in shown:
        label = int(worst[index])
        what = "missed" if predictions.labels[index, label] else "not there"
        probability = format_percent(predictions.probabilities[index, label])
        pictures.append(picture_of(test, index, f"{test.classes[label]}: {what} (predicted {probability})"))
    note = (
        f"{len(shown)} of {len(images):,} test images with a wrong label, the most confident first; of each image, the "
        "label that is most confidently wrong, and its predicted probability."
    )
    return Mistakes(pictures, {}, note, shown, [(int(worst[index]),) for index in shown])
