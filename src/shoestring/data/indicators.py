"""Several labels per image from Python: rows of 0 and 1, one column for each label."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError

EXCLUSIVE = "each image has exactly one label: the labels are classes, which exclude each other."


def as_indicators(
    labels: Any, *, what: str = "y", one_hot: bool = False
) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
    """Return 0 or 1 for each image and label (N, L), and the names of the labels.

    Takes an array, a sparse matrix or a data frame, whose columns name the labels; by default their names are their
    indices. Returns None for anything but two columns or more. Raises `UserError` for other values than 0 and 1, and
    for one-hot rows, whose columns are classes, unless `one_hot` allows them.
    """
    values = _matrix(labels, what)
    if values is None:
        return None
    if is_one_hot(values) and not one_hot:
        raise UserError(
            f"{what} has shape {values.shape} and one-hot rows: its columns are classes, which exclude each other. "
            "One-hot rows become integers by argmax(1)."
        )
    names = getattr(labels, "columns", range(values.shape[1]))
    return values, tuple(map(str, names))


def indicator_rows(labels: Any, columns: int, *, count: int, what: str = "y") -> NDArray[np.int64]:
    """Return 0 or 1 for each of `count` images and of so many labels. Raises `UserError` for anything else."""
    values = _matrix(labels, what)
    if values is None or values.shape != (count, columns):
        shape = np.shape(labels) if values is None else values.shape
        raise UserError(
            f"{what} has shape {shape}; expected 0 or 1 for each of {count:,} images and {columns:,} labels."
        )
    return values


def _matrix(labels: Any, what: str) -> NDArray[np.int64] | None:
    """Return a matrix (N, L) of 0 and 1; None for anything but two columns or more."""
    try:
        array = np.asarray(labels.toarray() if hasattr(labels, "toarray") else labels)
    except ValueError:  # rows of different lengths
        raise UserError(
            f"the rows of {what} are of different sizes: several labels per image are rows of 0 and 1, one column for "
            "each label (see sklearn.preprocessing.MultiLabelBinarizer)."
        ) from None
    if array.ndim != 2 or array.shape[1] < 2:
        return None
    wrong = array[(array != 0) & (array != 1)]
    if len(wrong):
        raise UserError(
            f"{what} has shape {array.shape} and holds {wrong.tolist()[0]!r}; expected one label for each image, or "
            "0 or 1 for each label, one column each."
        )
    return array.astype(np.int64)


def is_one_hot(values: NDArray[np.int64]) -> bool:
    """Return whether exactly one value of each row (N, L) is 1, and the others 0."""
    return len(values) > 0 and bool((values.sum(1) == 1).all())
