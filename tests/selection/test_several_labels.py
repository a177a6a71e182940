"""Selection of images with several labels each."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from label_images import LABELS, label_images
from shoestring import api
from shoestring.config import registry
from shoestring.config.recipe import Select
from shoestring.errors import UserError
from shoestring.planning.selection_method import with_method
from shoestring.selection.export import copy_images, write_table
from shoestring.selection.near_duplicates import count_conflicting

pytestmark = pytest.mark.usefixtures("arguments")

NEED_ONE_CLASS = {"aum", "ccs", "craig", "d2", "dual", "el2n", "forgetting", "grand", "margin", "window"}


@pytest.fixture
def images():
    return label_images(60)


@pytest.fixture
def rows(tmp_path):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32))
    return str(tmp_path / "rows.npy")


@pytest.mark.parametrize("method", registry.names("select"))
def test_methods_that_compare_images_work_and_others_are_refused(images, rows, method):
    if method not in NEED_ONE_CLASS:
        assert len(api.select(images, 10, method=method, features=rows)) == 10
        return
    with pytest.raises(
        UserError, match=f"{method} needs one class for each image, and these have several labels: use "
    ):
        api.select(images, 10, method=method, features=rows)


def test_a_proxy_computes_features_only(images, tmp_path):
    file = tmp_path / "signals.npz"
    chosen = api.select(images, 10, method="k_center", signals=str(file))
    with np.load(file) as saved:
        assert sorted(saved.files) == ["features", "fingerprint"]
    assert np.array_equal(chosen.indices, api.select(images, 10, method="k_center", signals=str(file)).indices)
    assert chosen.balance == "none"


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"balance": "proportional"}, "balance"),
        ({"balance": {"red": 5}}, "balance"),
        ({"within": "easiest:0.5"}, "within"),
        ({"drop_suspects": True}, "drop_suspects"),
    ],
)
def test_settings_that_need_one_class_are_refused(images, settings, flag):
    with pytest.raises(UserError, match=f"{flag} needs one class for each image, and these have several labels: omit"):
        api.select(images, 10, method="random", **settings)


def test_the_method_auto(images):
    settings = Select(examples=10)
    assert with_method(settings, images)[0].method == "random"
    assert with_method(settings, images, pretrained=True)[0].method == "facility_location"
    assert len(api.select(label_images(60, side=32), 10, drop_duplicates=True)) == 10


def test_near_duplicates_with_other_labels():
    groups, labels = np.array([0, 0, 1, 1, 2]), np.array([[0, 1], [0, 1], [0, 1], [1, 1], [0, 0]])
    assert count_conflicting(groups, labels) == 1


def test_exports(images, tmp_path):
    subset = api.select(images, 5, method="random")
    copy_images(tmp_path / "copies", images, subset, root=None)
    assert len(list((tmp_path / "copies").glob("*.png"))) == 5
    write_table(tmp_path / "table.csv", images, subset)
    with (tmp_path / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [[int(row[name]) for name in LABELS] for row in table] == images[subset].targets.tolist()
