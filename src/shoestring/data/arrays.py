"""Arrays: an `.npz` file, or images that are in memory already."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shoestring.data.listing import Items, Listing, Source, files_key, from_memory
from shoestring.errors import UserError, unknown


def arrays(where: str) -> Source:
    """An `.npz` file: `images` (N, H, W) or (N, H, W, C), uint8 or floats in 0..1, and `labels` (N,).

    Optional: `test_images` with `test_labels`, `validation_images` with `validation_labels`, and `classes`, the names
    of the classes that integer labels count from 0; without it the labels themselves, sorted, name the classes.
    """
    path = Path(where).expanduser().resolve()
    if not path.is_file():
        raise UserError(f"no file {where}: expected an .npz file with images and labels.")
    return Source(path.stem, str(path), files_key([path]), lambda: _read(path))


def to_pixels(images: ArrayLike, *, what: str = "images") -> NDArray[np.uint8]:
    """Images as uint8 (N, H, W, C) with C = 1 or 3, from uint8 or from floats in 0..1.

    `UserError` for other shapes, types and ranges; `what` names the array in it.
    """
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        first = " Channels come last: transpose(0, 2, 3, 1)." if array.ndim == 4 and array.shape[1] in (1, 3) else ""
        raise UserError(
            f"{what} has shape {np.shape(images)}; expected (N, H, W) or (N, H, W, C) with C = 1 or 3.{first}"
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise UserError(f"{what} is {array.dtype}; expected uint8 in 0..255 or floats in 0..1.")
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise UserError(f"{what} holds floats in {array.min():g}..{array.max():g}; expected 0..1 (or uint8 in 0..255).")
    return np.rint(array * 255).astype(np.uint8)


def class_values(labels: ArrayLike, classes: Sequence[str] | None, *, what: str = "labels") -> list[Any]:
    """The label value of each class: the sorted labels that occur, or what labels stand for `classes`.

    With `classes`, labels are either their indices or the names themselves. `UserError` for labels that cannot be
    classes, such as fractions or None.
    """
    array = np.asarray(labels)
    kinds = {type(value) for value in array.tolist()} if array.ndim == 1 else set()
    if len(kinds) != 1 or not kinds <= {int, bool, str}:
        raise UserError(
            f"{what} of shape {array.shape} and type {array.dtype}; expected one integer or name per image."
        )
    if classes is None:
        return sorted(set(array.tolist()))
    return list(classes) if kinds == {str} else list(range(len(classes)))


def to_indices(labels: ArrayLike, values: Sequence[Any], *, count: int, what: str = "labels") -> NDArray[np.int64]:
    """Class indices (N,) of labels (N,), by their place in `values`; `UserError` for `count` other than N."""
    array = np.asarray(labels)
    if array.shape != (count,):
        raise UserError(f"{what} has shape {array.shape}; expected one label for each of the {count:,} images.")
    index = {value: position for position, value in enumerate(values)}
    for value in array.tolist():
        if value not in index:
            raise unknown(f"class in {what}", str(value), map(str, values), hint="Classes come from train.")
    return np.array([index[value] for value in array.tolist()], dtype=np.int64)


def _read(path: Path) -> Listing:
    arrays = _load(path)
    for name in ("images", "labels"):
        if name not in arrays:
            raise UserError(f"{path} has no array '{name}'; expected images and labels, found {', '.join(arrays)}.")
    names = tuple(map(str, arrays["classes"])) if "classes" in arrays else None
    values = class_values(arrays["labels"], names, what=f"labels in {path}")
    splits: dict[str, Items] = {}
    size = 0
    for split, prefix in (("train", ""), ("validation", "validation_"), ("test", "test_")):
        if f"{prefix}images" in arrays:
            what = f"{prefix}labels in {path}"
            pixels = to_pixels(arrays[f"{prefix}images"], what=f"{prefix}images in {path}")
            labels = to_indices(arrays.get(f"{prefix}labels", ()), values, count=len(pixels), what=what)
            splits[split] = from_memory(split, pixels, labels)
            size += len(pixels)
    return Listing(names or tuple(map(str, values)), splits, size)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays.items())
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not an .npz file of plain arrays: {' '.join(str(error).split())}") from None
