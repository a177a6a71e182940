from __future__ import annotations

import numpy as np

from shoestring.runs.augmented import make_augmented, note_on
from shoestring.runs.gallery import Sources, make_gallery


def test_training_images_are_shown_as_the_network_sees_them(make_images, make_model):
    images = make_images(30, side=16)
    rows = make_augmented(images, make_model(images), {"flip": False, "cutout": 0.5, "strength": [0.0, 2.0]})
    assert len(rows) == 6 and all([one.caption for one in row[1:]] == ["epoch 1", "epoch 2"] for row in rows)
    assert rows[0][0].caption == images.classes[images.targets[0]]
    assert len({picture.source for row in rows for picture in row}) == 18
    assert all(len({picture.name for picture in row}) == 1 for row in rows)


def test_without_augmentation_pixels_stay_and_nothing_is_shown(make_images, make_model):
    images = make_images(3, side=16)
    model = make_model(images)
    assert make_augmented(images, model, {"flip": False, "shift": 0.0, "strength": [1.0]}) == []
    assert make_augmented(images, model, {}) == make_augmented(images[np.arange(0)], model, {"flip": True}) == []
    unchanged = make_augmented(images, model, {"flip": False, "rotate": 1e-9, "of_another_version": 1})
    assert all(len({picture.source for picture in row}) == 1 for row in unchanged) and len(unchanged) == 3


def test_mixup_is_explained():
    assert "Mixup" in note_on({"mixup": 0.8}) and "Mixup" not in note_on({"flip": True})


def test_mirrored_in_every_other_epoch(make_images, make_model):
    images = make_images(4, side=16)
    for image, first, second in make_augmented(images, make_model(images), {"flip": True}):
        assert (first.source == image.source) != (second.source == image.source)


def test_gallery_has_them_if_there_is_time(make_images, make_model):
    images = make_images(9, side=16)
    sources = Sources(images, np.array([1, 4, 7]), images[:0], make_model(images))
    how = {"seconds_per_pass": 1e-4, "augment": {"flip": True}}
    gallery = make_gallery(sources, None, left=lambda: 9.0, **how)
    assert [row[0].name for row in gallery.augmented] == [str(images.ids[index]) for index in (1, 4, 7)]
    assert "augmentation" in gallery.notes["augmented"]
    assert make_gallery(sources, None, left=lambda: 0.0, **how).augmented == []
