from __future__ import annotations

import json

import numpy as np
import pytest

from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.selection import Pool, Strategy, Subset, select_subset


@pytest.fixture
def subset(images) -> Subset:
    return select_subset(Pool(images, lambda: pytest.fail("no signals are needed")), 9, Strategy("random"), seed=1)


def test_save_and_load_preserve_all_fields(subset, tmp_path):
    subset.save(tmp_path / "subset.json")
    loaded = Subset.load(tmp_path / "subset.json")
    assert np.array_equal(loaded.indices, subset.indices)
    assert loaded.indices.dtype == np.int64
    assert {**vars(loaded), "indices": 0} == {**vars(subset), "indices": 0}


def test_a_subset_records_its_origin(subset, images):
    assert subset.ids == tuple(images.ids[subset.indices])
    assert (subset.method, subset.seed, subset.balance, subset.fingerprint) == (
        "random",
        1,
        "equal",
        images.fingerprint,
    )


def test_a_prefix_is_a_smaller_subset(subset, images):
    assert len(subset[:4]) == 4
    assert np.array_equal(images[subset[:4]].pixels, images.pixels[subset.indices[:4]])
    assert subset[:4].ids == subset.ids[:4]


def test_other_images_raise_an_error(subset, images, make_images):
    for other in (make_images(seed=1), images[:30], images[::-1]):
        with pytest.raises(UserError, match="selected from other images"):
            other[subset]
    assert len(images[subset]) == 9


@pytest.mark.parametrize("corrupt", [lambda c: c.pop("indices"), lambda c: c.update(more=1), lambda c: c.pop("method")])
def test_files_that_are_not_subsets_raise_errors(subset, tmp_path, corrupt):
    file = tmp_path / "subset.json"
    subset.save(file)
    content = json.loads(file.read_text())
    corrupt(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not a subset file"):
        Subset.load(file)


@pytest.mark.parametrize(
    "change",
    [
        {"indices": [0, 0, 1, 2, 3, 4, 5, 6, 7]},
        {"indices": [-1, 0, 1, 2, 3, 4, 5, 6, 7]},
        {"indices": [0, 1, 2]},
        {"kept": 10},
    ],
)
def test_an_inconsistent_file_raises_an_error(subset, tmp_path, change):
    subset.save(tmp_path / "subset.json")
    content = json.loads((tmp_path / "subset.json").read_text())
    (tmp_path / "subset.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(UserError, match="has been changed"):
        Subset.load(tmp_path / "subset.json")


@pytest.mark.parametrize("outside", [False, True])
def test_ids_of_other_images_raise_an_error(subset, images, tmp_path, outside):
    subset.save(tmp_path / "subset.json")
    content = json.loads((tmp_path / "subset.json").read_text())
    content["indices"][0] = 999 if outside else int(np.setdiff1d(np.arange(60), content["indices"])[0])
    (tmp_path / "subset.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="do not match"):
        images[Subset.load(tmp_path / "subset.json")]


def test_a_subset_fits_the_same_images_in_another_size(make_images):
    images = make_images(30, side=16)
    subset = Subset.from_rows(images, np.array([3, 1, 2]))
    small = images.resized(8)
    small = Images(small.store, small.labels, small.classes, small.ids, fingerprint="of the smaller images")
    assert small[subset].ids.tolist() == images[subset].ids.tolist()
    other = Images(images.store, images.labels, images.classes, images.ids, fingerprint="other pixels")
    with pytest.raises(UserError, match="other images"):
        other[subset]
    relabeled = Images(small.store, (small.targets + 1) % 3, small.classes, small.ids, fingerprint="other labels")
    with pytest.raises(UserError, match="other images"):
        relabeled[subset]
