from __future__ import annotations

import io

import pytest
from PIL import Image

from shoestring.data import formats
from shoestring.data.decode import decode
from shoestring.errors import UserError


def heic() -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), (200, 30, 60))).save(buffer)
    return buffer.getvalue()


def test_heic_is_read_if_its_package_is_installed():
    pixels = decode(heic(), resolution=8, channels=3).astype(int)
    assert abs(pixels - [200, 30, 60]).max() < 12


def test_heic_error_names_the_package_to_install(monkeypatch):
    monkeypatch.setattr(formats, "_register_heif", lambda: False)
    with pytest.raises(UserError, match=r'it is a HEIC image.*pip install "shoestring\[heic\]"'):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), resolution=8, channels=3)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "WEBP"),
        (b"P5\n# made by hand\n2 2 255\n", "PPM"),
        (b"BMW and other cars are listed here", None),
        (b"P1 is the first patient", None),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"\0\0\0\x20ftypisom\0\0\2\0", None),
        (b"", None),
    ],
)
def test_image_format_is_detected_from_first_bytes(content, kind):
    assert formats.image_format(content) == kind


@pytest.mark.parametrize(("mode", "format"), [("RGB", "BMP"), ("L", "BMP"), ("1", "PPM"), ("RGB", "JPEG2000")])
def test_formats_written_by_pillow_are_detected(mode, format):
    buffer = io.BytesIO()
    Image.new(mode, (40, 40)).save(buffer, format)
    assert formats.image_format(buffer.getvalue()[:32])
