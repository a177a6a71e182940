"""Which files are images, by name and by content, and how Pillow is asked for them without its own messages."""

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

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
# what may follow the dot in the name of an image, also of kinds that are not read: such a file is never passed over
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
    "HEIC": 'it is a HEIC image, which needs another package: pip install "shoestring[heic]"',
    "AVIF": "it is an AVIF image, which this version of Pillow does not read: install Pillow 11.3 or newer",
}
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what nobody listens to


def looks_like_an_image(file: Path) -> bool:
    """Whether the name or the first bytes of a file are those of an image, readable or not."""
    if _SUFFIXES.search(file.name):
        return True
    try:
        with file.open("rb") as opened:
            return kind(opened.read(_HEADER)) is not None
    except OSError:
        return False


def kind(content: bytes) -> str | None:
    """The image format that the first bytes belong to; None for anything else."""
    for name, pattern in _SIGNATURES.items():
        if re.match(pattern, content, re.DOTALL):
            return name
    return None


def readable_formats() -> tuple[str, ...]:
    """The photo formats that this Pillow reads; its rarer ones cost time and would make images of other files."""
    return _formats(registered=False)


def formats_for(content: bytes) -> tuple[str, ...]:
    """The formats to try on a file that begins like this: with those of HEIC where the package for it is installed."""
    return _formats(registered=_registered()) if kind(content) == "HEIC" else readable_formats()


def why_not(content: bytes) -> str:
    """Why Pillow does not know what this is, by its first bytes."""
    name = kind(content)
    if name is None:
        return "it is not an image" + ("" if content else ": it is empty")
    if name in _INSTALL and {"HEIC": "HEIF"}.get(name, name) not in formats_for(content):
        return _INSTALL[name]
    return f"it is a broken {name} image, or one of a kind that Pillow does not read"


@functools.cache
def _formats(*, registered: bool) -> tuple[str, ...]:
    Image.init()
    _silence_libtiff()
    return tuple(name for name in _FORMATS if name in Image.OPEN and (registered or name != "HEIF"))


@functools.cache
def _registered() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _silence_libtiff() -> None:
    """Keep libtiff, which Pillow loads, from writing to the screen by itself; it has no other switch."""
    with contextlib.suppress(OSError, AttributeError):
        loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libtiff" in line}
        for path in loaded:
            library = ctypes.CDLL(path)
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)


class _Quiet:
    """No Python warnings while any thread is inside: Pillow warns of what it reads all the same."""

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
