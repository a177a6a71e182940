"""Labels from Python, and the weights of images and classes in the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config.class_weights import ClassWeights
from shoestring.data.group_split import group_codes
from shoestring.data.images import Images
from shoestring.data.tables import is_missing
from shoestring.data.user_images import count_images
from shoestring.errors import UserError, unknown


def label_array(y: Any, count: int) -> NDArray[Any]:
    """Return labels as an array (N,). Raises `UserError` unless there is one for each of `count` images."""
    if y is None:
        raise UserError("a classifier requires y to be passed, but the target y is None.")
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise UserError(f"y has shape {labels.shape}; expected one label for each image.")
    if len(labels) != count:
        raise UserError(f"X has {count:,} images and y {len(labels):,} labels (inconsistent numbers of samples).")
    return labels


def encode(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the sorted classes (C,) of labels (N,), and the labels as class indices (N,).

    Raises `UserError` for missing labels, real numbers, labels of different types, and a single class.
    """
    if labels.dtype.kind == "O" and any(map(is_missing, labels.tolist())):
        raise UserError("y holds missing labels (None or NaN); expected one label for each image.")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise UserError("y holds NaN or infinity; expected one label for each image.")
        if (labels != np.rint(labels)).any():
            real = labels[labels != np.rint(labels)][0]
            raise UserError(f"Unknown label type: y holds real numbers such as {real}; expected classes.")
    if labels.dtype.kind == "c":
        raise UserError("Unknown label type: y holds complex numbers; expected classes. Complex data not supported.")
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except TypeError:
        kinds = sorted({type(value).__name__ for value in labels.tolist()})
        raise UserError(f"y mixes labels of types {' and '.join(kinds)}: expected one type.") from None
    if len(classes) < 2:
        raise UserError(f"all labels are {classes[0]}: a classifier needs two classes or more, and there is one class.")
    return classes, codes.reshape(-1).astype(np.int64)


def encode_as(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    """Return labels (N,) as indices (N,) of known classes. Raises `UserError` for an unknown class."""
    index = {value: code for code, value in enumerate(classes.tolist())}
    values = labels.tolist()
    unknown = [value for value in values if value not in index]
    if unknown:
        raise UserError(f"unknown class {unknown[0]!r} in y; known: {', '.join(map(str, index))}.")
    return np.array([index[value] for value in values], dtype=np.int64)


def loss_weights(labels: NDArray[Any], sample_weight: Any, class_weight: Any) -> NDArray[np.float64] | None:
    """Return the product of sample weights and class weights for labels (N,), None without either.

    Raises `UserError` for invalid weights, and if all images of a class have a weight of 0.
    """
    if sample_weight is None and class_weight is None:
        return None
    from sklearn.utils.class_weight import compute_sample_weight

    weights = weight_array(sample_weight, len(labels))
    if class_weight is not None:
        weights = weights * weight_array(compute_sample_weight(class_weight, labels), len(labels), what="class_weight")
    if empty := sorted(set(labels.tolist()) - set(labels[weights > 0].tolist()), key=str):
        raise UserError(
            f"all images of the class {empty[0]!r} have a weight of 0: omit them from X, or set a weight above 0."
        )
    return weights


def weight_array(sample_weight: Any, count: int, *, what: str = "sample_weight") -> NDArray[np.float64]:
    """Return weights (N,) of `count` images, ones for None. Raises `UserError` unless finite and at least 0."""
    if sample_weight is None:
        return np.ones(count)
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{what} must be numbers, one for each image.") from None
    weights = np.full(count, float(weights)) if weights.ndim == 0 else weights
    if weights.shape != (count,):
        raise UserError(f"{what} has shape {weights.shape}; expected one weight for each of {count:,} images.")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise UserError(f"{what} must be finite and not below 0.")
    return weights


def check_class_weights(class_weights: ClassWeights | None, classes: Sequence[str]) -> None:
    """Raise `UserError` for weights of a class that is not among the `classes`."""
    if isinstance(class_weights, Mapping):
        for name in class_weights:
            if name not in classes:
                raise unknown("class in --class-weights", name, classes)


def weighted_by_class(images: Images, class_weights: ClassWeights | None) -> Images:
    """Return the images with training weights of mean 1: their own ones, times those of their classes.

    `class_weights` are "balanced" for the inverse of the number of images, or weights by the name of the class, 1 for
    classes without one. With None the images are returned unchanged, and if all weights are equal without weights. With
    several labels per image, the weights are those of images that have the label, in the loss of this label;
    "balanced" weights those that do not have it as well.
    """
    if class_weights is None:
        return images
    if not images.has_one_class_each:
        weights = label_weights(images.targets, images.weights, class_weights, images.classes)
        return images if weights is None else images.weighted(weights)
    by_label: Any = class_weights
    if isinstance(class_weights, Mapping):
        by_label = {label: class_weights.get(name, 1.0) for label, name in enumerate(images.classes)}
    weights = loss_weights(images.targets, images.weights, by_label)
    assert weights is not None
    equal = np.allclose(weights, weights[0])
    return images.weighted(None if equal else (weights / weights.mean()).astype(np.float32))


def label_weights(
    labels: NDArray[np.int64], own: Any, class_weights: ClassWeights | None, classes: Sequence[str]
) -> NDArray[np.float32] | None:
    """Return weights (N, L) of mean 1 for labels, 0 or 1 (N, L); None if all are equal.

    They are the images' `own` weights times those of the labels, as in `weighted_by_class`.
    """
    count, present = len(labels), labels.sum(0)
    with_label, without = np.ones(len(classes)), np.ones(len(classes))
    if isinstance(class_weights, Mapping):
        with_label = np.array([class_weights.get(name, 1.0) for name in classes])
    elif class_weights is not None:
        with_label, without = (count / (2 * np.maximum(part, 1)) for part in (present, count - present))
    weights = np.where(labels > 0, with_label, without)
    if own is not None:
        weights = weights * np.reshape(own, (count, -1))
    return None if np.allclose(weights, weights[0, 0]) else (weights / weights.mean()).astype(np.float32)


def with_loss_weights(
    X: Any, y: Any, sample_weight: Any, class_weight: Any, groups: Any = None
) -> tuple[Any, NDArray[Any], Any, NDArray[np.int64] | None]:
    """Return images, labels, weights in the loss with mean 1, and the index of each image's group.

    Images of weight 0 are excluded. The weights are None if all are equal, and the groups without any.
    """
    from sklearn.utils import _safe_indexing

    y = label_array(y, count_images(X))
    codes = None if groups is None else group_codes(groups, len(y))
    weights = loss_weights(y, sample_weight, class_weight)
    if weights is None:
        return X, y, None, codes
    kept = np.flatnonzero(weights > 0)
    if len(kept) < len(y):
        X, y, weights = _safe_indexing(X, kept), y[kept], weights[kept]
        codes = None if codes is None else codes[kept]
    return X, y, (weights / weights.mean()).astype(np.float32), codes
