"""Conversion of any Pillow mode to 8-bit grayscale or RGB on white: bit depth, inverted grays and transparency."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shoestring.errors import UserError

GRAYSCALE_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_UNKNOWN_WHITE = "its pixels are {}, whose value of white is unknown; expected 8 or 16 bits"


class Coding(NamedTuple):
    """How a file encodes its pixel values, as far as Pillow does not decode it.

    `white` is the value of white in modes of more than 8 bits, `signed` whether their values may be negative,
    `inverted` whether 0 is white instead; `key` the transparent value, in the scale of the decoded pixels.
    """

    white: int = 65535
    signed: bool = False
    inverted: bool = False
    key: Any = None


def read_coding(image: Image.Image) -> Coding:
    """Return the coding of an image before its pixels are loaded, which discards this information."""
    key = _transparent_value(image)
    tags = getattr(image, "tag_v2", None)
    if image.mode[0] != "I" or not tags or _BITS_PER_SAMPLE not in tags:
        return Coding(key=key)
    bits, signed = int(tags[_BITS_PER_SAMPLE][0]), tags.get(_SAMPLE_FORMAT, (1,))[0] == 2
    return Coding(2 ** (bits - signed) - 1, signed, tags.get(_PHOTOMETRIC) == 0, key)


def _transparent_value(image: Image.Image) -> Any:
    key = image.info.get("transparency")
    raw = _raw_mode(image)
    if key is None or image.mode in ("P", "PA"):
        return key
    if image.mode == "1":
        return 255 if key else 0
    if image.mode == "L" and raw in ("L;2", "L;4"):  # PNG stores the value at the bit depth of its pixels
        return key % 4 * 85 if raw == "L;2" else key % 16 * 17
    if image.mode == "RGB" and ";16" in raw:  # Pillow keeps the upper byte
        return tuple(value >> 8 for value in key)
    return key


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return arguments if isinstance(arguments, str) else str(arguments[0]) if arguments else ""


def to_8_bit(image: Image.Image, coding: Coding) -> Image.Image:
    """Convert a loaded image to 8-bit grayscale ("L") or "RGB", transparency to white."""
    mode = image.mode
    if mode[0] == "I":
        return Image.fromarray(_scale_to_8_bit(image, coding))
    if mode == "F":
        raise UserError(_UNKNOWN_WHITE.format("floating-point numbers"))
    if mode in ("1", "L"):
        return _key_to_white(image.convert("L"), coding.key)
    if mode == "RGB":
        return _key_to_white(image, coding.key)
    if mode in ("RGBX", "CMYK", "YCbCr", "LAB", "HSV") or (mode == "P" and coding.key is None):
        return image.convert("RGB")
    layers = (image.convert("LA") if mode == "La" else image).convert("RGBA")
    background = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(background, layers).convert("L" if mode in GRAYSCALE_MODES else "RGB")


def _key_to_white(image: Image.Image, key: Any) -> Image.Image:
    """Replace the transparent value, if there is one, by white."""
    if key is None:
        return image
    pixels = np.array(image)
    transparent = pixels == np.asarray(key, dtype=np.int64)
    pixels[transparent if pixels.ndim == 2 else transparent.all(axis=2)] = 255
    return Image.fromarray(pixels)


def _scale_to_8_bit(image: Image.Image, coding: Coding) -> NDArray[np.uint8]:
    """Scale gray levels 0..white to 0..255 (Pillow alone would clip them).

    Raises `UserError` for values outside that range, and for 32-bit values that use less than 1/256 of it: these are
    counts of something, whose value of white is unknown.
    """
    values = np.asarray(image).astype(np.int64)
    if coding.white == 2**32 - 1:
        values %= 2**32  # Pillow stores unsigned values as signed ones
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > coding.white or (coding.white > 65535 and 0 < high < coding.white // 256):
        raise UserError(_UNKNOWN_WHITE.format(f"numbers in {low}..{high}" if coding.signed else "32-bit numbers"))
    scaled = (values * 255 + coding.white // 2) // coding.white
    if coding.inverted:
        scaled = 255 - scaled
    if coding.key is not None:
        scaled[values == coding.key] = 255
    return scaled.astype(np.uint8)
