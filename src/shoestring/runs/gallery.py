"""The pictures of a run's report: mistakes and maps, chosen images beside those left out, near duplicates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config.units import format_percent
from shoestring.data import Images
from shoestring.models.inference import embed
from shoestring.models.model import Model
from shoestring.reporting.pictures import Gallery, Pair, Picture
from shoestring.runs.augmented import AUGMENTED_SECONDS, make_augmented, note_on
from shoestring.runs.looks import NOTE, make_looks, seconds_for_looks
from shoestring.runs.mistakes import find_mistakes, label_of, picture_of
from shoestring.runs.predictions_file import AnyTestPredictions
from shoestring.selection.near_duplicates import MIN_SIDE, matching_pairs

_CLASSES, _PER_CLASS = 10, 4  # classes with chosen images, and images of each
_TOGETHER = 12  # chosen images, if they have several labels each
_DUPLICATES = 12
_LEFT_OUT = 1500  # images that were not chosen, among which the nearest are looked for
_MIN_LEFT_OUT = 20  # for each class
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

    @property
    def train(self) -> Images:
        """The images of the training."""
        return self.pool if self.chosen is None else self.pool[self.chosen]


def make_gallery(
    sources: Sources,
    predictions: AnyTestPredictions | None,
    *,
    left: Left,
    seconds_per_pass: float,
    augment: Mapping[str, Any] | None = None,
) -> Gallery:
    """Collect the pictures; those that take longer than the time that is `left` are left out, with a note.

    `augment` holds the fields of the augmentation that the network was trained with.
    """
    notes: dict[str, str] = {}
    mistakes = find_mistakes(sources.test, predictions, left)
    if mistakes.note:
        notes["mistakes"] = mistakes.note
    late = ["some examples of confusions"] if mistakes.late else []
    looks: list[list[Picture]] = []
    if left() >= seconds_for_looks(seconds_per_pass):
        looks = make_looks(sources.model, sources.test, mistakes) if sources.model is not None else []
    elif mistakes.pictures:
        late.append("maps of where it looks")
    augmented: list[list[Picture]] = []
    if augment and sources.model is not None and left() >= AUGMENTED_SECONDS:
        augmented = make_augmented(sources.train, sources.model, augment)
        notes["augmented"] = note_on(augment)
    if looks:
        notes["looks"] = NOTE
    chosen = _chosen(sources, notes, left=left, seconds_per_pass=seconds_per_pass)
    duplicates = _duplicates(sources, notes, left=left)
    return Gallery(chosen, mistakes.pictures, mistakes.cells, duplicates, notes, looks, augmented, tuple(late))


def _chosen(sources: Sources, notes: dict[str, str], *, left: Left, seconds_per_pass: float) -> dict[str, list[Pair]]:
    """The first chosen images of each class, each beside the nearest one of its class that was left out.

    Images with several labels each are in one group.
    """
    pool, chosen, model = sources.pool, sources.chosen, sources.model
    if chosen is None or pool.labels is None:
        return {}
    groups, several = _groups(pool, chosen), pool.labels.ndim > 1
    first = {name: chosen[inside[chosen]][: _TOGETHER if several else _PER_CLASS] for name, inside in groups.items()}
    affordable = int(0.5 * min(left(), 1e6) / seconds_per_pass) if seconds_per_pass else _LEFT_OUT
    each = min(affordable, _LEFT_OUT) // max(len(groups), 1) - _PER_CLASS
    others = {name: _sample(np.setdiff1d(np.flatnonzero(inside), chosen), each) for name, inside in groups.items()}
    near = {} if model is None or each < _MIN_LEFT_OUT else _nearest(pool, model, first, others)
    result = {}
    for name, indices in first.items():
        pairs = []
        for rank, index in enumerate(indices.tolist(), 1):
            caption = f"chosen, rank {rank}" if sources.ranked else "chosen"
            neighbor = near.get(index)
            other = None
            if neighbor is not None:
                other = picture_of(pool, neighbor[0], f"left out ({neighbor[1]:.3f})")
            pairs.append(Pair(picture_of(pool, index, caption), other))
        result[name] = pairs
    of_class, of_each = ("", "") if several else (" of its class", " of each class")
    found = (
        f"the most similar of up to {each:,} images{of_class} that were left out, with the cosine similarity of the "
        "features of the network"
        if near
        else "nothing, as there was no time to compare images"
    )
    shown = len(groups) if not several else len(pool.classes)
    some = f" {shown} of {len(pool.classes):,} classes are shown." if shown < len(pool.classes) else ""
    notes["chosen"] = f"The first chosen images{of_each}. Beside each: {found}.{some}"
    return result


def _groups(pool: Images, chosen: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Which images (N,) belong to each of the classes that are shown; of several labels, all together."""
    labels = pool.targets
    if labels.ndim > 1:
        return {"Images of all labels": np.ones(len(pool), dtype=np.bool_)}
    return {pool.classes[label]: labels == label for label in np.unique(labels[chosen])[:_CLASSES].tolist()}


def _sample(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the indices, drawn at random."""
    if count <= 0 or len(indices) <= count:
        return indices[: max(count, 0)]
    return np.sort(np.random.default_rng(0).choice(indices, count, replace=False))


def _nearest(
    pool: Images, model: Model, first: dict[str, NDArray[np.int64]], others: dict[str, NDArray[np.int64]]
) -> dict[int, tuple[int, float]]:
    """The most similar of the other images of its group, with the similarity, for each of the first ones."""
    rows = np.unique(np.concatenate([*first.values(), *others.values()]))
    features, _ = embed(model, pool[rows])
    result = {}
    for name, indices in first.items():
        if not len(others[name]):
            continue
        left_out = features[np.searchsorted(rows, others[name])]
        similarity = features[np.searchsorted(rows, indices)] @ left_out.T
        best = similarity.argmax(1)
        for index, position, value in zip(indices.tolist(), best, similarity.max(1)):
            result[index] = (int(others[name][position]), float(value))
    return result


def _duplicates(sources: Sources, notes: dict[str, str], *, left: Left) -> list[Pair]:
    """Test images beside their near duplicate among the training images."""
    test, train = sources.test, sources.train
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
            picture_of(test, row, f"test, {label_of(test, row)}"),
            picture_of(train, column, f"training, {label_of(train, column)}"),
        )
        for row, column in zip(rows[:_DUPLICATES].tolist(), columns[first][:_DUPLICATES].tolist())
    ]


def indices_of(images: Images, subset: Images) -> NDArray[np.int64]:
    """Return the indices (K,) into `images` of a part of them."""
    order = np.argsort(images.rows)
    return order[np.searchsorted(images.rows, subset.rows, sorter=order)]
