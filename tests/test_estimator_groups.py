"""Groups of images that are held out together in `Classifier.fit`."""

from __future__ import annotations

import numpy as np
import pytest

from shoestring import Classifier, estimator
from shoestring.errors import UserError

QUICK = {"epochs": 1, "model": "simplecnn", "width": 0.125, "mirrored": False, "device": "cpu"}


@pytest.fixture
def divided(monkeypatch):
    """Record the training and validation images of a fit, and end it."""
    found = []

    def record(self, images, validation, *rest):
        found.append((images, validation))

    monkeypatch.setattr(estimator.Classifier, "_run", record)
    return found


def test_images_of_a_group_are_held_out_together(images, divided):
    groups = np.array([f"patient {index}" for index in np.arange(60) // 6])
    Classifier(**QUICK, validation_fraction=0.2).fit(images.pixels, images.targets, groups=groups)
    train, validation = divided[0]
    assert len(validation) == 12 and len(train) == 48
    assert not set(groups[train.rows]) & set(groups[validation.rows])


def test_images_of_weight_zero_leave_their_group(images, divided):
    groups, weight = np.arange(60) // 6, (np.arange(60) % 6 > 0).astype(float)
    Classifier(**QUICK, validation_fraction=0.2).fit(images.pixels, images.targets, weight, groups=groups)
    train, validation = divided[0]
    assert len(train) + len(validation) == 50
    kept = groups[weight > 0]
    assert not set(kept[train.rows]) & set(kept[validation.rows])


def test_groups_that_cannot_be_used_are_refused(images, arguments):
    X, y, groups = images.pixels, images.targets, np.arange(60) // 6
    with pytest.raises(UserError, match="groups has shape"):
        Classifier(**QUICK).fit(X, y, groups=groups[:5])
    with pytest.raises(UserError, match="omit them, or validation_data"):
        Classifier(**QUICK).fit(X, y, groups=groups, validation_data=(X, y))
    with pytest.raises(UserError, match="set validation_fraction"):
        Classifier(**QUICK, validation_fraction=None).fit(X, y, groups=groups)
    with pytest.raises(UserError, match="in whole groups"):
        Classifier(**QUICK).fit(X, y, groups=np.zeros(60))
