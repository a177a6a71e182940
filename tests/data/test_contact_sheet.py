from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from shoestring.data.contact_sheet import contact_sheet, data_uri
from shoestring.data.images import Dataset
from shoestring.data.memory import in_memory


@pytest.mark.parametrize(("side", "channels", "kind"), [(8, 1, "png"), (32, 3, "png"), (160, 3, "jpeg")])
def test_pictures_are_small_files_inside_the_page(side, channels, kind):
    pixels = np.full((side, side, channels), 90, dtype=np.uint8)
    head, _, body = data_uri(pixels).partition(",")
    assert head == f"data:image/{kind};base64"
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
    assert image.shape[0] == min(side, 96) and image.min() == image.max() == 90


def test_contact_sheet_shows_evenly_spaced_images_and_escapes_names():
    names = ["<b>cat</b>", "dog"]
    images = in_memory(np.zeros((100, 8, 8, 1), np.uint8), np.arange(100) % 2, classes=names, resolution=8)
    sheet = contact_sheet(images, count=10)
    assert sheet.count("<img") == 10 and "of which 10 are shown" in sheet
    assert "<b>" not in sheet and "&lt;b&gt;cat" in sheet
    assert images._repr_html_().count("<img") == 40
    assert contact_sheet(images[:0]).count("<img") == 0


def test_data_set_shows_its_splits(make_images):
    images = make_images(30)
    data = Dataset("made", images, images[:6], images[6:9])
    assert repr(data) == "Dataset(made: 30 train, 6 validation, 3 test, 3 classes, 8 x 8 x 1)"
    page = data._repr_html_()
    assert "<tr><td>class1</td><td>10</td><td>2</td><td>1</td></tr>" in page and page.count("<img") == 30
