from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shoestring.data.user_images import as_images, count_images, images_like
from shoestring.errors import UserError

NAMES = ("a", "b")


def test_images_of_different_sizes_are_resized():
    arrays = [np.full((10 + n, 12, 1), n, dtype=np.uint8) for n in range(3)]
    images = as_images(arrays, None, classes=NAMES)
    assert images.shape == (11, 11, 1)
    assert images.pixels[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_grayscale_and_color_files_together_have_three_channels(tmp_path):
    Image.new("L", (8, 8), 100).save(tmp_path / "grey.png")
    Image.new("RGB", (8, 8), (200, 0, 0)).save(tmp_path / "red.png")
    files = [tmp_path / "grey.png", tmp_path / "red.png"]
    images = as_images(files, None, classes=NAMES)
    assert images.pixels[:, 0, 0].tolist() == [[100] * 3, [200, 0, 0]]
    grey = as_images(files, None, classes=NAMES, channels=1, resolution=4)
    assert grey.shape == (4, 4, 1)
    for form in (np.array(files, dtype=str), np.array(files, dtype=object)[:, None], pd.Series(map(str, files))):
        assert np.array_equal(as_images(form, None, classes=NAMES).pixels, images.pixels)


def test_large_images_are_resized_to_64_pixels_without_changing_the_input(tmp_path):
    Image.new("RGB", (1000, 800), (200, 0, 0)).save(tmp_path / "red.jpg")
    opened = Image.open(tmp_path / "red.jpg")
    assert as_images([opened], None, classes=NAMES).shape == (64, 64, 3)
    assert opened.size == (1000, 800)
    assert as_images([opened], None, classes=NAMES, resolution=100).shape == (100, 100, 3)


@pytest.mark.parametrize("form", [[], np.zeros((0, 8, 8)), pd.DataFrame({"path": []}), None, 3, "a.png", np.float32(3)])
def test_inputs_without_images_raise_an_error(form):
    with pytest.raises(UserError, match="X "):
        count_images(form)


def test_images_like_others_have_their_size_channels_and_classes(make_images):
    images, other = make_images(4, side=8), make_images(3, side=12, channels=3)
    like = images_like(images, other.pixels, np.array([2, 0, 1]))
    assert like.shape == images.shape and like.classes == images.classes
    assert like.targets.tolist() == [2, 0, 1]
    assert images_like(other, images.pixels).shape == other.shape
