from __future__ import annotations

import sys

import numpy as np
import pytest

from parquet_files import NAMES, PIXELS, datasets, encoded, parquet
from shoestring.data import load
from shoestring.data.sources.hub import hub
from shoestring.errors import UserError

pq = pytest.importorskip("pyarrow.parquet")
hub_module = sys.modules[hub.__module__]


pytestmark = pytest.mark.usefixtures("offline")


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


def test_progress_total_includes_all_files(tmp_path):
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
        ([-1, 1] * 10, datasets.Value("int64"), ("-1", "1")),
        ([True, False] * 10, datasets.Value("bool"), ("False", "True")),
    ],
)
def test_columns_are_found_by_type_and_name(tmp_path, labels, kind, classes):
    folder = parquet(tmp_path / "pets", "train", image="picture", label="Target", labels=labels, kind=kind, plain=True)
    data = load(folder)
    assert data.classes == classes
    first = classes.index(str(labels[0]))
    rows = [int(name.split("/")[1]) for name in data.train.ids]
    np.testing.assert_array_equal(data.train.targets, [first if row % 2 == 0 else 1 - first for row in rows])
    np.testing.assert_array_equal(data.train.pixels, PIXELS[rows])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [-1] * 20}, "train split of .* has no labels"),
        ({"labels": [0, 1] * 9 + [0, -1]}, "image 19 of the train split .* has no label"),
        ({"label": ""}, "no label column"),
        ({"label": "mood", "kind": datasets.Value("int64")}, "no label column"),
        (
            {"labels": [[0.0, 1.0]] * 20, "kind": [datasets.Value("float32")]},
            "'label' of .* holds lists, such as one-hot",
        ),
        ({"labels": [0.0, 1.0] * 10, "kind": datasets.Value("float32")}, r"'label' of .* holds fractions \(float32;"),
        ({"labels": [None] * 20, "kind": datasets.Value("int64")}, "train split of .* has no labels"),
        ({"labels": [0] * 20}, "'dog' has no training images"),
        ({"split": "test"}, "no train split, only test"),
    ],
)
def test_invalid_parquet_files_raise_errors(tmp_path, options, message):
    with pytest.raises(UserError, match=message) as caught:
        load(parquet(tmp_path / "pets", options.pop("split", "train"), **options))
    assert "\n" not in str(caught.value)


def test_error_names_a_broken_image_which_can_be_skipped(tmp_path):
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


def test_hub_id_without_network_is_a_one_line_error():
    with pytest.raises(UserError, match="there is no folder owner/pets, and cannot open owner/pets") as caught:
        load("owner/pets")
    assert "\n" not in str(caught.value)


def test_error_for_missing_extra_says_how_to_install_it(tmp_path, monkeypatch):
    folder = parquet(tmp_path / "pets", "train")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r'pip install "shoestring\[hub\]"'):
        load(folder)


def test_readme_cannot_name_files_outside_the_folder(tmp_path):
    parquet(tmp_path / "secret", "train", rows=6)
    folder = parquet(tmp_path / "pets", "train")
    card = "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: ../secret/*.parquet\n"
    (folder / "README.md").write_text(f"---\n{card}---\n")
    data = load(folder)
    assert len(data.train) + len(data.validation) + len(data.test) == 20


def test_readme_names_classes_of_integer_labels(tmp_path):
    folder = parquet(tmp_path / "pets", "train", kind=datasets.Value("int64"))
    third = "          '2': emu\n"
    names = f"        names:\n          '0': cat\n          '1': dog\n{third}"
    card = f"dataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n{names}"
    (folder / "README.md").write_text(f"---\n{card}---\n# Pets\n")
    with pytest.raises(UserError, match="'emu' has no training images"):
        load(folder)
    (folder / "README.md").write_text(f"---\n{card.replace('emu', 'dog')}---\n# Pets\n")
    with pytest.raises(UserError, match="more than one class is called 'dog'"):
        load(folder)
    (folder / "README.md").write_text(f"---\n{card.removesuffix(third)}---\n")
    assert load(folder).classes == ("cat", "dog")
    (folder / "README.md").write_text("---\n[not: a card\n---\n")
    assert load(folder).classes == ("0", "1")


def test_duplicate_class_names_raise_an_error(tmp_path):
    folder = parquet(tmp_path / "pets", "train")
    (file,) = folder.iterdir()
    table = pq.read_table(file)
    told = table.schema.metadata[b"huggingface"].replace(b'"dog"', b'"cat"')
    pq.write_table(table.replace_schema_metadata({b"huggingface": told}), file)
    with pytest.raises(UserError, match="cat"):
        load(folder)


def test_glob_characters_in_folder_names_are_literal(tmp_path):
    assert load(parquet(tmp_path / "pets [1] * x", "train")).classes == ("cat", "dog")


def test_names_are_unicode_normalized(tmp_path):
    text = datasets.Value("string")
    folder = parquet(tmp_path / "pets", "train", labels=["cafe\u0301", "bar"] * 10, kind=text)
    parquet(folder, "test", labels=["caf\u00e9", "bar"] * 10, kind=text)
    data = load(folder)
    assert data.classes == ("bar", "caf\u00e9") and data.test.counts().tolist() == [10, 10]


@pytest.mark.parametrize("large", [0, 1])
def test_resolution_sample_covers_all_rows(tmp_path, large):
    """Rows sorted by class, of which one has large images."""
    folder = tmp_path / "pets"
    folder.mkdir()
    sides = [40 if index // 300 == large else 6 for index in range(900)]
    cells = {side: encoded(np.zeros((side, side, 3), np.uint8)) for side in (6, 40)}
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    rows = {
        "image": [{"bytes": cells[side], "path": None} for side in sides],
        "label": [index // 300 for index in range(900)],
    }
    table = datasets.Dataset.from_dict(rows, features=kinds)
    table.to_parquet(folder / "train-0.parquet", batch_size=100)
    assert load(folder).train.shape == (6, 6, 3)


def test_resolution_sample_of_a_hub_data_set_is_from_few_files(tmp_path):
    folder = parquet(tmp_path / "pets", "train", rows=8, shard="0")
    parquet(folder, "train", rows=8, shard="1")
    files = {"train": [str(file) for file in sorted(folder.iterdir())]}
    stream = datasets.load_dataset("parquet", data_files=files, streaming=True)["train"]
    found = list(hub_module._sample_of_shards(stream, "image", "pets")())
    assert len(found) == 16 and all(item.image[:4] == b"\x89PNG" for item in found)
