from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from shoestring.data.decode import decode, header
from shoestring.errors import UserError

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # color types of PNG


def png(depth, color, row, *, clear=None, palette=None):
    """A PNG of two equal rows of two pixels; `clear` is the content of its tRNS chunk."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, depth, color, 0, 0, 0))]
    parts += [chunk(b"PLTE", palette)] if palette else []
    parts += [chunk(b"tRNS", clear)] if clear is not None else []
    parts += [chunk(b"IDAT", zlib.compress((b"\0" + row) * 2)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(bits, row, *, white_is_zero=False, sample_format=1, order="<"):
    """An uncompressed grayscale TIFF of two equal rows of two pixels."""
    data = row * 2
    entries = [(256, 2), (257, 2), (258, bits), (259, 1), (262, 0 if white_is_zero else 1)]
    entries += [(273, 8 + 2 + 12 * 10 + 4), (277, 1), (278, 2), (279, len(data)), (339, sample_format)]
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 10)
    directory = b"".join(struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    return head + directory + struct.pack(order + "I", 0) + data


def name(value):
    """Keep binary data out of test names."""
    return "file" if isinstance(value, bytes) and len(value) > 20 else None


def row(image, channels=1):
    """The two pixels of the first row."""
    pixels = decode(image, resolution=2, channels=channels)
    return pixels[0, :, 0].tolist() if channels == 1 else pixels[0].tolist()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (tiff(12, b"\xff\xff\xff"), [255, 255]),
        (tiff(12, b"\x80\x00\x00"), [128, 0]),
        (tiff(16, b"\xff\xff\x00\x80"), [255, 128]),
        (tiff(16, b"\xff\xff\x80\x00", order=">"), [255, 128]),
        (tiff(16, b"\xff\x7f\x00\x40", sample_format=2), [255, 128]),
        (tiff(32, b"\xff\xff\xff\xff\x00\x00\x00\x80"), [255, 128]),
        (tiff(32, b"\xff\xff\xff\x7f\x00\x00\x00\x40", sample_format=2), [255, 128]),
        (tiff(32, b"\x00" * 8), [0, 0]),
        (tiff(4, b"\xf8"), [255, 136]),
    ],
    ids=name,
)
def test_white_is_the_maximum_of_the_bit_depth_of_a_tiff(file, expected):
    assert row(file) == expected and header(file) == (2, True)


@pytest.mark.parametrize(
    ("bits", "values", "expected"),
    [
        (1, b"\x40", [255, 0]),
        (4, b"\x0f", [255, 0]),
        (8, b"\x00\xc8", [255, 55]),
        (16, b"\x00\x00\xff\xff", [255, 0]),
        (16, b"\x00\x40\x00\xc0", [191, 64]),
    ],
    ids=name,
)
def test_a_tiff_in_which_zero_is_white(bits, values, expected):
    assert row(tiff(bits, values, white_is_zero=True)) == expected


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (tiff(16, b"\xff\xff\x00\x40", sample_format=2), r"numbers in -1\.\.16384"),
        (tiff(32, b"\x70\x11\x01\x00\x00\x00\x00\x00"), "32-bit numbers"),
        (tiff(32, b"\x00\x00\x80\x3f\x00\x00\x00\x00", sample_format=3), "floating-point numbers"),
    ],
    ids=name,
)
def test_values_with_unknown_white_raise_an_error(file, what):
    with pytest.raises(UserError, match=rf"its pixels are {what}, whose value of white is unknown"):
        row(file)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (png(1, GREY, b"\x40", clear=b"\0\0"), [255, 255]),
        (png(1, GREY, b"\x40", clear=b"\0\1"), [0, 255]),
        (png(1, GREY, b"\x40"), [0, 255]),
        (png(2, GREY, b"\x10", clear=b"\0\1"), [0, 255]),
        (png(4, GREY, b"\x05", clear=b"\0\5"), [0, 255]),
        (png(4, GREY, b"\x05", clear=b"\0\x55"), [0, 255]),  # only the lower four bits are used
        (png(8, GREY, b"\x00\x05", clear=b"\0\5"), [0, 255]),
        (png(16, GREY, b"\x00\x00\x01\x2c", clear=b"\x01\x2c"), [0, 255]),
        (png(16, GREY, b"\x80\x00\x01\x2c", clear=b"\x01\x2c"), [128, 255]),
        (png(8, GREY_ALPHA, b"\x00\x80\x00\x00"), [127, 255]),
    ],
    ids=name,
)
def test_transparent_gray_becomes_white(file, expected):
    assert row(file) == expected
    assert row(file, channels=3) == [[value] * 3 for value in expected]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (png(8, RGB, b"\x01\x02\x03\x01\x02\x04", clear=b"\0\1\0\2\0\3"), [[255] * 3, [1, 2, 4]]),
        (
            png(16, RGB, b"\x01\x00\x02\x00\x03\x00\x09\x00\x09\x00\x09\x00", clear=b"\1\0\2\0\3\0"),
            [[255] * 3, [9, 9, 9]],
        ),
        (png(8, PALETTE, b"\0\1", clear=b"\0", palette=b"\x09\x09\x09\x32\x33\x34"), [[255] * 3, [50, 51, 52]]),
        (png(1, PALETTE, b"\x40", clear=b"\xff\0", palette=b"\x09\x09\x09\x32\x33\x34"), [[9] * 3, [255] * 3]),
        (png(8, PALETTE, b"\0\1", clear=b"\x80", palette=b"\0\0\0\x32\x33\x34"), [[127] * 3, [50, 51, 52]]),
        (png(8, RGB_ALPHA, b"\xff\0\0\xff\xff\0\0\0"), [[255, 0, 0], [255] * 3]),
    ],
    ids=name,
)
def test_transparent_colors_become_white(file, expected):
    assert row(file, channels=3) == expected


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("L", 90, [90, 90, 90]),
        ("LA", (0, 0), [255, 255, 255]),
        ("La", (0, 0), [255, 255, 255]),
        ("PA", (0, 0), [255, 255, 255]),
        ("RGBA", (0, 0, 255, 128), [127, 127, 255]),
        ("RGBa", (0, 0, 0, 0), [255, 255, 255]),
        ("RGBX", (1, 2, 3, 0), [1, 2, 3]),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("YCbCr", (255, 128, 128), [255, 255, 255]),
        ("HSV", (85, 255, 255), [0, 255, 0]),
        ("I;16", 32896, [128, 128, 128]),
        ("I;16B", 65535, [255, 255, 255]),
        ("I", 65535, [255, 255, 255]),
    ],
    ids=name,
)
def test_every_pillow_mode_is_converted(mode, color, expected):
    assert row(Image.new(mode, (2, 2), color), channels=3)[0] == expected


@pytest.mark.parametrize("lightness", [0, 255])
def test_lab_black_and_white(lightness):
    pixels = np.array(row(Image.new("LAB", (2, 2), (lightness, 128, 128)), channels=3)[0])
    assert np.abs(pixels - lightness).max() <= 1
