from __future__ import annotations

import pytest
import torch

from shoestring.data.augment import Augment, color_jitter, cutout, gather_pixels, mixup, random_windows, rotate_and_zoom


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3])
def test_gather_pixels_matches_a_slow_loop(channels):
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (5, 6, 7, channels), dtype=torch.uint8)
    index = torch.tensor([3, 0, 3])
    mirrored = torch.tensor([True, False, True])
    rows = torch.tensor([[-3, 0, 5], [1, 2, 3], [6, 7, 8]])
    columns = torch.tensor([[-6, 0], [5, 6], [7, 12]])
    taken = gather_pixels(pixels, index, mirrored=mirrored, rows=rows, columns=columns)

    def reflect(place: int, size: int) -> int:
        while not 0 <= place < size:
            place = -place if place < 0 else 2 * (size - 1) - place
        return place

    for b in range(3):
        for i, row in enumerate(rows[b].tolist()):
            for j, column in enumerate(columns[b].tolist()):
                x = reflect(column, 7)
                x = 6 - x if mirrored[b] else x
                assert torch.equal(taken[b, i, j], pixels[index[b], reflect(row, 6), x])
    assert taken.dtype == torch.uint8


@pytest.mark.parametrize(("size", "window", "shift"), [(8, 8, 2), (8, 6, 0), (8, 6, 1), (6, 8, 0), (8, 8, 0)])
def test_random_windows_cover_all_positions_in_range(size, window, shift):
    places = random_windows(500, size, window, shift, _generator())
    assert places.shape == (500, window)
    assert (places.diff(dim=1) == 1).all()
    low, high = sorted([-shift, size - window + shift])
    assert places[:, 0].unique().tolist() == list(range(low, high + 1))


@pytest.mark.parametrize("side", [1, 2, 3, 5])
def test_cutout_is_one_square_that_may_cross_the_edge(side):
    images = torch.rand(200, 2, 9, 9) + 1
    cut = cutout(images, side, _generator())
    gone = cut == 0
    assert torch.equal(gone[:, 0], gone[:, 1])
    assert torch.equal(cut[~gone], images[~gone])
    whole = 0
    for hole in gone[:, 0]:
        rows, columns = hole.any(1).nonzero()[:, 0], hole.any(0).nonzero()[:, 0]
        assert hole.sum() == len(rows) * len(columns)
        assert rows[-1] - rows[0] + 1 == len(rows) <= side
        assert columns[-1] - columns[0] + 1 == len(columns) <= side
        whole += len(rows) == len(columns) == side
    assert whole > 30


def test_zero_magnitudes_return_the_images_themselves():
    images = torch.rand(2, 1, 8, 8)
    assert cutout(images, 0, _generator()) is images
    assert rotate_and_zoom(images, 0.0, 0.0, _generator()) is images


@pytest.mark.parametrize("channels", [1, 3])
def test_color_jitter_changes_brightness_contrast_and_saturation(channels):
    images = torch.randn(4, channels, 5, 5, generator=_generator(1))
    tinted = color_jitter(images, 0.5, _generator())
    draw = (torch.rand((3, 4, 1, 1, 1), generator=_generator()) * 2 - 1).view(3, 4) * 0.5
    for image, found, brightness, contrast, saturation in zip(images, tinted, *draw):
        bright = image.mean() + (image - image.mean()) * (1 + contrast) + brightness
        grey = bright.mean(0, keepdim=True)
        torch.testing.assert_close(found, grey + (bright - grey) * (1 + saturation))
    assert color_jitter(images, 0.0, _generator()) is images
    laid = images.contiguous(memory_format=torch.channels_last)
    assert color_jitter(laid, 0.5, _generator()).is_contiguous(memory_format=torch.channels_last)


def test_tiny_rotation_changes_almost_nothing():
    images = torch.rand(4, 3, 8, 8)
    assert torch.allclose(rotate_and_zoom(images, 1e-5, 0.0, _generator()), images, atol=1e-4)


def test_rotations_differ_between_images_within_the_maximum():
    line = torch.zeros(64, 1, 33, 33)
    line[:, :, 16, :] = 1
    turned = rotate_and_zoom(line, 30.0, 0.0, _generator())
    rows = torch.arange(33.0)
    heights = [(turned[:, 0, :, x] * rows).sum(1) / turned[:, 0, :, x].sum(1) for x in (10, 22)]
    angles = torch.atan((heights[1] - heights[0]) / 12).rad2deg()
    assert angles.abs().max() < 31
    assert angles.min() < -10 and angles.max() > 10


def test_zoom_changes_scale_within_the_maximum():
    square = torch.zeros(64, 1, 32, 32)
    square[:, :, 8:24, 8:24] = 1
    sides = rotate_and_zoom(square, 0.0, 0.25, _generator()).sum((1, 2, 3)).sqrt() / 16
    assert 0.74 < sides.min() < 0.9
    assert 1.1 < sides.max() < 1.26


def test_mixup_mixes_a_fraction_of_images_and_labels():
    count = 4000
    images = (torch.arange(count) % 2.0).view(-1, 1, 1, 1).expand(-1, 3, 8, 10)
    images = images.contiguous(memory_format=torch.channels_last)
    mixed, shares = mixup(images, torch.eye(count), 0.4, _generator())
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    own = 1 - (mixed - images).abs()[:, 0, 0, 0]
    assert torch.allclose(mixed, (images - (1 - own).view(-1, 1, 1, 1)).abs())
    assert torch.allclose(shares.diagonal(), own) and torch.allclose(shares.diagonal(offset=-1), 1 - own[1:])
    assert torch.allclose(shares.sum(1), torch.ones(count))
    some = own[own < 1]
    assert 0.38 < len(some) / count < 0.42
    assert 0.47 < some.mean() < 0.53 and some.min() < 0.05 and some.max() > 0.95


def test_mixup_is_off_by_default():
    images, targets = torch.rand(16, 3, 8, 8), torch.eye(16)
    mixed, shares = mixup(images, targets, 0.0, _generator())
    assert torch.equal(mixed, images) and torch.equal(shares, targets)


def test_strength_is_interpolated_over_training():
    change = Augment(shift=0.1, cutout=0.5, rotate=10.0, zoom=0.2, jitter=0.4, mixup=0.5, strength=(0.5, 1, 0))
    found = [change.at(progress) for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert [part.rotate for part in found] == pytest.approx([5, 7.5, 10, 5, 0])
    assert found[2] == Augment(shift=0.1, cutout=0.5, rotate=10.0, zoom=0.2, jitter=0.4, mixup=0.5)
    assert found[4] == Augment()
    assert Augment(shift=0.1).at(0.7) == Augment(shift=0.1)
