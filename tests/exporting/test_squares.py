from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from shoestring.config.fit import FITS
from shoestring.data.decode import decode
from shoestring.exporting.squares import to_squares


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(16, 16), (23, 20), (20, 33), (90, 91), (90, 73), (7, 200), (5, 9), (1, 1), (200, 7)])
def test_squares_are_those_of_decoding(fit, size):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = decode(Image.fromarray(pixels), resolution=16, channels=3, fit=fit)
    found = to_squares(torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), 16, fit)[0].permute(1, 2, 0).numpy()
    different = np.abs(found - expected)
    assert different.max() <= 1 and (different > 0).mean() < 0.002  # ties, which floats round to either side


@pytest.mark.parametrize("fit", FITS)
def test_squares_of_tall_photos_are_those_of_decoding(fit):
    """Pillow may resize the rows of tall images before their columns, and rounds in between."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 4, 3), dtype=np.uint8))
    photo = noise.resize((40, 120), Image.Resampling.BICUBIC)
    expected = decode(photo, resolution=16, channels=3, fit=fit)
    pixels = torch.from_numpy(np.asarray(photo).copy()).permute(2, 0, 1)[None].float()
    found = to_squares(pixels, 16, fit)[0].permute(1, 2, 0).numpy()
    different = np.abs(found - expected)
    assert different.max() <= 1 and (different > 0).mean() < 0.002


def test_a_square_of_the_right_size_is_unchanged():
    pixels = torch.randint(0, 256, (2, 1, 24, 24)).float()
    for fit in FITS:
        assert torch.equal(to_squares(pixels, 24, fit), pixels)
