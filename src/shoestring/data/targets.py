"""From `y` to what a classifier learns: class indices, or 0 and 1 for each label, and weights in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config.class_weights import parse_class_weights
from shoestring.data.indicators import as_indicators, indicator_rows
from shoestring.data.labels import (
    check_class_weights,
    encode,
    encode_as,
    label_array,
    label_weights,
    weight_array,
    with_loss_weights,
)
from shoestring.data.user_images import count_images
from shoestring.errors import UserError


@dataclass(frozen=True)
class Targets:
    """Images X, their labels as codes (N,) or (N, L), the classes that these index, and weights in the loss.

    The weights, (N,) or (N, L), have mean 1; None if all are equal. `groups` are the indices (N,) of the images'
    groups, or None.
    """

    X: Any
    codes: NDArray[np.int64]
    classes: NDArray[Any]
    weights: NDArray[np.float32] | None
    groups: NDArray[np.int64] | None = None


def make_targets(X: Any, y: Any, sample_weight: Any, class_weight: Any, groups: Any = None) -> Targets:
    """Return the targets of images X with labels y: (N,) of any type, or rows of 0 and 1, one column for each label.

    Images of weight 0 are excluded. Raises `UserError` for invalid labels and weights, and labels that never occur.
    """
    indicators = None if y is None else as_indicators(y)
    if indicators is None:
        X, y, weights, groups = with_loss_weights(X, y, sample_weight, class_weight, groups)
        classes, codes = encode(y)
        return Targets(X, codes, classes, weights, groups)
    if groups is not None:
        raise UserError("groups need one class for each image, and y has several labels: pass validation_data instead.")
    from sklearn.utils import _safe_indexing

    count, names = count_images(X), indicators[1]
    labels = indicator_rows(indicators[0], len(names), count=count)
    own = weight_array(sample_weight, count)
    kept = np.flatnonzero(own > 0)
    if len(kept) < count:
        X, labels, own = _safe_indexing(X, kept), labels[kept], own[kept]
    if never := [name for name, images in zip(names, labels.sum(0)) if not images]:
        raise UserError(f"label '{never[0]}' of y never occurs: leave its column out, or add such images.")
    by_label = None if class_weight is None else parse_class_weights(class_weight)
    check_class_weights(by_label, names)
    classes = np.array(names) if hasattr(y, "columns") else np.arange(len(names))
    return Targets(X, labels, classes, label_weights(labels, own, by_label, names))


def codes_like(y: Any, targets: Targets, *, count: int) -> NDArray[np.int64]:
    """Return the codes of the labels y of `count` other images. Raises `UserError` for other labels."""
    if targets.codes.ndim == 2:
        return indicator_rows(y, len(targets.classes), count=count)
    return encode_as(label_array(y, count), targets.classes)
