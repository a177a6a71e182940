"""Tables of labels: splits, groups, and what is wrong in a table."""

from __future__ import annotations

import os

import pytest

from label_tables import labels_of, message, rows, write
from shoestring.data import load, load_split
from shoestring.data.label_columns import Labels
from shoestring.errors import UserError


def test_a_split_column_is_respected(listed, tmp_path):
    words = ["train", "Training", "val", "test"]
    lines = [(*row, words[index // 3 % 4]) for index, row in enumerate(rows())]
    file = write(tmp_path / "labels.csv", lines, "path,label,Split")
    data = load(listed, labels=file)
    for images, split in ((data.train, words[:2]), (data.validation, words[2:3]), (data.test, words[3:])):
        assert set(images.ids) == {path for path, _, word in lines if word in split}
    ignored = load(listed, labels=file, split_column="none")
    assert len(ignored.test) == 5 and set(ignored.test.ids) != set(data.test.ids)
    named = write(tmp_path / "named.csv", lines, "path,label,part")
    assert set(load(listed, labels=named, split_column="part").test.ids) == set(data.test.ids)


def test_invalid_splits(listed, tmp_path):
    lines = [(*row, "trian" if index == 5 else "train") for index, row in enumerate(rows())]
    error = message(listed, write(tmp_path / "labels.csv", lines, "path,label,split"))
    assert (
        "column 'split' of" in error and "says 'trian' of 'part1/05.png': expected train, validation or test" in error
    )
    lines = [(*row, "" if index == 5 else "train") for index, row in enumerate(rows())]
    assert "is empty for 'part1/05.png'" in message(listed, write(tmp_path / "labels.csv", lines, "path,label,split"))
    lines = [(*row, "test") for row in rows()]
    error = message(listed, write(tmp_path / "labels.csv", lines, "path,label,split"))
    assert "lists no images of the train split, only test" in error


def test_a_label_that_never_occurs_in_training(listed, tmp_path):
    lines = [(path, label, "test" if label == "emu" else "train") for path, label in rows()]
    error = message(listed, write(tmp_path / "labels.csv", lines, "path,label,split"))
    assert (
        "label 'emu' in the test split of" in error and "never occurs in its train split, which has cat, dog" in error
    )


def test_groups_are_never_in_two_splits(listed, tmp_path):
    lines = [(*row, f"patient {index // 3 % 7}" if index < 21 else "") for index, row in enumerate(rows())]
    file = write(tmp_path / "labels.csv", lines, "path,label,patient")
    group_of = {path: group for path, _, group in lines}
    for seed in range(5):
        data = load(listed, labels=file, group_column="patient", split_seed=seed)
        groups = [{group_of[str(name)] for name in images.ids} for images in (data.train, data.validation, data.test)]
        assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]) - {""}
        assert labels_of(data) == dict(rows())
        assert all(len(images) for images in (data.validation, data.test))
    assert any("in whole groups" in note for note in data.notes)


def test_a_group_in_two_splits_of_the_table_is_an_error(listed, tmp_path):
    lines = [(*row, "test" if index % 4 < 2 else "train", f"p{index // 3}") for index, row in enumerate(rows())]
    file = write(tmp_path / "labels.csv", lines, "path,label,split,patient")
    assert "group 'p0' of the column 'patient' of" in message(listed, file, group_column="patient")
    assert load(listed, labels=file).test


def test_images_that_are_not_listed_are_counted(listed, tmp_path):
    (listed / "notes.txt").write_text("no image")
    data = load(listed, labels=write(listed / "labels.csv", rows(count=21)))
    assert len(labels_of(data)) == 21
    note = next(note for note in data.notes if "left out" in note)
    assert "left out 3 images that" in note and "part0/22.png" in note and "notes.txt" not in note


def test_missing_images_are_an_error_or_skipped(listed, tmp_path):
    lines = [*rows(), ("part0/gone.png", "cat"), ("gone2.png", "dog")]
    file = write(tmp_path / "labels.csv", lines)
    error = message(listed, file)
    assert "2 of the 26 images that" in error and "the first 'part0/gone.png'" in error
    data = load(listed, labels=file, skip_bad=True)
    assert labels_of(data) == dict(rows()) and len(data.skipped) == 2
    with pytest.raises(UserError, match="cannot read"):  # from the cache
        load(listed, labels=file)


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (["part0/00.png,cat"], "'part0/00.png' is listed twice in .*, both times as 'cat': keep one line"),
        (["./part0/00.png,dog"], "'./part0/00.png' is listed twice in .*, as 'cat' and 'dog': keep one line"),
        (["part0/00.png,cat", "part1/01.png,cat"], "'part1/01.png' .* as 'dog' and 'cat', and 1 more images"),
        (["part0/99.png,"], "'label' of .* is empty for 1 of its 25 lines, the first 'part0/99.png'"),
        ([",cat"], "'path' of .* is empty for 1 of its 25 lines: fill"),
        (["part0/00.png,cat,3"], "line 26 of .* has 3 cells, and its header has 2"),
        (['"part0/00.png,cat'], "1 of the 25|is empty for 1"),
    ],
)
def test_invalid_lines(listed, tmp_path, extra, text):
    file = write(tmp_path / "labels.csv", [*rows(), *extra])
    with pytest.raises(UserError, match=text):
        load(listed, labels=file)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "labels.csv is empty"),
        (b"\n \n", "labels.csv is empty"),
        (b"path,label\n", "has a header, and no line below it"),
        (b"path,label\n\xff\xfe,x\n", "is not text in UTF-8"),
        ("path,label\na,b\n".encode("utf-16"), "is not text in UTF-8"),
        (b"a,b\nc,d\n", "has no column of image paths such as 'path', only a, b: name it with --path-column."),
        (b"path,b\nc,d\n", "has no column of labels such as 'label', only path, b: name it with --label-column."),
        (b"00.png,cat\n01.png,dog\n", "Its first line must be a header."),
        (b"path,label,label\nx,y,z\n", "more than one column of .* is called 'label'"),
        (b"path,label\nx,0.25\ny,1\n", "'label' of .* holds real numbers such as 0.25"),
    ],
)
def test_invalid_files(listed, tmp_path, content, text):
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UserError, match=text) as caught:
        load(listed, labels=tmp_path / "labels.csv")
    assert "\n" not in str(caught.value)


def test_invalid_places(listed, tmp_path):
    assert "labels.csv is missing: expected a CSV or Parquet file" in message(listed, tmp_path / "labels.csv")
    assert "is a folder" in message(listed, listed)
    (tmp_path / "labels.xlsx").write_bytes(b"PK")
    assert "is a spreadsheet" in message(listed, tmp_path / "labels.xlsx")
    file = write(tmp_path / "labels.csv", rows())
    assert "digits is none" in message("digits", file)
    assert "Did you mean" in message(tmp_path / "photo", file)


def test_the_cache_notices_changed_labels(listed, tmp_path):
    file = write(tmp_path / "labels.csv", rows())
    before = load(listed, labels=file)
    assert load(listed, labels=file).train.fingerprint == before.train.fingerprint
    changed = [(path, {"cat": "cat", "dog": "emu", "emu": "dog"}[label]) for path, label in rows()]
    write(file, changed)
    os.utime(file, ns=(1, 1))
    data = load(listed, labels=file)
    assert labels_of(data) == dict(changed) and data.train.fingerprint != before.train.fingerprint


def test_a_split_to_evaluate_on(listed, tmp_path):
    file = write(tmp_path / "labels.csv", [row for row in rows() if row[1] != "dog"])
    images = load_split(listed, classes=["emu", "dog", "cat"], resolution=8, labels=Labels(file))
    assert images.counts().tolist() == [8, 0, 8]
    with pytest.raises(UserError, match=r"unknown class in .* 'emu'"):
        load_split(listed, classes=["dog", "cat"], resolution=8, labels=Labels(file))
