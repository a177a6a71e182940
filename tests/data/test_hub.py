from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

from shoestring.data import load
from shoestring.errors import UserError

datasets = pytest.importorskip("datasets")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
NAMES = ["cat", "dog"]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """The Hub cannot be reached, and the user's own cache is not touched."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))


def encoded(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(folder, split, *, rows=20, image="image", label="label", labels=None, kind=None, plain=False, shard=""):
    """Write one Parquet file of `rows` images; returns its folder."""
    folder.mkdir(exist_ok=True)
    values = [encoded(one) for one in PIXELS[:rows]]
    column = values if plain else [{"bytes": one, "path": None} for one in values]
    features = {image: datasets.Value("binary") if plain else datasets.Image()}
    content = {image: column}
    if label:
        features[label] = kind or datasets.ClassLabel(names=NAMES)
        content[label] = [index % 2 for index in range(rows)] if labels is None else labels
    table = datasets.Dataset.from_dict(content, features=datasets.Features(features))
    table.to_parquet(folder / f"{split}-{shard or '00000-of-00001'}.parquet")
    return folder


def test_a_folder_of_parquet_files(tmp_path):
    folder = parquet(tmp_path / "pets", "train", shard="00000-of-00002")
    parquet(folder, "train", shard="00001-of-00002")
    parquet(folder, "validation", rows=4)
    parquet(folder, "test", rows=6)
    data = load(folder)
    assert data.name == "pets" and data.classes == ("cat", "dog") and not data.notes
    assert [len(split) for split in (data.train, data.validation, data.test)] == [40, 4, 6]
    np.testing.assert_array_equal(data.train.pixels, np.concatenate([PIXELS, PIXELS]))
    np.testing.assert_array_equal(data.train.targets, np.arange(40) % 2)
    assert data.test.ids.tolist()[-1] == "test/00005"


def test_progress_knows_the_total_of_all_files(tmp_path):
    calls = []
    folder = parquet(tmp_path / "pets", "train")
    parquet(folder, "test")
    load(folder, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (40, 40) and calls[0][1] == 40


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        ([3, 8] * 10, datasets.Value("int64"), ("3", "8")),
        (["dog", "cat"] * 10, datasets.Value("string"), ("cat", "dog")),
        ([0, 1] * 10, datasets.Value("uint8"), ("0", "1")),
    ],
)
def test_columns_are_found_by_kind_and_name(tmp_path, labels, kind, classes):
    folder = parquet(tmp_path / "pets", "train", image="picture", label="Target", labels=labels, kind=kind, plain=True)
    data = load(folder)
    assert data.classes == classes
    first = classes.index(str(labels[0]))
    rows = [int(name.split("/")[1]) for name in data.train.ids]
    np.testing.assert_array_equal(data.train.targets, [first if row % 2 == 0 else 1 - first for row in rows])
    np.testing.assert_array_equal(data.train.pixels, PIXELS[rows])


def test_a_test_split_without_labels_is_left_aside(tmp_path):
    folder = parquet(tmp_path / "pets", "train")
    parquet(folder, "test", labels=[-1] * 20)
    data = load(folder)
    assert len(data.test) == 4 and any("test split" in note and "no labels" in note for note in data.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [-1] * 20}, "train split of .* has no labels"),
        ({"labels": [0, 1] * 9 + [0, -1]}, "image 19 of the train split .* has no label"),
        ({"label": ""}, "no column for the label"),
        ({"label": "mood", "kind": datasets.Value("int64")}, "no column for the label"),
        ({"labels": [0] * 20}, "'dog' has no training images"),
        ({"split": "test"}, "no train split, only test"),
    ],
)
def test_parquet_files_that_cannot_be_used(tmp_path, options, message):
    with pytest.raises(UserError, match=message) as caught:
        load(parquet(tmp_path / "pets", options.pop("split", "train"), **options))
    assert "\n" not in str(caught.value)


def test_a_test_class_that_train_lacks(tmp_path):
    number = datasets.Value("int64")
    folder = parquet(tmp_path / "pets", "train", kind=number)
    parquet(folder, "test", labels=[0, 2] * 10, kind=number)
    with pytest.raises(UserError, match="unknown class in the test split '2'"):
        load(folder)


def test_a_broken_image_is_named_and_can_be_skipped(tmp_path):
    folder = tmp_path / "pets"
    folder.mkdir()
    images = [encoded(one) for one in PIXELS]
    images[7] = b"not an image"
    images[8] = None
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = {"image": [one and {"bytes": one, "path": None} for one in images], "label": [0, 1] * 10}
    datasets.Dataset.from_dict(rows, features=kinds).to_parquet(folder / "train-00000-of-00001.parquet")
    with pytest.raises(UserError, match=r"cannot read train/00007: it is not an image"):
        load(folder)
    data = load(folder, skip_bad=True)
    assert sum(map(len, (data.train, data.validation, data.test))) == 18
    assert any("train/00007, train/00008" in note for note in data.notes)


def test_a_file_that_is_not_parquet(tmp_path):
    folder = parquet(tmp_path / "pets", "train")
    (folder / "test-00000-of-00001.parquet").write_bytes(b"PAR1 hello")
    with pytest.raises(UserError, match="pets") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_hub_id_without_a_network_is_one_line():
    with pytest.raises(UserError, match="there is no folder owner/pets, and cannot open owner/pets") as caught:
        load("owner/pets")
    assert "\n" not in str(caught.value)


def test_a_missing_extra_says_how_to_install_it(tmp_path, monkeypatch):
    folder = parquet(tmp_path / "pets", "train")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r'pip install "shoestring\[hub\]"'):
        load(folder)
