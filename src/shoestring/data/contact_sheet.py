"""Images as HTML: small pictures inside the text of a page, and a contact sheet for notebooks."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shoestring.escaping import html

if TYPE_CHECKING:
    from shoestring.data.images import Images

_LOSSLESS = 48  # pixels up to which a picture is stored as PNG, which is as small and exact
_MAX_SIDE, _QUALITY = 96, 82  # of other pictures, which are stored as JPEG
_SHEET = 40  # images of a contact sheet


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return an image (H, W, C) as a `data:` URI of at most 96 pixels a side, for the `src` of an HTML image."""
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((_MAX_SIDE, _MAX_SIDE))
    out, kind = io.BytesIO(), "png" if max(image.size) <= _LOSSLESS else "jpeg"
    image.save(out, kind, **({"optimize": True} if kind == "png" else {"quality": _QUALITY}))
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


def contact_sheet(images: Images, *, count: int = _SHEET) -> str:
    """Return at most `count` of the images, evenly spaced, as HTML with their classes."""
    indices = np.unique(np.linspace(0, max(len(images) - 1, 0), min(count, len(images))).round().astype(np.int64))
    figures = [_figure(images, index) for index in indices.tolist()]
    more = "" if len(indices) == len(images) else f", of which {len(indices)} are shown"
    sheet = f'<div style="display:flex;flex-wrap:wrap;gap:6px">{"".join(figures)}</div>'
    return f"<p>{html(images)}{more}</p>{sheet}"


def _figure(images: Images, index: int) -> str:
    name = images.ids[index]
    label = "" if images.labels is None else images.classes[images.labels[index]]
    source = data_uri(images[[index]].pixels[0])
    return (
        f'<figure style="margin:0;width:72px"><img src="{source}" alt="{html(label or name)}" title="{html(name)}" '
        f'width="72" style="image-rendering:pixelated"><figcaption style="font-size:11px;overflow:hidden">{html(label)}'
        "</figcaption></figure>"
    )
