"""The one decoder: every image of every source becomes uint8 pixels of one square size here."""

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

from shoestring.config.paths import expanded
from shoestring.data.color import GREY, Coding, coding_of, flat
from shoestring.data.formats import formats_for, quiet, why_not
from shoestring.data.listing import Encoded
from shoestring.errors import UserError

VERSION = 2  # part of every cache key: raise it when the same file would give other pixels
_AT_ONCE = 100_000_000  # pixels that all threads together hold decoded; a larger image is decoded alone
_STRIP = 16_000_000  # pixels; larger images are made flat and smaller in strips of so many
_HEADER = 32  # bytes
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(image: Encoded, *, resolution: int, channels: int) -> NDArray[np.uint8]:
    """Pixels, uint8 (resolution, resolution, channels), of a file, its bytes, an array (H, W[, C]) or a Pillow image.

    The camera's rotation (EXIF) is applied, what is transparent shows white, grey levels of any bit depth are scaled
    to 8 bits by the white that the file names (65535 where it names none), colors become `channels` (1 or 3). The
    center square is resized with an antialiasing bicubic filter, so the shorter side is kept whole. `UserError` when
    it is not an image, is broken, or has more pixels than Pillow takes for safe (`2 * PIL.Image.MAX_IMAGE_PIXELS`, 179
    million); the caller knows its name.
    """
    try:
        with quiet(), _opened(image) as opened:
            coding = coding_of(opened)
            opened.draft(None, (2 * resolution, 2 * resolution))  # reads a far too large JPEG at a fraction of its size
            with _at_once(opened.width * opened.height):
                opened.load()
                square = _square(_flat(opened, coding, resolution), resolution)
            orientation = _orientation(opened)  # which some formats keep behind their pixels
            if orientation in _TURNS:
                square = square.transpose(_TURNS[orientation])
            pixels = np.asarray(square.convert("L" if channels == 1 else "RGB"))
    except UserError:
        raise
    except Exception as error:  # Pillow's readers raise a dozen kinds for broken files
        raise UserError(_reason(error, image)) from None
    return pixels.reshape(resolution, resolution, channels)


def decode_file(path: Path | str, *, resolution: int, channels: int) -> NDArray[np.uint8]:
    """Pixels of one image file, uint8 (resolution, resolution, channels), exactly as `load` makes them.

    `UserError` naming the file when it does not exist, is truncated or is not an image.
    """
    try:
        return decode(expanded(path), resolution=resolution, channels=channels)
    except UserError as error:
        raise UserError(f"cannot read {path}: {error}.") from None


def resize(pixels: NDArray[np.uint8], *, resolution: int, channels: int) -> NDArray[np.uint8]:
    """Images in memory, uint8 (N, H, W, C), as `load` would make them: (N, resolution, resolution, channels)."""
    shape = (resolution, resolution, channels)
    if pixels.shape[1:] == shape:
        return pixels
    made = [decode(image, resolution=resolution, channels=channels) for image in pixels]
    return np.array(made, dtype=np.uint8).reshape(-1, *shape)


def header(image: Encoded) -> tuple[int, bool]:
    """Shorter side in pixels, and whether the image is stored without colors; decodes nothing."""
    try:
        with quiet(), _opened(image) as opened:
            return min(opened.size), opened.mode in GREY
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(_reason(error, image)) from None


@contextlib.contextmanager
def _opened(image: Encoded) -> Iterator[Image.Image]:
    if isinstance(image, Image.Image):
        yield image
    elif isinstance(image, np.ndarray):
        yield Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    else:
        file = io.BytesIO(image) if isinstance(image, bytes) else image
        with Image.open(file, formats=formats_for(_beginning(image))) as opened:
            yield opened


def _beginning(image: Encoded) -> bytes:
    """The first bytes of an encoded image."""
    if isinstance(image, bytes):
        return image[:_HEADER]
    if isinstance(image, Path):
        if not stat.S_ISREG(image.stat().st_mode) and not image.is_dir():  # a pipe would be waited for
            raise UserError("it is not a regular file")
        with image.open("rb") as file:
            return file.read(_HEADER)
    return b""


class _AtOnce:
    """Lets threads hold so many decoded pixels together; a thread whose image does not fit in waits for others."""

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        pixels = min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_at_once = _AtOnce(_AT_ONCE)


def _orientation(image: Image.Image) -> int | None:
    """How the camera was held, as EXIF notes it."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged notes leave the picture itself readable
        return None


def _flat(image: Image.Image, coding: Coding, resolution: int) -> Image.Image:
    """The image in 8-bit grey or RGB; of a huge one the center square, smaller by a whole factor, strip by strip."""
    width, height = image.size
    side = min(width, height)
    factor = side // (4 * resolution)
    if width * height <= _STRIP or factor < 2:
        return flat(image, coding)
    left, top = (width - side) // 2, (height - side) // 2
    rows = max(1, _STRIP // (side * factor)) * factor
    made = None
    for start in range(0, side, rows):
        box = (left, top + start, left + side, top + min(start + rows, side))
        strip = flat(image.crop(box), coding).reduce(factor)
        if made is None:
            made = Image.new(strip.mode, (strip.width, -(-side // factor)))
        made.paste(strip, (0, start // factor))
    assert made is not None
    return made


def _square(image: Image.Image, resolution: int) -> Image.Image:
    width, height = image.size
    if width == height == resolution:
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((resolution, resolution), Image.Resampling.BICUBIC, box=box)


def _reason(error: Exception, image: Encoded) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return why_not(_beginning(image))
    if isinstance(error, Image.DecompressionBombError):
        return f"it has too many pixels: {2 * (Image.MAX_IMAGE_PIXELS or 0):,} are the most; save it smaller"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"it is a broken image ({' '.join(str(error).split()) or type(error).__name__})"
