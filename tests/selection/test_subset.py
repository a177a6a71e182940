from __future__ import annotations

import json

import numpy as np
import pytest

from shoestring.errors import UserError
from shoestring.selection import Pool, Subset, choose


@pytest.fixture
def subset(images) -> Subset:
    return choose(Pool(images, lambda: pytest.fail("no signals are needed")), 9, method="random", seed=1)


def test_saving_and_loading_changes_nothing(subset, tmp_path):
    subset.save(tmp_path / "subset.json")
    back = Subset.load(tmp_path / "subset.json")
    assert np.array_equal(back.indices, subset.indices)
    assert back.indices.dtype == np.int64
    assert {**vars(back), "indices": 0} == {**vars(subset), "indices": 0}


def test_it_says_where_it_comes_from(subset, images):
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


def test_other_images_are_refused(subset, images, make_images):
    for other in (make_images(seed=1), images[:30], images[::-1]):
        with pytest.raises(UserError, match="chosen from other images"):
            other[subset]
    assert len(images[subset]) == 9


@pytest.mark.parametrize("spoil", [lambda c: c.pop("indices"), lambda c: c.update(more=1), lambda c: c.pop("method")])
def test_files_that_are_no_subset_are_refused(subset, tmp_path, spoil):
    file = tmp_path / "subset.json"
    subset.save(file)
    content = json.loads(file.read_text())
    spoil(content)
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
def test_a_file_that_contradicts_itself_is_refused(subset, tmp_path, change):
    subset.save(tmp_path / "subset.json")
    content = json.loads((tmp_path / "subset.json").read_text())
    (tmp_path / "subset.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(UserError, match="has been changed"):
        Subset.load(tmp_path / "subset.json")


@pytest.mark.parametrize("outside", [False, True])
def test_names_of_other_images_are_noticed(subset, images, tmp_path, outside):
    subset.save(tmp_path / "subset.json")
    content = json.loads((tmp_path / "subset.json").read_text())
    content["indices"][0] = 999 if outside else int(np.setdiff1d(np.arange(60), content["indices"])[0])
    (tmp_path / "subset.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="do not agree"):
        images[Subset.load(tmp_path / "subset.json")]
