from __future__ import annotations

import pytest

from shoestring.growth import Stage
from shoestring.growth.image_size import resizing, stage_side


@pytest.mark.parametrize(
    ("share", "full", "side"), [(1.0, 30, 30), (0.75, 32, 24), (0.5, 8, 8), (0.1, 32, 8), (0.7, 32, 24), (0.99, 6, 6)]
)
def test_sides_of_stages(share, full, side):
    assert stage_side(Stage(share), full) == side


def test_small_images_are_cropped_and_large_ones_scaled():
    assert resizing(32, 32) == {}
    assert resizing(24, 32) == {"crop": 24}
    assert resizing(48, 64) == {"resolution": 48}
