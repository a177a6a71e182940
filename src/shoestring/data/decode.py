"""Decoding: the images of all sources become square uint8 pixels here."""

from __future__ import annotations

import contextlib
import io
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from shoestring.config.fit import DEFAULT_FIT, Fit, check_fit
from shoestring.config.paths import expanded
from shoestring.data.color import GRAYSCALE_MODES, Coding, read_coding, to_8_bit
from shoestring.data.formats import formats_for, quiet, unsupported_reason
from shoestring.data.listing import Encoded
from shoestring.data.squares import native_side, pad, resized_size, source_box
from shoestring.errors import UserError

VERSION = 3  # part of every cache key: increment it if the same file would give other pixels
_MAX_PIXELS = 100_000_000  # that all threads hold decoded at the same time; a larger image is decoded alone
_STRIP = 16_000_000  # pixels; larger images are converted and reduced in strips of this size
_HEADER = 32  # bytes
_ORIENTATIONS = {  # EXIF
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class TooManyPixels(UserError):
    """An image that is too large to be decoded."""


def decode(
    image: Encoded, *, resolution: int, channels: int, fit: Fit = DEFAULT_FIT, max_pixels: int | None = None
) -> NDArray[np.uint8]:
    """Decode a file, its bytes, an array (H, W[, C]) or a Pillow image to uint8 (resolution, resolution, channels).

    The EXIF orientation is applied, transparency becomes white, gray levels of any bit depth are scaled to 8 bits by
    the file's value of white (by default 65535), and colors are converted to `channels` (1 or 3). With the `fit` "crop"
    the center square, with the complete shorter side, is resized with an antialiasing bicubic filter; with "squash" the
    whole image, out of proportion; with "pad" the whole image in proportion, with gray bars (`squares.PADDING`) beside
    it. Raises `UserError`, without the name of the file, if it is not an image or is broken, and `TooManyPixels` before
    it is decoded if it has more than `max_pixels`, or than Pillow considers safe (`2 * PIL.Image.MAX_IMAGE_PIXELS`, 179
    million).
    """
    try:
        with quiet(), _open(image) as opened:
            _check_pixels(opened.width * opened.height, max_pixels)
            coding = read_coding(opened)
            size = resized_size(opened.size, resolution, fit)
            opened.draft(None, (2 * size[0], 2 * size[1]))  # decodes a large JPEG at a fraction of its size
            with _memory_limit(opened.width * opened.height):
                opened.load()
                resized = _resize(_convert(opened, coding, size, fit), size, fit)
            orientation = _orientation(opened)  # after loading, as some formats store it behind the pixels
            if orientation in _ORIENTATIONS:
                resized = resized.transpose(_ORIENTATIONS[orientation])
            pixels = np.asarray(resized.convert("L" if channels == 1 else "RGB"))
    except UserError:
        raise
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise TooManyPixels(_too_many(most if max_pixels is None else min(most, max_pixels))) from None
    except Exception as error:  # Pillow's readers raise a dozen kinds for broken files
        raise UserError(_reason(error, image)) from None
    return pad(pixels.reshape(*pixels.shape[:2], channels), resolution)


def decode_file(path: Path | str, *, resolution: int, channels: int, fit: Fit = DEFAULT_FIT) -> NDArray[np.uint8]:
    """Decode one image file to uint8 (resolution, resolution, channels), exactly as `load` does.

    Raises `UserError` with the name of the file if it does not exist, is truncated or is not an image, and for an
    unknown `fit`.
    """
    check_fit(fit)
    try:
        return decode(expanded(path), resolution=resolution, channels=channels, fit=fit)
    except UserError as error:
        raise UserError(f"cannot read {path}: {error}.") from None


def resize(pixels: NDArray[np.uint8], *, resolution: int, channels: int, fit: Fit = DEFAULT_FIT) -> NDArray[np.uint8]:
    """Resize images in memory, uint8 (N, H, W, C), as `load` does: (N, resolution, resolution, channels)."""
    shape = (resolution, resolution, channels)
    if pixels.shape[1:] == shape:
        return pixels
    resized = [decode(image, resolution=resolution, channels=channels, fit=fit) for image in pixels]
    return np.array(resized, dtype=np.uint8).reshape(-1, *shape)


def header(image: Encoded, *, fit: Fit = DEFAULT_FIT) -> tuple[int, bool]:
    """Return the side of the image's square in pixels, and whether it is grayscale, without decoding it."""
    try:
        with quiet(), _open(image) as opened:
            return native_side(opened.size, fit), opened.mode in GRAYSCALE_MODES
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(_reason(error, image)) from None


@contextlib.contextmanager
def _open(image: Encoded) -> Iterator[Image.Image]:
    if isinstance(image, Image.Image):
        yield image
    elif isinstance(image, np.ndarray):
        yield Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    else:
        file = io.BytesIO(image) if isinstance(image, bytes) else image
        with Image.open(file, formats=formats_for(_first_bytes(image))) as opened:
            yield opened


def _first_bytes(image: Encoded) -> bytes:
    if isinstance(image, bytes):
        return image[:_HEADER]
    if isinstance(image, Path):
        if not stat.S_ISREG(image.stat().st_mode) and not image.is_dir():  # a pipe would block
            raise UserError("it is not a regular file")
        with image.open("rb") as file:
            return file.read(_HEADER)
    return b""


class _MemoryLimit:
    """Limits the pixels that all threads hold decoded; a thread whose image exceeds the limit waits for others."""

    def __init__(self, limit: int) -> None:
        self._limit = self._free = limit
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        pixels = min(pixels, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_memory_limit = _MemoryLimit(_MAX_PIXELS)


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the image is readable even if its EXIF data are damaged
        return None


def _convert(image: Image.Image, coding: Coding, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Convert to 8-bit grayscale or RGB; of a huge image, the part to resize, reduced by integer factors in strips."""
    left, top, right, bottom = map(int, source_box(image.size, fit))
    width, height = right - left, bottom - top
    factors = max(1, width // (4 * size[0])), max(1, height // (4 * size[1]))
    if image.width * image.height <= _STRIP or max(factors) < 2:
        return to_8_bit(image, coding)
    rows = max(1, _STRIP // (width * factors[1])) * factors[1]
    reduced = None
    for start in range(0, height, rows):
        box = (left, top + start, right, top + min(start + rows, height))
        strip = to_8_bit(image.crop(box), coding).reduce(factors)
        if reduced is None:
            reduced = Image.new(strip.mode, (strip.width, -(-height // factors[1])))
        reduced.paste(strip, (0, start // factors[1]))
    assert reduced is not None
    return reduced


def _resize(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Resize columns first, then rows: Pillow itself would begin with the longer axis or not, by its version."""
    if image.size == size:
        return image
    left, top, right, bottom = source_box(image.size, fit)
    columns = image.resize((size[0], image.height), Image.Resampling.BICUBIC, box=(left, 0, right, image.height))
    return columns.resize(size, Image.Resampling.BICUBIC, box=(0, top, size[0], bottom))


def _check_pixels(pixels: int, maximum: int | None) -> None:
    if maximum is not None and pixels > maximum:
        raise TooManyPixels(_too_many(maximum))


def _too_many(maximum: int) -> str:
    return f"it has too many pixels: the maximum is {maximum:,}; save it smaller"


def _reason(error: Exception, image: Encoded) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return unsupported_reason(_first_bytes(image))
    if isinstance(error, Image.DecompressionBombError):
        return _too_many(2 * (Image.MAX_IMAGE_PIXELS or 0))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"it is a broken image ({' '.join(str(error).split()) or type(error).__name__})"
