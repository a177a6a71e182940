from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from shoestring.data.augment import Augment
from shoestring.data.batches import Batches, on_device


def _prepare(pixels: torch.Tensor, *, resolution: int | None = None) -> torch.Tensor:
    floats = pixels.permute(0, 3, 1, 2).float()
    return floats if resolution is None else torch.nn.functional.interpolate(floats, (resolution, resolution))


PLAIN = Augment(flip=False)
ALL = Augment(flip=True, shift=0.25, cutout=0.5, rotate=20, zoom=0.1, mixup=0.5)


@pytest.fixture
def batches(images):
    return partial(Batches, images, _prepare)


@pytest.mark.parametrize("size", [7, 20, 60, 64])
def test_every_image_occurs_once_per_epoch(batches, images, size):
    stream = batches(size=size, augment=PLAIN)
    drawn = [stream.draw() for _ in range(60)]
    seen = torch.cat([batch.index for batch in drawn])
    assert all(len(batch.index) == min(size, 60) for batch in drawn)
    orders = seen[: len(seen) // 60 * 60].view(-1, 60)
    assert (orders.sort(1).values == torch.arange(60)).all()
    assert len(orders) == 1 or not torch.equal(orders[0], orders[1])


def test_batch_matches_its_indices(batches, images):
    batch = batches(size=13, augment=PLAIN).draw()
    assert torch.equal(batch.images, _prepare(torch.from_numpy(images.pixels)[batch.index]))
    assert np.array_equal(batch.labels, images.targets[batch.index])


def test_labels_of_mixed_images_are_probabilities(batches, images):
    stream = batches(size=60, augment=Augment(flip=False, mixup=0.5, strength=(1, 0)))
    batch = stream.draw()
    assert batch.labels.shape == (60, 3) and torch.allclose(batch.labels.sum(1), torch.ones(60))
    assert (batch.labels.max(1).values < 1).any()
    whole = stream.draw(progress=1.0)  # augmentation has faded out, and labels are unmixed
    assert torch.equal(whole.images, _prepare(torch.from_numpy(images.pixels)[whole.index]))
    assert np.array_equal(whole.labels, np.eye(3)[images.targets[whole.index]])


def test_peek_does_not_advance_the_stream(batches):
    stream, twin = batches(size=13, augment=ALL), batches(size=13, augment=ALL)
    stream.draw()
    twin.draw()
    looked = stream.peek(5)
    assert len(looked.index) == 5 and stream.size == 13
    found, expected = stream.draw(), twin.draw()
    assert torch.equal(looked.index, found.index[:5])
    assert torch.equal(found.images, expected.images)


def test_flips_alternate_between_epochs(batches, images):
    stream = batches(size=7, augment=Augment(flip=True))
    plain = _prepare(torch.from_numpy(images.pixels))
    flipped = torch.zeros(3 * 60, dtype=torch.bool)
    times = torch.zeros(60, dtype=torch.long)
    while times.sum() < 3 * 60:
        batch = stream.draw()
        for number, image in zip(batch.index.tolist(), batch.images):
            is_plain, is_mirror = torch.equal(image, plain[number]), torch.equal(image, plain[number].flip(-1))
            assert is_plain or is_mirror
            if times[number] < 3:
                flipped[times[number] * 60 + number] = is_mirror
                times[number] += 1
    first, second, third = flipped.view(3, 60)
    assert torch.equal(second, ~first)
    assert torch.equal(third, first)
    assert 15 < first.sum() < 45


def test_shifts_reflect_at_the_edges(batches, images):
    stream = batches(size=30, augment=Augment(flip=False, shift=0.25))
    pixels = images.pixels[..., 0].astype(np.float32)
    padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    places = set()
    for _ in range(4):
        batch = stream.draw()
        for number, image in zip(batch.index.tolist(), batch.images[:, 0].numpy()):
            windows = {
                (top, left): padded[number, top : top + 8, left : left + 8] for top in range(5) for left in range(5)
            }
            found = [place for place, window in windows.items() if np.array_equal(window, image)]
            assert len(found) == 1
            places.add(found[0])
    assert {top for top, _ in places} == {left for _, left in places} == set(range(5))


def test_crops_and_smaller_scales(batches, images):
    stream = batches(size=10, augment=PLAIN)
    assert stream.draw(resolution=4).images.shape == (10, 1, 4, 4)
    batch = stream.draw(crop=6)
    pixels = images.pixels[..., 0].astype(np.float32)
    for number, image in zip(batch.index.tolist(), batch.images[:, 0].numpy()):
        windows = [pixels[number, top : top + 6, left : left + 6] for top in range(3) for left in range(3)]
        assert any(np.array_equal(window, image) for window in windows)


def test_seed_determines_the_stream_and_global_state_is_unchanged(batches):
    before = torch.get_rng_state()
    one, same, other = (batches(size=9, augment=ALL, seed=seed) for seed in (1, 1, 2))
    for _ in range(10):
        first, second = one.draw(), same.draw()
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)
    assert not torch.equal(one.draw().index, other.draw().index)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("steps", [0, 3, 25])
def test_restored_stream_continues_with_the_same_batches(batches, steps):
    one = batches(size=7, augment=ALL, seed=1)
    for _ in range(steps):
        one.draw()
    state = {key: value.clone() if torch.is_tensor(value) else value for key, value in one.state().items()}
    expected = [one.draw() for _ in range(20)]
    two = batches(size=3, augment=ALL, seed=5)
    two.restore(state)
    for batch in expected:
        again = two.draw()
        assert torch.equal(batch.index, again.index)
        assert torch.equal(batch.images, again.images)


def test_subset_is_read_without_a_copy(images):
    part = images[np.arange(40, 10, -1)]
    stream = Batches(part, _prepare, size=9, augment=PLAIN)
    batch = stream.draw()
    assert np.shares_memory(stream.pixels.numpy(), images.store)
    assert torch.equal(batch.images, _prepare(torch.from_numpy(part.pixels)[batch.index]))
    assert np.array_equal(batch.labels, part.targets[batch.index])


def test_read_only_pixels_give_no_warning(images):
    pixels = images.pixels
    pixels.flags.writeable = False
    try:
        assert np.array_equal(on_device(images.pixels, "cpu").numpy(), pixels)
    finally:
        pixels.flags.writeable = True


def test_parts_together_match_a_single_stream(batches):
    whole = batches(size=7, augment=Augment(flip=True), seed=1)
    parts = [batches(size=7, augment=Augment(flip=True), seed=1, part=(which, 2)) for which in range(2)]
    for _ in range(20):
        expected, drawn = whole.draw(), [part.draw() for part in parts]
        for which, batch in enumerate(drawn):
            assert torch.equal(batch.index, expected.index[which::2])
            assert torch.equal(batch.images, expected.images[which::2])
        mean = sum(batch.weight * batch.images.mean() for batch in drawn) / 2
        torch.testing.assert_close(mean, expected.images.mean())


def test_parts_are_augmented_independently(make_images):
    stream = [Batches(make_images(8), _prepare, size=8, augment=ALL, part=(which, 2)) for which in range(2)]
    assert stream[0]._batch_seed() != stream[1]._batch_seed()
