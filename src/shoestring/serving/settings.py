"""What a server allows and how it computes; imports no heavy package."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from shoestring.config.units import Bytes, Duration
from shoestring.errors import UserError, unknown

# of photos; decoders of rarer formats are not exposed to the network unless somebody asks for them
DEFAULT_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "HEIC")
FORMATS = (*DEFAULT_FORMATS, "TIFF", "PPM", "JPEG2000")


@dataclass(frozen=True)
class Settings:
    """Limits and options of a server.

    `devices` are devices of ONNX Runtime, each of which gets a session and all of which share one queue: "cpu", "cuda",
    "cuda:1", or the name of an execution provider. `threads` is the number of threads of a session on the CPU (by
    default, the cores of this process except one for decoding). At most `batch` images are predicted at a time, and at
    most `queue` wait; requests beyond that are refused (429). A request has at most `max_bytes`, `max_images` images of
    `max_pixels` each, in one of the `formats`, is received within `timeout` seconds, and answered within as many.
    Clients send the `api_key` if there is one. Browsers may send requests from pages of the origins `cors`. With
    `allow_urls` the server fetches images by their URLs. `log_requests` writes a line for each request.

    Raises `UserError` for values outside their ranges.
    """

    devices: tuple[str, ...] = ("cpu",)
    threads: int | None = None
    batch: int = 16
    queue: int = 256
    max_bytes: int = 20_000_000
    max_pixels: int = 32_000_000
    max_images: int = 64
    formats: tuple[str, ...] = DEFAULT_FORMATS
    timeout: float = 30.0
    api_key: str | None = None
    cors: tuple[str, ...] = ()
    allow_urls: bool = False
    log_requests: bool = True

    def __post_init__(self) -> None:
        for name in ("batch", "queue", "max_bytes", "max_pixels", "max_images"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}.")
        if self.threads is not None and self.threads < 1:
            raise UserError(f"--threads must be at least 1, not {self.threads}.")
        if not (self.timeout > 0 and math.isfinite(self.timeout)):
            raise UserError(f"--timeout must be above zero, not {self.timeout:g}.")
        if not self.devices:
            raise UserError("--device needs at least one device, such as cpu or cuda:0.")
        if self.queue < self.max_images:
            raise UserError(
                f"--queue {self.queue} has no room for a request of --max-images {self.max_images}: raise one, or "
                "lower the other."
            )
        if self.api_key is not None and (len(self.api_key) < 8 or not self.api_key.isascii()):
            raise UserError("an API key has at least 8 characters, all of them ASCII.")
        for name in self.formats:
            if name not in FORMATS:
                raise unknown("image format", name, FORMATS)


def parse_formats(text: str) -> tuple[str, ...]:
    """Parse names such as "jpeg,png". Raises `UserError` for an empty list."""
    names = tuple(part.strip().upper().replace("JPG", "JPEG") for part in text.split(",") if part.strip())
    if not names:
        raise UserError("--formats needs at least one image format, such as jpeg,png.")
    return names


def parse_list(text: str | None) -> tuple[str, ...]:
    """Parse values that are separated by commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def parse_bytes(text: str) -> int:
    """Parse a size such as "20MB"."""
    return int(Bytes(text))


def parse_duration(text: str) -> float:
    """Parse a time such as "30s"."""
    return float(Duration(text))


def read_api_key(file: Path | None) -> str | None:
    """Return the key in a file, or else in the environment variable SHOESTRING_API_KEY; None without one.

    There is no flag for the key itself: all users of a machine can see the flags of its processes.
    """
    if file is None:
        return os.environ.get("SHOESTRING_API_KEY") or None
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the API key in {file}: {getattr(error, 'strerror', None) or error}.") from None
    if not key:
        raise UserError(f"{file} is empty: it should hold the API key.")
    return key
