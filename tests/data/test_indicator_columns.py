"""Several labels per image in the columns of a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shoestring.data import load, load_split
from shoestring.data.label_columns import Labels
from shoestring.errors import UserError
from shoestring.tasks import MULTI_LABEL, SINGLE_LABEL

COUNT = 24
ROWS = [[index % 2, int(index % 3 == 0), int(index < 6)] for index in range(COUNT)]
NAMES = ("wings", "large", "red")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(COUNT):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{index:02}.png")
    return folder


def frame(**more) -> pd.DataFrame:
    content = {"path": [f"{index:02}.png" for index in range(COUNT)], **dict(zip(NAMES, np.transpose(ROWS)))}
    return pd.DataFrame({**content, **more})


def labels_of(data) -> dict[str, list[int]]:
    splits = (data.train, data.validation, data.test)
    return {str(name): labels for images in splits for name, labels in zip(images.ids, images.targets.tolist())}


def message(folder, table, **settings) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, labels=table, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


EXPECTED = {f"{index:02}.png": row for index, row in enumerate(ROWS)}


@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
def test_columns_of_zeros_and_ones_are_found(photos, tmp_path, kind):
    table = frame(photographer="Ann", width=np.arange(COUNT) + 100)
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        table.astype(dict.fromkeys(NAMES, bool)).to_parquet(tmp_path / "labels.parquet")
    elif kind == "csv":
        table.to_csv(tmp_path / "labels.csv")  # with a column without a name
    for _ in range(2):  # decoded, and from the cache
        data = load(photos, labels=table if kind == "frame" else tmp_path / f"labels.{kind}")
        assert data.classes == NAMES and data.train.task == MULTI_LABEL
        assert labels_of(data) == EXPECTED
    assert any("labels in 'wings', 'large', 'red'" in note for note in data.notes)


@pytest.mark.parametrize("given", ["red, Wings", ["red", "wings"]])
def test_columns_may_be_named(photos, given):
    data = load(photos, labels=frame(label="photo"), label_column=given)
    assert data.classes == ("red", "wings")
    assert labels_of(data) == {name: [row[2], row[0]] for name, row in EXPECTED.items()}
    assert load(photos, labels=frame(), label_column="red").train.task == SINGLE_LABEL


def test_a_name_with_a_comma(photos):
    assert load(photos, labels=frame(**{"red,green": "abc"[:1]}), label_column=["red", "wings"]).classes
    table = frame(**{"a,b": ["x", "y"] * (COUNT // 2)})
    assert load(photos, labels=table, label_column="a,b").classes == ("x", "y")


def test_splits_and_groups(photos):
    split = ["train"] * 16 + ["test"] * 8
    data = load(photos, labels=frame(split=split), validation=0)
    assert len(data.test) == 8 and data.test.counts().tolist() == [4, 2, 0]
    walk = np.arange(COUNT) // 2
    data = load(photos, labels=frame(walk=walk), group_column="walk")
    groups = [{int(str(name)[:2]) // 2 for name in images.ids} for images in (data.train, data.validation, data.test)]
    assert sum(map(len, groups)) == COUNT // 2 and data.train.counts().all()


def test_columns_of_which_one_is_set_are_classes(photos):
    one_hot = np.eye(3, dtype=int)[np.arange(COUNT) % 3]
    data = load(photos, labels=frame(**dict(zip(NAMES, one_hot.T))))
    assert data.classes == NAMES and data.train.task == SINGLE_LABEL
    assert labels_of(data) == {name: index % 3 for index, name in enumerate(EXPECTED)}
    assert data.notes[1] == "each image has exactly one label: the labels are classes, which exclude each other."


@pytest.mark.parametrize(
    ("table", "settings", "text"),
    [
        (frame(red=["red", *[0] * 23]), {}, "the column 'red' of the data frame holds 'red' in row 1: with one column"),
        (
            frame(red=[0, 2, 2, *[1] * 21]),
            {},
            "holds '2' in row 2 and 1 more: with one column per label, expected 0 or 1",
        ),
        (frame(red=[None, *[1] * 23]), {"label_column": NAMES}, "'red' of the data frame is empty in row 1: with one"),
        (frame(red="yes"), {"label_column": NAMES}, "holds 'yes' in row 1 and 23 more"),
        (frame(red=0), {}, "label 'red' has no training images: add some, or remove the label."),
        (
            frame(red=0).drop(columns=["wings", "large"]),
            {},
            "with --label-column. Or give each label a column of 0 and 1.",
        ),
        (frame(), {"label_column": "wings,larg"}, "unknown column of the data frame 'larg'. Did you mean 'large'"),
        (
            frame(),
            {"label_column": ["wings", "wings"]},
            "the column 'wings' of the data frame is named for two purposes",
        ),
        (frame(), {"label_column": "wings,red", "group_column": "red"}, "'red' of the data frame is named for two"),
        (
            pd.concat([frame(), frame().iloc[:1]]),
            {},
            "'00.png' is listed twice in the data frame, both times as 'large, ",
        ),
    ],
)
def test_tables_that_do_not_fit(photos, table, settings, text):
    assert text in message(photos, table, **settings)


def test_other_images_are_labeled_as_those_of_the_model(photos):
    size = {"resolution": 8, "classes": ("red", "wings")}
    table = Labels(frame(), label=("red", "wings"))
    images = load_split(photos, labels=table, task=MULTI_LABEL, **size)
    assert images.task == MULTI_LABEL and images.targets.tolist() == [[row[2], row[0]] for row in ROWS]
    exclusive = frame(red=1 - np.array(ROWS)[:, 0])  # by chance one label for each image
    found = load_split(photos, labels=Labels(exclusive, label=("wings", "red")), task=MULTI_LABEL, **size)
    assert found.targets.tolist() == [[1 - row[0], row[0]] for row in ROWS]
    with pytest.raises(UserError, match=r"have several labels for each image \(0 or 1\), and the model one class"):
        load_split(photos, labels=table, **size)
    with pytest.raises(UserError, match=r"unknown class in .* 'large'"):
        load_split(photos, labels=Labels(frame()), task=MULTI_LABEL, **size)
