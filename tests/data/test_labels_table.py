"""Images of a folder with labels in a CSV or Parquet file, or in a data frame."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from label_tables import COUNT, LABELS, labels_of, message, rows, write
from shoestring.data import decode_file, load
from shoestring.errors import UserError


def test_labels_come_from_the_table(listed, tmp_path):
    data = load(listed, labels=write(tmp_path / "labels.csv", rows()))
    assert data.classes == ("cat", "dog", "emu") and data.name == "photos"
    assert labels_of(data) == dict(rows())
    assert len(data.test) == 5 and len(data.validation) == 3
    for pixels, name in zip(data.train.pixels, data.train.ids):
        np.testing.assert_array_equal(pixels, decode_file(listed / str(name), resolution=8, channels=3))


@pytest.mark.parametrize("form", ["folder", "file", "absolute", "backslashes", "no suffix", "dots"])
def test_paths_are_relative_to_the_folder_or_the_file_or_absolute(listed, tmp_path, form):
    prefix = {"file": "photos/", "absolute": f"{listed}/", "dots": "./part0/../"}.get(form, "")
    lines = rows(prefix=prefix)
    if form == "backslashes":
        lines = [(path.replace("/", "\\"), label) for path, label in lines]
    if form == "no suffix":
        lines = [(path.removesuffix(".png"), label) for path, label in lines]
    assert labels_of(load(listed, labels=write(tmp_path / "labels.csv", lines))) == dict(rows())


def test_images_outside_the_folder(listed, tmp_path):
    moved = tmp_path / "elsewhere" / "00.png"
    moved.parent.mkdir()
    (listed / "part0" / "00.png").rename(moved)
    file = write(tmp_path / "labels.csv", [("elsewhere/00.png", "cat"), *rows()[1:]])
    assert labels_of(load(listed, labels=file)) == {**dict(rows()[1:]), str(moved): "cat"}
    os.utime(moved, ns=(1, 1))
    Image.new("RGB", (8, 8), "red").save(moved)  # the cache notices
    data = load(listed, labels=file)
    splits = [images for images in (data.train, data.validation, data.test) if str(moved) in images.ids]
    assert (splits[0].pixels[splits[0].ids == str(moved)] == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("header", "separator", "encoding"),
    [
        ("path,label", ",", "utf-8"),
        ("File Name;Class", ";", "utf-8"),
        ("image_path\tCategory", "\t", "utf-8-sig"),
        ('"filename" , "target"', " , ", "utf-8-sig"),
        (",file,y", "7,", "utf-8"),  # a first column without a name, as pandas writes its index
    ],
)
def test_forms_of_csv(listed, tmp_path, header, separator, encoding):
    if separator == "7,":
        lines = [f"7,{path},{label}" for path, label in rows()]
    else:
        lines = [separator.join((f'"{path}"', f'" {label} "')) for path, label in rows()]
    lines.insert(3, "")
    file = write(tmp_path / "labels.csv", lines, header, encoding)
    assert labels_of(load(listed, labels=file)) == dict(rows())


def test_quoted_cells_may_contain_separators(listed, tmp_path):
    (listed / "part0" / "00.png").rename(listed / 'a, "b"; c.png')
    lines = ['"a, ""b""; c.png","cat, or emu"', *rows()[1:]]
    lines += ['part0/30.png,"cat, or emu"', 'part0/31.png,"cat, or emu"']
    for name in ("30", "31"):
        Image.new("RGB", (8, 8)).save(listed / "part0" / f"{name}.png")
    found = labels_of(load(listed, labels=write(tmp_path / "labels.csv", lines)))
    assert found['a, "b"; c.png'] == "cat, or emu"


def test_numbers_as_labels_are_in_numeric_order(listed, tmp_path):
    numbers = {"cat": "10", "dog": "9", "emu": "-1"}
    lines = [(path, numbers[label]) for path, label in rows()]
    data = load(listed, labels=write(tmp_path / "labels.csv", lines))
    assert data.classes == ("-1", "9", "10")
    decimal = [(path, f"{label}.0") for path, label in lines]
    assert labels_of(load(listed, labels=write(tmp_path / "decimal.csv", decimal))) == dict(lines)


def test_columns_may_be_named(listed, tmp_path):
    lines = [(label, path, "x") for path, label in rows()]
    file = write(tmp_path / "labels.csv", lines, "Species,where,label")
    settings = {"path_column": "where", "label_column": "species"}
    assert labels_of(load(listed, labels=file, **settings)) == dict(rows())
    assert (
        "no column of image paths such as 'path', only Species, where, label: name it with --path-column."
        in message(listed, file)
    )
    error = message(listed, file, path_column="wher", label_column="species")
    assert "unknown column of" in error and "Did you mean 'where'? Known: Species, label, where." in error
    assert "is named for two purposes" in message(listed, file, path_column="where", label_column="where")


def test_columns_need_a_table(listed):
    with pytest.raises(UserError, match="--label-column names a column of a table: add --labels FILE"):
        load(listed, label_column="label")


def test_parquet(listed, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    paths, names = zip(*rows())
    file = tmp_path / "labels.parquet"
    parquet.write_table(pyarrow.table({"image": paths, "label": pyarrow.array(names).dictionary_encode()}), file)
    assert labels_of(load(listed, labels=file)) == dict(rows())
    parquet.write_table(pyarrow.table({"image": paths, "label": [[1, 0]] * COUNT}), file)
    assert "holds values of type list: expected one text or number" in message(listed, file)
    parquet.write_table(pyarrow.table({"image": paths[:0], "label": names[:0]}), file)
    assert "has no rows" in message(listed, file)
    file.write_bytes(b"PAR1")
    assert "as Parquet" in message(listed, file)


class Frame:
    """The part of a data frame that is used."""

    def __init__(self, content: dict) -> None:
        self._content, self.columns = content, list(content)

    def __getitem__(self, name):
        return self._content[name]

    def __len__(self) -> int:
        return len(next(iter(self._content.values())))


def test_a_data_frame(listed, tmp_path, monkeypatch):
    codes = np.array([LABELS.index(label) for _, label in rows()])
    frame = Frame({"path": [Path(path) for path, _ in rows()], "label": codes})
    data = load(listed, labels=frame)
    assert data.classes == ("0", "1", "2")
    assert labels_of(data) == {path: str(code) for (path, _), code in zip(rows(), codes)}
    monkeypatch.chdir(tmp_path)
    relative = Frame({"path": [path for path, _ in rows(prefix="photos/")], "label": 2 - codes})
    assert labels_of(load(listed, labels=relative))["part0/00.png"] == "2"
    missing = Frame({"path": relative["path"], "label": [None, float("nan"), *codes[2:].astype(float)]})
    assert "'label' of the data frame is empty for 2 of its 24 lines" in message(listed, missing)
    assert "labels is a dict" in message(listed, {"path": [], "label": []})
    assert "is empty" in message(listed, Frame({"path": [], "label": []}))


def test_pandas(listed):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows(), columns=["path", "label"]).astype({"label": "category"})
    assert labels_of(load(listed, labels=frame)) == dict(rows())
