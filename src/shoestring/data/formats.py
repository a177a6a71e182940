"""Recognizing image files by name and content, and opening them with Pillow without its warnings."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from shoestring.runtime.extras import install_command

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
# suffixes of images, also of unsupported formats: a file with such a name is never skipped silently
_SUFFIXES = re.compile(
    r"\.(jpe?g|jpe|jfif|mpo|a?png|webp|gif|bmp|dib|tiff?|p[pgbnf]m|jp2|j2k|jp[fxc]|avifs?|hei[cf]s?|hif"
    r"|ico|cur|tga|psd|svg|jxl|dng|cr[23]|nef|arw|orf|rw2|raf|exr|hdr|dcm|pcx)$",
    re.IGNORECASE,
)
_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{8}....[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00",
    "TIFF": rb"II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]",
    "PPM": rb"P(?:[1-6]\s+[#\d]|f\s)",
    "JPEG 2000": rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51",
    "AVIF": rb".{4}ftypavi[fs]",
    "HEIC": rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)",
}
_HEADER = 32  # bytes
_INSTALL = {
    "HEIC": "it is a HEIC image, which needs another package: " + install_command("heic"),
    "AVIF": "it is an AVIF image, which this version of Pillow does not read: install Pillow 11.3 or newer",
}
logging.getLogger("PIL").addHandler(logging.NullHandler())  # otherwise Python prints messages without a handler


def named_like_an_image(name: str) -> bool:
    """Whether a name ends like that of an image, supported or not."""
    return _SUFFIXES.search(name) is not None


def looks_like_an_image(file: Path) -> bool:
    """Whether the name or the first bytes of a file are those of an image, supported or not."""
    if named_like_an_image(file.name):
        return True
    try:
        with file.open("rb") as opened:
            return image_format(opened.read(_HEADER)) is not None
    except OSError:
        return False


def image_format(content: bytes) -> str | None:
    """Return the image format of a file by its first bytes; None for anything else."""
    for name, pattern in _SIGNATURES.items():
        if re.match(pattern, content, re.DOTALL):
            return name
    return None


def readable_formats() -> tuple[str, ...]:
    """Return the photo formats that this Pillow reads; rarer ones would cost time and accept files of other types."""
    return _formats(heif=False)


def formats_for(content: bytes) -> tuple[str, ...]:
    """Return the formats to try on a file with these first bytes, HEIC included if the package for it is installed."""
    return _formats(heif=_register_heif()) if image_format(content) == "HEIC" else readable_formats()


def unsupported_reason(content: bytes) -> str:
    """Return the reason why Pillow does not recognize a file with these first bytes."""
    name = image_format(content)
    if name is None:
        return "it is not an image" + ("" if content else ": it is empty")
    if name in _INSTALL and {"HEIC": "HEIF"}.get(name, name) not in formats_for(content):
        return _INSTALL[name]
    return f"it is a broken {name} image, or of a variant that Pillow does not read"


@functools.cache
def _formats(*, heif: bool) -> tuple[str, ...]:
    Image.init()
    _silence_libtiff()
    return tuple(name for name in _FORMATS if name in Image.OPEN and (heif or name != "HEIF"))


@functools.cache
def _register_heif() -> bool:
    """Register HEIF with Pillow; False if the package for it is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _silence_libtiff() -> None:
    """Keep libtiff, which Pillow loads, from printing messages; there is no other way."""
    with contextlib.suppress(OSError, AttributeError):
        loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libtiff" in line}
        for path in loaded:
            library = ctypes.CDLL(path)
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)


class _Quiet:
    """Suppress Python warnings while any thread is inside: Pillow warns about images that it can read."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._saved.__exit__(None, None, None)


quiet = _Quiet()
