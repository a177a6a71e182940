"""From any mode that Pillow reads to 8-bit grey or RGB on white: bit depth, inverted greys and transparency."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shoestring.errors import UserError

GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
_UNKNOWN_WHITE = "its pixels are {}, whose white is unknown; expected 8 or 16 bits"


class Coding(NamedTuple):
    """What a file says about its values and Pillow leaves to others.

    `white` is the value of white in modes of more than 8 bits, `signed` whether their values may be negative,
    `inverted` whether 0 is white instead; `key` the value that means transparent, in the scale of the decoded pixels.
    """

    white: int = 65535
    signed: bool = False
    inverted: bool = False
    key: Any = None


def coding_of(image: Image.Image) -> Coding:
    """The coding of an image whose pixels are not loaded yet: loading forgets it."""
    key = _key(image)
    tags = getattr(image, "tag_v2", None)
    if image.mode[0] != "I" or not tags or _BITS_PER_SAMPLE not in tags:
        return Coding(key=key)
    bits, signed = int(tags[_BITS_PER_SAMPLE][0]), tags.get(_SAMPLE_FORMAT, (1,))[0] == 2
    return Coding(2 ** (bits - signed) - 1, signed, tags.get(_PHOTOMETRIC) == 0, key)


def _key(image: Image.Image) -> Any:
    key = image.info.get("transparency")
    raw = _raw_mode(image)
    if key is None or image.mode in ("P", "PA"):
        return key
    if image.mode == "1":
        return 255 if key else 0
    if image.mode == "L" and raw in ("L;2", "L;4"):  # PNG tells the value in the bits of its pixels
        return key % 4 * 85 if raw == "L;2" else key % 16 * 17
    if image.mode == "RGB" and ";16" in raw:  # of which Pillow keeps the upper byte
        return tuple(value >> 8 for value in key)
    return key


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None)
    how = tiles[0][3] if tiles else ""
    return how if isinstance(how, str) else str(how[0]) if how else ""


def flat(image: Image.Image, coding: Coding) -> Image.Image:
    """A loaded image in 8-bit grey ("L") or "RGB"; what is transparent shows white."""
    mode = image.mode
    if mode[0] == "I":
        return Image.fromarray(_eight_bits(image, coding))
    if mode == "F":
        raise UserError(_UNKNOWN_WHITE.format("floating-point numbers"))
    if mode in ("1", "L"):
        return _keyed(image.convert("L"), coding.key)
    if mode == "RGB":
        return _keyed(image, coding.key)
    if mode in ("RGBX", "CMYK", "YCbCr", "LAB", "HSV") or (mode == "P" and coding.key is None):
        return image.convert("RGB")
    layers = (image.convert("LA") if mode == "La" else image).convert("RGBA")
    paper = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(paper, layers).convert("L" if mode in GREY else "RGB")


def _keyed(image: Image.Image, key: Any) -> Image.Image:
    """The image with the pixels of this value white."""
    if key is None:
        return image
    pixels = np.array(image)
    clear = pixels == np.asarray(key, dtype=np.int64)
    pixels[clear if pixels.ndim == 2 else clear.all(axis=2)] = 255
    return Image.fromarray(pixels)


def _eight_bits(image: Image.Image, coding: Coding) -> NDArray[np.uint8]:
    """Grey levels 0..white scaled to 0..255 (Pillow alone would clip them).

    `UserError` for values outside of that, and for 32-bit numbers that use less than a 256th of it: then they are
    counts of something, and white is whatever their author means by it.
    """
    values = np.asarray(image).astype(np.int64)
    if coding.white == 2**32 - 1:
        values %= 2**32  # Pillow keeps unsigned numbers in signed ones
    least, most = int(values.min()), int(values.max())
    if least < 0 or most > coding.white or (coding.white > 65535 and 0 < most < coding.white // 256):
        raise UserError(_UNKNOWN_WHITE.format(f"numbers in {least}..{most}" if coding.signed else "32-bit numbers"))
    scaled = (values * 255 + coding.white // 2) // coding.white
    if coding.inverted:
        scaled = 255 - scaled
    if coding.key is not None:
        scaled[values == coding.key] = 255
    return scaled.astype(np.uint8)
