"""The one decoder: every image of every source becomes uint8 pixels of one square size here."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from shoestring.data.listing import Encoded
from shoestring.errors import UserError

VERSION = 1  # part of every cache key: raise it when the same file would give other pixels
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")


def decode(image: Encoded, *, resolution: int, channels: int) -> NDArray[np.uint8]:
    """Pixels, uint8 (resolution, resolution, channels), of a file, its bytes, an array (H, W[, C]) or a Pillow image.

    The camera's rotation (EXIF) is applied, transparency shows white, 16-bit values are scaled to 8, colours become
    `channels` (1 or 3). The centre square is resized with an antialiasing bicubic filter, so the shorter side is kept
    whole. `UserError` when it is not an image or is broken; the caller knows its name.
    """
    try:
        with _opened(image) as opened:
            opened.draft(None, (2 * resolution, 2 * resolution))  # reads a far too large JPEG at a fraction of its size
            opened.load()
            square = _square(_flat(_upright(opened)), resolution)
            pixels = np.asarray(square.convert("L" if channels == 1 else "RGB"))
    except UserError:
        raise
    except Exception as error:  # Pillow's readers raise a dozen kinds for broken files
        raise UserError(_reason(error)) from None
    return pixels.reshape(resolution, resolution, channels)


def decode_file(path: Path | str, *, resolution: int, channels: int) -> NDArray[np.uint8]:
    """Pixels of one image file, uint8 (resolution, resolution, channels), exactly as `load` makes them.

    `UserError` naming the file when it does not exist, is truncated or is not an image.
    """
    try:
        return decode(Path(path), resolution=resolution, channels=channels)
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
    """Shorter side in pixels, and whether the image is stored without colours; decodes nothing."""
    try:
        with _opened(image) as opened:
            return min(opened.size), opened.mode in _GREY
    except Exception as error:  # as above
        raise UserError(_reason(error)) from None


@contextlib.contextmanager
def _opened(image: Encoded) -> Iterator[Image.Image]:
    if isinstance(image, Image.Image):
        yield image
    elif isinstance(image, np.ndarray):
        yield Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    else:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=_formats()) as opened:
            yield opened


@functools.cache
def _formats() -> tuple[str, ...]:
    """The photo formats that this Pillow reads; its rarer ones cost time and would make images of other files."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _upright(image: Image.Image) -> Image.Image:
    """The image as the camera was held, by the orientation that EXIF notes."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged notes leave the picture itself readable
        return image
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _flat(image: Image.Image) -> Image.Image:
    """The image in 8-bit grey or RGB, without transparency."""
    if image.mode.startswith("I"):
        return _eight_bits(image)
    if image.mode == "F":
        raise UserError("its pixels are floating-point numbers, whose white is unknown; expected 8 or 16 bits")
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode in ("1", "CMYK", "YCbCr", "LAB", "HSV"):
        return image.convert("L" if image.mode == "1" else "RGB")
    layers = image.convert("RGBA")
    paper = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(paper, layers).convert("L" if image.mode in _GREY else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey levels 0..65535 scaled to 0..255 (Pillow alone would clip them)."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UserError("its pixels are 32-bit numbers, whose white is unknown; expected 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _square(image: Image.Image, resolution: int) -> Image.Image:
    width, height = image.size
    if width == height == resolution:
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((resolution, resolution), Image.Resampling.BICUBIC, box=box)


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"it is a broken image ({' '.join(str(error).split()) or type(error).__name__})"
