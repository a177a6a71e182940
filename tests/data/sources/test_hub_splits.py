from __future__ import annotations

import pytest

from parquet_files import datasets, parquet
from shoestring.data import load, load_split
from shoestring.data.parquet import files_of_splits
from shoestring.errors import UserError

pytestmark = pytest.mark.usefixtures("offline")


def test_split_without_labels_is_not_used(tmp_path):
    folder = parquet(tmp_path / "pets", "train")
    parquet(folder, "test", labels=[-1] * 20)
    data = load(folder)
    assert len(data.test) == 4 and any("test split" in note and "no labels" in note for note in data.notes)


def test_a_test_class_that_train_lacks(tmp_path):
    number = datasets.Value("int64")
    folder = parquet(tmp_path / "pets", "train", kind=number)
    parquet(folder, "test", labels=[0, 2] * 10, kind=number)
    with pytest.raises(UserError, match="unknown class in the test split '2'"):
        load(folder)


@pytest.mark.parametrize("first", [None, -1])
def test_split_with_missing_first_label_is_not_dropped(tmp_path, first):
    folder = parquet(tmp_path / "pets", "train")
    parquet(folder, "test", rows=4, labels=[first, 1, 0, 1])
    with pytest.raises(UserError, match=r"image 0 of the test split of .* has no label: add one"):
        load(folder)


def test_split_without_label_column_is_not_used(tmp_path):
    folder = parquet(tmp_path / "pets", "train")
    parquet(folder, "test", label="")
    assert any("test split" in note and "no labels" in note for note in load(folder).notes)


def test_splits_may_number_classes_differently(tmp_path):
    folder = parquet(tmp_path / "pets", "train")
    parquet(folder, "test", rows=4, labels=[0, 0, 0, 1], kind=datasets.ClassLabel(names=["dog", "cat", "emu"]))
    parquet(folder, "validation", rows=2, labels=["dog", "cat"], kind=datasets.Value("string"))
    data = load(folder)
    assert data.test.targets.tolist() == [1, 1, 1, 0] and data.validation.targets.tolist() == [1, 0]
    parquet(folder, "test", rows=4, labels=[0, 0, 2, 1], kind=datasets.ClassLabel(names=["dog", "cat", "emu"]))
    with pytest.raises(UserError, match="unknown class in the test split 'emu'"):
        load(folder)


def test_test_split_alone_can_be_evaluated_on(tmp_path):
    folder = parquet(tmp_path / "pets", "test")
    assert load_split(folder, classes=["dog", "cat"], resolution=6).counts().tolist() == [10, 10]


@pytest.mark.parametrize(("one", "other"), [("test", "testing"), ("val", "valid")])
def test_two_spellings_of_one_split_are_an_error(tmp_path, one, other):
    folder = parquet(tmp_path / "pets", "train")
    for name in (one, other):
        parquet(folder, name)
    with pytest.raises(UserError, match=f"files called {one} and {other} both name the"):
        load(folder)


def test_split_of_a_file_follows_from_its_name_or_folder(tmp_path):
    def splits(*names):
        return files_of_splits([tmp_path / name for name in names], tmp_path)

    assert splits("0000.parquet", "0001.parquet")[0].keys() == {"train"}
    assert {name: len(files) for name, files in splits("train/0.parquet", "dev/0.parquet")[0].items()} == {
        "train": 1,
        "validation": 1,
    }
    found, (note,) = splits("train-0.parquet", "extra-0.parquet")
    assert found.keys() == {"train"} and "extra-0.parquet" in note
    with pytest.raises(UserError, match="names train and test: which split"):
        splits("train-test.parquet")


def test_files_without_rows_are_ignored(tmp_path, capfd):
    folder = parquet(tmp_path / "pets", "train", shard="1")
    parquet(folder, "train", rows=0, shard="0")
    data = load(folder)
    assert len(data.train) + len(data.validation) + len(data.test) == 20
    (folder / "train-1.parquet").unlink()
    capfd.readouterr()
    with pytest.raises(UserError, match=r"the Parquet files in .* have no rows"):
        load(folder)
    assert capfd.readouterr().err == ""
