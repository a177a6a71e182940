"""How rectangles become squares: exact pixels, and the same ones from every source."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from shoestring.config.fit import FITS
from shoestring.data import from_arrays, in_memory, load, load_split, load_unlabeled
from shoestring.data.decode import decode, decode_file, header
from shoestring.data.squares import resized_size
from shoestring.data.user_images import as_images
from shoestring.errors import UserError

WIDE = np.array([[0, 80, 160, 240], [10, 90, 170, 250]], dtype=np.uint8)
GRAY = 128
decode_module = sys.modules[decode.__module__]


def gray(image, side, fit):
    return decode(image, resolution=side, channels=1, fit=fit)[..., 0].tolist()


def test_crop_takes_the_center():
    assert gray(WIDE, 2, "crop") == [[80, 160], [90, 170]]
    assert gray(WIDE.T, 2, "crop") == [[80, 90], [160, 170]]


def test_squash_resizes_the_longer_side_only():
    # bicubic weights 0.8672, 0.8672, 0.2266 and -0.0703 over their sum for the first two pixels of four
    assert gray(WIDE, 2, "squash") == [[47, 193], [57, 203]]
    assert gray(WIDE.T, 2, "squash") == [[47, 57], [193, 203]]


def test_pad_adds_gray_bars():
    bar = [GRAY] * 4
    assert gray(WIDE, 4, "pad") == [bar, *WIDE.tolist(), bar]
    assert gray(WIDE.T, 4, "pad") == np.transpose([bar, *WIDE.tolist(), bar]).tolist()
    color = decode(np.stack([WIDE] * 3, axis=-1), resolution=4, channels=3, fit="pad")
    assert color[0].tolist() == [[GRAY] * 3] * 4 and color[1, 1].tolist() == [80] * 3


def test_bars_of_unequal_width_are_wider_at_the_right_and_at_the_bottom():
    pixels = WIDE[:, :3]
    assert gray(pixels, 3, "pad") == [*pixels.tolist(), [GRAY] * 3]
    assert gray(pixels.T, 3, "pad") == [[*row, GRAY] for row in pixels.T.tolist()]


def test_pad_resizes_the_longer_side():
    pixels = np.full((10, 20), 40, dtype=np.uint8)
    assert gray(pixels, 4, "pad") == [[GRAY] * 4, [40] * 4, [40] * 4, [GRAY] * 4]
    assert gray(pixels[:1], 4, "pad") == [[GRAY] * 4, [40] * 4, [GRAY] * 4, [GRAY] * 4]  # at least a pixel remains
    assert resized_size((3, 2), 5, "pad") == (5, 3) and resized_size((1000, 1), 64, "pad") == (64, 1)
    assert resized_size((3, 2), 5, "squash") == resized_size((3, 2), 5, "crop") == (5, 5)


@pytest.mark.parametrize("fit", FITS)
def test_squares_are_only_resized(fit):
    square = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(square, resolution=6, channels=3, fit=fit), square)
    smaller = decode(square, resolution=4, channels=3, fit=fit)
    np.testing.assert_array_equal(smaller, decode(square, resolution=4, channels=3))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_bars_are_beside_the_image_as_it_is_seen(tmp_path, fit, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(WIDE[:, :3]).save(tmp_path / "turned.png", exif=exif)
    upright = Image.fromarray(WIDE[:, :3])
    if orientation in decode_module._ORIENTATIONS:
        upright = upright.transpose(decode_module._ORIENTATIONS[orientation])
    side = 2 if fit == "crop" else 3
    assert gray(tmp_path / "turned.png", side, fit) == pytest.approx(np.array(gray(upright, side, fit)), abs=1)


@pytest.mark.parametrize("fit", FITS)
def test_large_jpeg_is_decoded_like_its_pixels(tmp_path, fit):
    ramp = np.linspace(0, 200, 1000 * 401).reshape(401, 1000).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "ramp.jpg", quality=95)
    small = np.array(gray(tmp_path / "ramp.jpg", 50, fit))
    assert abs(small - gray(ramp, 50, fit)).max() <= 5
    assert np.flatnonzero((small == GRAY).all(1)).tolist() == ([*range(15), *range(35, 50)] if fit == "pad" else [])


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(8, 11), (9, 2)])
def test_huge_images_are_reduced_in_strips(monkeypatch, fit, shape):
    board = np.kron(np.random.default_rng(0).integers(0, 2, shape), np.ones((60, 60))) * 200
    image = Image.fromarray(board.astype(np.uint8))
    whole, seen = np.array(gray(image, 8, fit)), []
    real = decode_module.to_8_bit
    monkeypatch.setattr(decode_module, "_STRIP", 14_000)
    monkeypatch.setattr(decode_module, "to_8_bit", lambda part, coding: seen.append(part.size) or real(part, coding))
    strips = np.array(gray(image, 8, fit))
    assert len(seen) >= 2 and max(width * height for width, height in seen) <= 14_000
    assert abs(strips - whole).mean() < 6 and abs(strips - whole).max() < 40


@pytest.mark.parametrize(("fit", "side"), [("crop", 12), ("squash", 12), ("pad", 20)])
def test_images_keep_their_scale_by_default(photos, fit, side):
    root = photos({"cat": 5, "dog": 5}, size=(20, 12))
    pixels = np.zeros((4, 12, 20, 3), dtype=np.uint8)
    files = sorted(root.rglob("*.png"))
    assert header(files[0], fit=fit) == (side, False)
    assert load(root, fit=fit).train.shape == (side, side, 3)
    assert as_images(files, None, classes=(), fit=fit).shape == (side, side, 3)
    assert as_images(pixels, None, classes=(), fit=fit).shape == (side, side, 3)
    assert as_images([pixels[0], pixels[0, :-1]], None, classes=(), fit=fit).shape[0] in (side, 11)
    assert from_arrays(pixels, [0, 1, 0, 1], validation=0.5, fit=fit).train.shape == (side, side, 3)


@pytest.mark.parametrize("fit", FITS)
def test_every_source_gives_the_same_pixels(photos, tmp_path, fit):
    root = photos({"cat": 4, "dog": 4}, size=(15, 9))
    files = sorted(root.rglob("*.png"))
    opened = [Image.open(file) for file in files]
    arrays = np.stack([np.asarray(image) for image in opened])
    labels = np.repeat([0, 1], 4)
    np.savez(tmp_path / "data.npz", test_images=arrays, test_labels=labels, classes=["cat", "dog"])
    size = {"resolution": 10, "fit": fit}
    expected = np.stack([decode_file(file, channels=3, **size) for file in files])
    for images in (
        load_split(root, "train", classes=["cat", "dog"], **size),
        load_split(tmp_path / "data.npz", "test", classes=["cat", "dog"], **size),
        load_unlabeled(root, **size),
        in_memory(arrays, None, classes=["cat", "dog"], **size),
        as_images(files, None, classes=[], **size),
        as_images(opened, None, classes=[], **size),
        as_images(list(arrays), None, classes=[], **size),
    ):
        np.testing.assert_array_equal(images.pixels, expected)
        assert images.fit == images[:2].fit == images.resized(4).fit == images.weighted(None).fit == fit


def test_unknown_fit(photos):
    root = photos({"cat": 4, "dog": 4})
    for call in (
        lambda: load(root, fit="padd"),
        lambda: load_unlabeled(root, fit="padd"),
        lambda: as_images([root / "cat" / "00.png"], None, classes=[], fit="padd"),
        lambda: in_memory(np.zeros((1, 2, 2), np.uint8), None, classes=[], fit="padd"),
        lambda: decode_file(root / "cat" / "00.png", resolution=4, channels=3, fit="padd"),
    ):
        with pytest.raises(UserError, match=r"^unknown fit 'padd'\. Did you mean 'pad'\? Known: crop, pad, squash\.$"):
            call()
