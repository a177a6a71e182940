"""The pictures of a run's report: mistakes, chosen images beside those left out, near duplicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shoestring.config.units import format_percent
from shoestring.data import Images
from shoestring.data.contact_sheet import data_uri
from shoestring.models.inference import embed
from shoestring.models.model import Model
from shoestring.reporting.pictures import Gallery, Pair, Picture
from shoestring.runs.predictions_file import TestPredictions
from shoestring.selection.near_duplicates import MIN_SIDE, matching_pairs

_MISTAKES, _CELLS, _PER_CELL = 24, 40, 4  # most confident mistakes; confusions with examples, images of each
_CLASSES, _PER_CLASS = 10, 4  # classes with chosen images, and images of each
_DUPLICATES = 12
_LEFT_OUT = 1500  # images that were not chosen, among which the nearest are looked for
_MIN_LEFT_OUT = 20  # for each class
_RELIABLE, _MIN_OTHERS = 0.99, 20  # fraction of right predictions among so many, above which a mistake is surprising
_COMPARED = 40_000  # training and test images that are searched for near duplicates

Left = Callable[[], float]  # seconds that may still be spent


@dataclass(frozen=True)
class Sources:
    """What pictures are made from: images that could be chosen, indices of those that were, test images, final model.

    `chosen` are indices into the `pool`, None for all; they are best first if they are `ranked`.
    """

    pool: Images
    chosen: NDArray[np.int64] | None
    test: Images
    model: Model | None
    ranked: bool = False


def make_gallery(
    sources: Sources, predictions: TestPredictions | None, *, left: Left, seconds_per_pass: float
) -> Gallery:
    """Collect the pictures; those that take longer than the time that is `left` are left out, with a note."""
    notes: dict[str, str] = {}
    mistakes, cells = _mistakes(sources.test, predictions, notes)
    chosen = _chosen(sources, notes, left=left, seconds_per_pass=seconds_per_pass)
    duplicates = _duplicates(sources, notes, left=left)
    return Gallery(chosen, mistakes, cells, duplicates, notes)


def _picture(images: Images, index: int, caption: str, note: str = "") -> Picture:
    return Picture(data_uri(images[[index]].pixels[0]), str(images.ids[index]), caption, note)


def _mistakes(
    test: Images, predictions: TestPredictions | None, notes: dict[str, str]
) -> tuple[list[Picture], dict[tuple[int, int], list[Picture]]]:
    """The most confident mistakes, and examples of the most frequent confusions."""
    if predictions is None or len(predictions) != len(test):
        return [], {}
    wrong = np.flatnonzero(~predictions.correct)
    wrong = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")]
    suspicious = _suspicious(predictions)

    def picture(index: int, *, named: bool = True) -> Picture:
        label, predicted = (test.classes[which[index]] for which in (predictions.labels, predictions.predicted))
        confidence = format_percent(predictions.confidence[index])
        caption = f"{label}, predicted as {predicted} ({confidence})" if named else confidence
        return _picture(test, index, caption, "label may be wrong" if suspicious[index] and named else "")

    pairs, counts = np.unique(
        np.stack([predictions.labels[wrong], predictions.predicted[wrong]]), axis=1, return_counts=True
    )
    cells = {}
    for number in np.argsort(-counts, kind="stable")[:_CELLS]:
        label, predicted = pairs[:, number].tolist()
        inside = wrong[(predictions.labels[wrong] == label) & (predictions.predicted[wrong] == predicted)]
        cells[label, predicted] = [picture(index, named=False) for index in inside[:_PER_CELL].tolist()]
    shown = [picture(index) for index in wrong[:_MISTAKES].tolist()]
    notes["mistakes"] = (
        f'{len(shown)} of {len(wrong):,} wrong predictions on the test images, the most confident first. "Label may be '
        f'wrong": of the other predictions at least as confident, {format_percent(_RELIABLE)} or more are right.'
    )
    return shown, cells


def _suspicious(predictions: TestPredictions) -> NDArray[np.bool_]:
    """Which mistakes (N,) are so confident that nearly all other predictions of this confidence or more are right."""
    order = np.argsort(-predictions.confidence, kind="stable")
    right, others = predictions.correct[order], np.arange(len(order))
    suspicious = np.zeros(len(order), dtype=np.bool_)
    suspicious[order] = ~right & (others >= _MIN_OTHERS) & (np.cumsum(right) >= _RELIABLE * others)
    return suspicious


def _chosen(sources: Sources, notes: dict[str, str], *, left: Left, seconds_per_pass: float) -> dict[str, list[Pair]]:
    """The first chosen images of each class, each beside the nearest one of its class that was left out."""
    pool, chosen, model = sources.pool, sources.chosen, sources.model
    if chosen is None or pool.labels is None:
        return {}
    labels = pool.targets
    classes = [int(label) for label in np.unique(labels[chosen])][:_CLASSES]
    first = {label: chosen[labels[chosen] == label][:_PER_CLASS] for label in classes}
    affordable = int(0.5 * min(left(), 1e6) / seconds_per_pass) if seconds_per_pass else _LEFT_OUT
    each = min(affordable, _LEFT_OUT) // max(len(classes), 1) - _PER_CLASS
    others = {label: _sample(np.setdiff1d(np.flatnonzero(labels == label), chosen), each) for label in classes}
    near = {} if model is None or each < _MIN_LEFT_OUT else _nearest(pool, model, first, others)
    result = {}
    for label in classes:
        pairs = []
        for rank, index in enumerate(first[label].tolist(), 1):
            caption = f"chosen, rank {rank}" if sources.ranked else "chosen"
            neighbor = near.get(index)
            other = None
            if neighbor is not None:
                other = _picture(pool, neighbor[0], f"left out ({neighbor[1]:.3f})")
            pairs.append(Pair(_picture(pool, index, caption), other))
        result[pool.classes[label]] = pairs
    found = (
        f"the most similar of up to {each:,} images of its class that were left out, with the cosine similarity of the "
        "features of the final network"
        if near
        else "nothing, as there was no time to compare images"
    )
    some = f" {len(classes)} of {len(pool.classes):,} classes are shown." if len(classes) < len(pool.classes) else ""
    notes["chosen"] = f"The first chosen images of each class. Beside each: {found}.{some}"
    return result


def _sample(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the indices, drawn at random."""
    if count <= 0 or len(indices) <= count:
        return indices[: max(count, 0)]
    return np.sort(np.random.default_rng(0).choice(indices, count, replace=False))


def _nearest(
    pool: Images, model: Model, first: dict[int, NDArray[np.int64]], others: dict[int, NDArray[np.int64]]
) -> dict[int, tuple[int, float]]:
    """The most similar of the other images of its class, with the similarity, for each of the first ones."""
    rows = np.unique(np.concatenate([*first.values(), *others.values()]))
    features, _ = embed(model, pool[rows])
    result = {}
    for label, indices in first.items():
        if not len(others[label]):
            continue
        left_out = features[np.searchsorted(rows, others[label])]
        similarity = features[np.searchsorted(rows, indices)] @ left_out.T
        best = similarity.argmax(1)
        for index, position, value in zip(indices.tolist(), best, similarity.max(1)):
            result[index] = (int(others[label][position]), float(value))
    return result


def _duplicates(sources: Sources, notes: dict[str, str], *, left: Left) -> list[Pair]:
    """Test images beside their near duplicate among the training images."""
    test = sources.test
    train = sources.pool if sources.chosen is None else sources.pool[sources.chosen]
    count = len(test) + len(train)
    if not len(test) or not len(train) or count > _COMPARED or left() < 3e-4 * count + 0.2 or test.shape[0] < MIN_SIDE:
        return []
    rows, columns = matching_pairs(test, train)
    rows, first = np.unique(rows, return_index=True)
    notes["duplicates"] = (
        f"{len(rows):,} of {len(test):,} test images have a near duplicate among the {len(train):,} training images"
        + (": the accuracy is too high by up to " + format_percent(len(rows) / len(test)) if len(rows) else "")
        + "."
    )
    return [
        Pair(
            _picture(test, row, f"test, {_label(test, row)}"),
            _picture(train, column, f"training, {_label(train, column)}"),
        )
        for row, column in zip(rows[:_DUPLICATES].tolist(), columns[first][:_DUPLICATES].tolist())
    ]


def _label(images: Images, index: int) -> str:
    return images.classes[images.targets[index]]


def indices_of(images: Images, subset: Images) -> NDArray[np.int64]:
    """Return the indices (K,) into `images` of a part of them."""
    order = np.argsort(images.rows)
    return order[np.searchsorted(images.rows, subset.rows, sorter=order)]
