"""Images as they are sent become pixels exactly as in `shoestring predict`, within the limits of the server."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from shoestring.config.fit import Fit
from shoestring.data.decode import TooManyPixels, decode
from shoestring.data.formats import image_format
from shoestring.errors import UserError
from shoestring.exporting.metadata import Metadata
from shoestring.serving.errors import Refused
from shoestring.serving.settings import Settings

Encoded = bytes | NDArray[np.uint8] | Refused  # a file, pixels (H, W, C), or why there are none


def read(image: Encoded, metadata: Metadata, settings: Settings) -> NDArray[np.uint8]:
    """Decode an image to uint8 (resolution, resolution, channels).

    Raises `Refused`: 415 for anything that is not an image of the allowed formats, 413 for too many pixels, before any
    is decoded, and 400 for a broken image.
    """
    if isinstance(image, Refused):
        raise image
    if isinstance(image, bytes):
        check_format(image, settings)
    size = metadata.resolution, metadata.channels
    try:
        return decode(
            image,
            resolution=size[0],
            channels=size[1],
            fit=cast(Fit, metadata.fit),
            max_pixels=settings.max_pixels,
        )
    except TooManyPixels as error:
        raise Refused(413, str(error)) from None
    except UserError as error:
        raise Refused(400, str(error)) from None
    except MemoryError:
        raise Refused(413, "it needs more memory than there is") from None


def check_format(content: bytes, settings: Settings) -> None:
    """Raise `Refused` unless a file begins like an image of an allowed format."""
    name = image_format(content)
    allowed = ", ".join(settings.formats)
    if name is None:
        reason = "it is not an image" if content else "it is empty"
        raise Refused(415, f"{reason}; expected a file in one of the formats {allowed}")
    if name.replace(" ", "") not in settings.formats:
        raise Refused(415, f"it is an image in the format {name}; expected one of {allowed}")
