"""Conversion of Python inputs to `Images`: arrays, paths, Pillow images, data frames with a column of paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shoestring.config.fit import DEFAULT_FIT, Fit, check_fit
from shoestring.config.paths import expanded
from shoestring.data.build import Resolution, limited
from shoestring.data.decode import decode, decode_file, header, resize
from shoestring.data.images import Images
from shoestring.data.listing import SAMPLE_SIZE, evenly_spaced
from shoestring.data.memory import in_memory
from shoestring.data.sources.arrays import to_pixels
from shoestring.data.squares import native_side
from shoestring.errors import UserError
from shoestring.runtime.cores import cores

_COLUMNS = ("path", "file", "filename", "filepath", "file_path", "image_path", "image")
_EXPECTED = "an array (N, H, W) or (N, H, W, C), or a list or data frame of paths or Pillow images"


def as_images(
    X: Any,
    labels: NDArray[np.int64] | None,
    *,
    classes: Sequence[str],
    resolution: Resolution = None,
    channels: int | None = None,
    fit: Fit = DEFAULT_FIT,
    mirrored: bool = True,
) -> Images:
    """Convert X to `Images` of `resolution` pixels, with labels (N,) that index `classes`, or None.

    X is an array (N, H, W) or (N, H, W, C), uint8 or floats from 0 to 1; or N paths or Pillow images: a list, an array,
    a series, or a data frame with one column or a column called path, file, filename or image. By default, the
    resolution is the median side, at most 64 pixels (`AtMost` is another limit), and there is one channel if all files
    are grayscale, else three. `fit` is how a rectangle becomes a square, as in `load`. Raises `UserError` for anything
    else, no images, and unreadable files.
    """
    check_fit(fit)
    items = _items(X)
    pixels = _check_shape(to_pixels(X, what="X")) if items is None else _decode_all(items, resolution, channels, fit)
    return in_memory(pixels, labels, classes=classes, resolution=resolution, fit=fit, mirrored=mirrored)


def images_like(images: Images, X: Any, labels: NDArray[np.int64] | None = None) -> Images:
    """Convert X to `Images` of the same size, channels, fit and classes as others, with labels (N,) or None."""
    (side, _, channels), fit, about = images.shape, images.fit, {"classes": images.classes, "mirrored": images.mirrored}
    made = as_images(X, labels, resolution=side, channels=channels, fit=fit, **about)
    if made.shape == images.shape:
        return made
    pixels = resize(made.pixels, resolution=side, channels=channels, fit=fit)
    return in_memory(pixels, labels, resolution=side, fit=fit, **about)


def count_images(X: Any) -> int:
    """Return the number of images in X. Raises `UserError` if it is empty, or no collection of images."""
    if (
        X is None
        or isinstance(X, str | os.PathLike | Image.Image)
        or hasattr(X, "toarray")
        or not hasattr(X, "__len__")
    ):
        raise UserError(f"X is a {type(X).__name__}; expected {_EXPECTED}.")
    if isinstance(X, np.ndarray) and not X.ndim:
        raise UserError(f"X is a single value; expected {_EXPECTED}.")
    if not len(X):
        raise UserError("X is empty (0 samples): there are no images.")
    return len(X)


def _items(X: Any) -> list[Any] | None:
    """Return a list of paths, Pillow images or arrays of different sizes; None for an array of images."""
    count_images(X)
    if hasattr(X, "columns"):
        name = _column(X)
        X = X[name]
        if hasattr(X, "columns"):
            raise UserError(f"X has more than one column called '{name}'.")
    if isinstance(X, np.ndarray) and X.dtype.kind not in "OU":
        if X.dtype.kind == "f" and np.isnan(X).any():
            raise UserError("X holds NaN (not a number); expected uint8 in 0..255 or floats in 0..1.")
        return None
    items = X.ravel().tolist() if isinstance(X, np.ndarray) and X.shape == (len(X), 1) else list(X)
    kinds = {_kind(item) for item in items}
    if kinds <= {"path"} or kinds <= {"image"}:
        return items
    if kinds == {"array"}:
        try:
            arrays = [np.asarray(item) for item in items]
        except ValueError:
            raise UserError("X holds lists that are not images: their rows have different lengths.") from None
        if len({item.shape for item in arrays}) == 1:
            return _items(np.stack(arrays))
        return [to_pixels(item[None], what="an image of X")[0] for item in arrays]
    if "other" in kinds:
        other = next(item for item in items if _kind(item) == "other")
        raise UserError(f"X holds a {type(other).__name__}; expected {_EXPECTED}.")
    raise UserError(f"X mixes {' and '.join(f'{kind}s' for kind in sorted(kinds))}; expected {_EXPECTED}.")


def _kind(item: Any) -> str:
    if isinstance(item, str | os.PathLike):
        return "path"
    if isinstance(item, Image.Image):
        return "image"
    return "array" if isinstance(item, np.ndarray | list | tuple) or hasattr(item, "__array__") else "other"


def _column(frame: Any) -> Any:
    names = list(frame.columns)
    matches = names if len(names) == 1 else [name for name in names if str(name).lower() in _COLUMNS][:1]
    if not matches:
        raise UserError(f"X has the columns {', '.join(map(str, names))}; expected one of paths, called 'path'.")
    return matches[0]


def _check_shape(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if 0 in pixels.shape:
        raise UserError(f"X has shape {pixels.shape}: its images have no pixels.")
    return pixels


def _decode_all(items: list[Any], resolution: Resolution, channels: int | None, fit: Fit) -> NDArray[np.uint8]:
    """Decode to pixels (N, R, R, C)."""
    with ThreadPoolExecutor(min(cores(), 16)) as pool:
        if not isinstance(resolution, int) or channels is None:
            headers = list(pool.map(partial(_header, fit=fit), items))
            sides = [headers[index][0] for index in evenly_spaced(len(headers), SAMPLE_SIZE)]
            resolution = limited(int(np.median(sides)), resolution)
            channels = channels or (1 if all(grayscale for _, grayscale in headers) else 3)
        read = partial(_decode, resolution=resolution, channels=channels, fit=fit)
        return np.stack(list(pool.map(read, items)))


def _header(item: Any, *, fit: Fit) -> tuple[int, bool]:
    """Return the side of the image's square in pixels, and whether it is grayscale."""
    try:
        if isinstance(item, np.ndarray):
            height, width, channels = item.shape
            return native_side((width, height), fit), channels == 1
        return header(item if isinstance(item, Image.Image) else expanded(Path(item)), fit=fit)
    except UserError as error:
        raise UserError(f"cannot read {item}: {error}.") from None


def _decode(item: Any, *, resolution: int, channels: int, fit: Fit) -> NDArray[np.uint8]:
    if isinstance(item, str | os.PathLike):
        return decode_file(Path(item), resolution=resolution, channels=channels, fit=fit)
    image = item.copy() if isinstance(item, Image.Image) else item  # decoding may load a smaller version in place
    try:
        return decode(image, resolution=resolution, channels=channels, fit=fit)
    except UserError as error:
        raise UserError(f"cannot read an image of X: {error}.") from None
