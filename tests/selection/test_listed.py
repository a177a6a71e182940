from __future__ import annotations

import json

import numpy as np
import pytest

from shoestring.data import load
from shoestring.errors import UserError
from shoestring.selection import Subset
from shoestring.selection.subset import read_index_list

INDICES = [700, 3, 41, 1200]


def test_plain_lists_are_read_in_three_formats(tmp_path):
    np.save(tmp_path / "list.npy", np.array(INDICES, dtype=np.int32))
    (tmp_path / "list.json").write_text(json.dumps(INDICES))
    (tmp_path / "named.json").write_text(json.dumps({"training_indices": INDICES}))
    for name in ("list.npy", "list.json", "named.json"):
        assert read_index_list(tmp_path / name).tolist() == INDICES


def test_a_subset_file_is_not_a_plain_list(tmp_path):
    (tmp_path / "subset.json").write_text(json.dumps({"indices": [1, 2]}))
    assert read_index_list(tmp_path / "subset.json") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 1]", "duplicates"),
        ("[-1, 2]", "not valid indices"),
        ("[1.5]", "not a list of indices"),
        ("[]", "not a list of indices"),
        ("[[1], [2, 3]]", "not a list of indices"),
        ('"abc"', "not a list of indices"),
        ('{"training_indices": 3}', "not a list of indices"),
        ("[true, false]", "not a list of indices"),
    ],
)
def test_other_content_raises_errors(tmp_path, content, message):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_index_list(tmp_path / "list.json")


def test_a_damaged_array_raises_an_error(tmp_path):
    (tmp_path / "list.npy").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot read"):
        read_index_list(tmp_path / "list.npy")


def test_listed_images_are_not_held_out_and_keep_their_order():
    source = load("digits", validation=0.5)
    held = source.validation.rows[:3]  # held out by default
    data = load("digits", validation=0.5, keep=held)
    assert len(data.validation) == len(source.validation)
    subset = Subset.from_rows(data.train, held[::-1])
    assert data.train[subset].ids.tolist() == source.validation.ids[:3].tolist()[::-1]
    assert subset.method == "list"
    with pytest.raises(UserError, match="3 of 3 listed images are held out"):
        Subset.from_rows(source.train, held)


def test_an_index_out_of_range_raises_an_error():
    with pytest.raises(UserError, match=r"index 2000 is listed, but digits has 1,797 training images"):
        load("digits", keep=np.array([3, 2000]))


def test_a_class_that_is_listed_completely_has_no_held_out_images():
    data = load("digits")
    zeros = data.train.rows[data.train.targets == 0]
    everything = np.concatenate([zeros, data.validation.rows[data.validation.targets == 0]])
    everything = np.concatenate([everything, data.test.rows[data.test.targets == 0]])
    kept = load("digits", keep=everything)
    assert kept.test.counts()[0] == kept.validation.counts()[0] == 0 < kept.test.counts()[1:].min()
    assert any("too few images to hold one out for test: 0" in note for note in kept.notes)
