"""The selection method that "auto" chooses."""

from __future__ import annotations

import pytest

from shoestring.config import registry
from shoestring.config.recipe import Select
from shoestring.data.images import Images
from shoestring.planning import selection_method
from shoestring.planning.selection_method import with_method


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "d2"),
        ({"examples": 60}, "random"),
        ({"examples": 60, "learner": "features"}, "herding"),
        ({"features": "file.npy"}, "herding"),
        ({"features": "file.npy", "learner": "scratch"}, "d2"),
        ({"method": "herding"}, "herding"),
    ],
)
def test_auto_goes_by_how_many_are_taken_and_by_what_will_learn_from_them(images, settings, expected):
    assert with_method(Select(**{"examples": 3, **settings}), images)[0].method == expected
    assert expected in registry.names("select")


def test_auto_compares_no_images_where_there_are_very_many(images, monkeypatch):
    monkeypatch.setattr(selection_method, "_MAX_COMPARED", len(images))
    assert with_method(Select(examples=3), images)[0].method == "d2"
    monkeypatch.setattr(selection_method, "_MAX_COMPARED", len(images) - 1)
    assert with_method(Select(examples=3), images)[0].method == "margin"


def test_auto_covers_very_many_images_without_labels_in_one_pass(images, monkeypatch):
    unlabeled = Images(images.pixels, None, (), images.ids, fingerprint="unlabeled", mirrored=False)
    assert with_method(Select(examples=3), unlabeled)[0].method == "facility_location"
    monkeypatch.setattr(selection_method, "_MAX_COVERED", len(images) - 1)
    assert with_method(Select(examples=3), unlabeled)[0].method == "streaming"
