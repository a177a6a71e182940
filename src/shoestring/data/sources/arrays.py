"""Images in arrays: `.npz` files, and conversion of arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shoestring.config.paths import expanded
from shoestring.data.indicators import EXCLUSIVE, as_indicators, indicator_rows, is_one_hot
from shoestring.data.listing import (
    Listing,
    Source,
    class_names,
    files_key,
    from_memory,
    listed,
    normalized,
)
from shoestring.errors import UserError, unknown


def arrays(where: str) -> Source:
    """An `.npz` file: `images` (N, H, W) or (N, H, W, C), uint8 or floats in 0..1, and `labels` (N,) or (N, 1).

    Several labels per image are rows of 0 and 1 (N, L). Optional: `test_images` with `test_labels`, `validation_images`
    with `validation_labels`, and `classes`, the names of the L labels, or the class names that integer labels index; by
    default classes are named after the sorted labels. The prefixes `train_` and `val_` are accepted as well.
    """
    path = expanded(where).resolve()
    if not path.is_file():
        raise UserError(f"no file {where}: expected an .npz file with images and labels.")
    return Source(path.stem, str(path), files_key([path]), lambda: _read(path))


def to_pixels(images: ArrayLike, *, what: str = "images") -> NDArray[np.uint8]:
    """Convert images to uint8 (N, H, W, C) with C = 1 or 3, from uint8 or from floats in 0..1.

    Raises `UserError` for other shapes, types and ranges; `what` names the array in the message.
    """
    array = _to_array(images, what)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        first = " Channels come last: transpose(0, 2, 3, 1)." if array.ndim == 4 and array.shape[1] in (1, 3) else ""
        raise UserError(
            f"{what} has shape {np.shape(images)}; expected (N, H, W) or (N, H, W, C) with C = 1 or 3.{first}"
        )
    if 0 in array.shape[1:3]:
        raise UserError(f"{what} has shape {np.shape(images)}: the images have no pixels.")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise UserError(f"{what} is {array.dtype}; expected uint8 in 0..255 or floats in 0..1.")
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise UserError(f"{what} holds floats in {array.min():g}..{array.max():g}; expected 0..1 (or uint8 in 0..255).")
    return np.rint(array * 255).astype(np.uint8)


def class_values(labels: ArrayLike, classes: Sequence[str] | None, *, what: str = "labels") -> list[Any]:
    """Return the label value of each class: the sorted labels, or with `classes` their indices or names.

    Raises `UserError` for labels that cannot be classes, such as fractions or None.
    """
    array = _to_array(labels, what)
    values = _to_list(array)
    kinds = {type(value) for value in values} if array.ndim == 1 else set()
    if array.shape == (0,):
        raise UserError(f"{what} is empty: there are no images.")
    if len(kinds) != 1 or not kinds <= {int, bool, str}:
        raise UserError(
            f"{what} of shape {array.shape} and type {array.dtype}; expected one integer or name per image, or 0 or 1 "
            "for each of its labels (N, L)."
        )
    if classes is None:
        return sorted(set(values))
    return list(map(normalized, classes)) if kinds == {str} else list(range(len(classes)))


def _to_array(values: ArrayLike, what: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:  # rows of different lengths
        raise UserError(f"{what} are of different sizes: expected one array, with rows of equal shape.") from None


def _to_list(array: NDArray[Any]) -> list[Any]:
    """Return the values of an array (N,), text in Unicode normal form; empty for other shapes."""
    values = array.tolist()
    return [normalized(value) if isinstance(value, str) else value for value in values] if array.ndim == 1 else []


def to_indices(labels: ArrayLike, values: Sequence[Any], *, count: int, what: str = "labels") -> NDArray[np.int64]:
    """Return labels (N,) as indices (N,) into `values`. Raises `UserError` for unknown ones, or if N is not `count`."""
    array = _to_array(labels, what)
    if array.shape != (count,):
        raise UserError(f"{what} has shape {array.shape}; expected one label for each of the {count:,} images.")
    index = {value: position for position, value in enumerate(values)}
    label_values = _to_list(array)
    for value in label_values:
        if value not in index:
            raise unknown(f"class in {what}", str(value), map(str, values), hint="Classes come from train.")
    return np.array([index[value] for value in label_values], dtype=np.int64)


def label_encoder(
    labels: ArrayLike, classes: Sequence[str] | None, *, what: str = "labels", one_hot: bool = False
) -> tuple[Callable[[ArrayLike, int, str], NDArray[np.int64]], tuple[str, ...]]:
    """Return a function from labels, the number of images and a name for messages to their codes; the classes.

    Codes are class indices (N,), or for rows of 0 and 1 these rows (N, L). Raises `UserError` for other labels, and for
    one-hot rows unless `one_hot` allows them.
    """
    indicators = as_indicators(labels, what=what, one_hot=one_hot)
    if indicators is None:
        values = class_values(labels, classes, what=what)
        names = class_names(values if classes is None else classes)
        return lambda given, count, what: to_indices(given, values, count=count, what=what), names
    columns = indicators[0].shape[1]
    names = class_names(indicators[1] if classes is None else classes)
    if len(names) != columns:
        raise UserError(f"{what} has {columns:,} columns, and there are {len(names):,} classes.")
    return lambda given, count, what: indicator_rows(given, columns, count=count, what=what), names


_SPLITS = {"train": ("", "train_"), "validation": ("validation_", "val_", "valid_"), "test": ("test_",)}


def _read(path: Path) -> Listing:
    stored, unused = _load(path)
    names = {split: pair for split in _SPLITS if (pair := _array_names(stored, split, path)) is not None}
    notes = (f"{path} has more arrays, which are not used: {listed(unused)}.",) if unused else ()
    without = f"{path} has no array 'images'; expected images and labels, found {', '.join([*stored, *unused])}."
    if not names:
        raise UserError(without)
    classes = class_names(stored["classes"].ravel().tolist()) if "classes" in stored else None
    first = next(iter(names.values()))[1]
    encode, classes = label_encoder(_squeeze(stored[first]), classes, what=f"{first} in {path}", one_hot=True)
    pixels, codes = {}, {}
    for split, (images, labels) in names.items():
        pixels[split] = to_pixels(stored[images], what=f"{images} in {path}")
        codes[split] = encode(_squeeze(stored[labels]), len(pixels[split]), f"{labels} in {path}")
    if all(own.ndim == 2 and is_one_hot(own) for own in codes.values()):
        codes, notes = {split: own.argmax(1) for split, own in codes.items()}, (*notes, EXCLUSIVE)
    splits = {split: from_memory(split, pixels[split], codes[split]) for split in names}
    return Listing(classes, splits, sum(map(len, pixels.values())), notes, without_train=without)


def _array_names(stored: dict[str, NDArray[Any]], split: str, path: Path) -> tuple[str, str] | None:
    """Return the names of the arrays with images and labels of a split; None if it has neither."""
    prefixes = [prefix for prefix in _SPLITS[split] if f"{prefix}images" in stored or f"{prefix}labels" in stored]
    if not prefixes:
        return None
    if len(prefixes) > 1:
        both = " and ".join(f"{prefix}images" for prefix in prefixes)
        raise UserError(f"{path} has {both}, which both name the {split} images: keep one.")
    images, labels = f"{prefixes[0]}images", f"{prefixes[0]}labels"
    for name in (images, labels):
        if name not in stored:
            raise UserError(f"{path} has no array '{name}'; expected images and one label for each of them.")
    return images, labels


def _squeeze(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels (N, 1) as (N,)."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _load(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Load the arrays with known names, and return the names of the others."""
    known = {f"{prefix}{what}" for prefixes in _SPLITS.values() for prefix in prefixes for what in ("images", "labels")}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            names = [name for name in stored.files if name in known or name == "classes"]
            _check_memory(path, stored.zip, names)
            return {name: stored[name] for name in names}, [name for name in stored.files if name not in names]
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{path} does not fit into memory, or its header states a wrong size.") from None
    except Exception as error:  # zip files and arrays can be damaged, encrypted and forged in many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is not an .npz file of plain arrays: {reason}") from None


def _check_memory(path: Path, archive: Any, names: list[str]) -> None:
    """Raise `UserError` if the uncompressed arrays are larger than the free memory."""
    size = sum(archive.getinfo(name).file_size for name in archive.namelist() if name.removesuffix(".npy") in names)
    free = _free_memory()
    if free is not None and size > free:
        raise UserError(
            f"{path} takes {size / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: make it smaller, or store "
            "the images as files in class folders, which are read one by one."
        )


def _free_memory() -> int | None:
    """Return the memory in bytes that is available without swapping; None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes[0]) * 1024 if kilobytes else None
