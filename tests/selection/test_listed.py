from __future__ import annotations

import json

import numpy as np
import pytest

from shoestring.data import load
from shoestring.errors import UserError
from shoestring.selection import Subset
from shoestring.selection.subset import listed

PLACES = [700, 3, 41, 1200]


def test_plain_lists_are_read_in_three_forms(tmp_path):
    np.save(tmp_path / "list.npy", np.array(PLACES, dtype=np.int32))
    (tmp_path / "list.json").write_text(json.dumps(PLACES))
    (tmp_path / "named.json").write_text(json.dumps({"training_indices": PLACES}))
    for name in ("list.npy", "list.json", "named.json"):
        assert listed(tmp_path / name).tolist() == PLACES


def test_our_own_file_is_no_plain_list(tmp_path):
    (tmp_path / "subset.json").write_text(json.dumps({"indices": [1, 2]}))
    assert listed(tmp_path / "subset.json") is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[1, 1]", "twice"),
        ("[-1, 2]", "no places"),
        ("[1.5]", "no list of places"),
        ("[]", "no list of places"),
        ("[[1], [2, 3]]", "no list of places"),
        ('"abc"', "no list of places"),
        ('{"training_indices": 3}', "no list of places"),
        ("[true, false]", "no list of places"),
    ],
)
def test_other_content_is_refused(tmp_path, content, told):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(UserError, match=told):
        listed(tmp_path / "list.json")


def test_a_broken_array_is_refused(tmp_path):
    (tmp_path / "list.npy").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot read"):
        listed(tmp_path / "list.npy")


def test_listed_images_are_trained_on_whole_and_in_their_order():
    source = load("digits", validation=0.5)
    held = source.validation.rows[:3]  # would be held out
    data = load("digits", validation=0.5, keep=held)
    assert len(data.validation) == len(source.validation)
    subset = Subset.of(data.train, held[::-1])
    assert data.train[subset].ids.tolist() == source.validation.ids[:3].tolist()[::-1]
    assert subset.method == "list"
    with pytest.raises(UserError, match="3 of 3 listed images are held out"):
        Subset.of(source.train, held)


def test_a_place_that_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"place 2000 is listed, and digits has 1,797 training images"):
        load("digits", keep=np.array([3, 2000]))


def test_classes_that_are_listed_whole_cannot_be_held_out():
    data = load("digits")
    zeros = data.train.rows[data.train.targets == 0]
    everything = np.concatenate([zeros, data.validation.rows[data.validation.targets == 0]])
    everything = np.concatenate([everything, data.test.rows[data.test.targets == 0]])
    with pytest.raises(UserError, match="class '0' has 0 training images"):
        load("digits", keep=everything)
