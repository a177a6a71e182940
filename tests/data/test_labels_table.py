"""Images of a folder with labels in a CSV or Parquet file, or in a data frame."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.data import decode_file, load, load_split
from shoestring.data.label_columns import Labels
from shoestring.errors import UserError

COUNT = 24
LABELS = ["cat", "dog", "emu"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with 24 images, in two subfolders that are not classes."""
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        file = tmp_path / "photos" / f"part{index % 2}" / f"{index:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    return tmp_path / "photos"


def rows(*, prefix: str = "", count: int = COUNT) -> list[tuple[str, str]]:
    """Paths and labels of the images."""
    return [(f"{prefix}part{index % 2}/{index:02}.png", LABELS[index % 3]) for index in range(count)]


def write(file: Path, lines, header: str = "path,label", encoding: str = "utf-8") -> Path:
    """Write a CSV file; a line is a text, or its cells."""
    texts = [line if isinstance(line, str) else ",".join(line) for line in lines]
    file.write_text("\n".join([header, *texts]) + "\n", encoding=encoding)
    return file


def labels_of(data) -> dict[str, str]:
    splits = (data.train, data.validation, data.test)
    return {str(name): data.classes[label] for images in splits for name, label in zip(images.ids, images.targets)}


def message(folder, labels, **settings) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, labels=labels, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_come_from_the_table(photos, tmp_path):
    data = load(photos, labels=write(tmp_path / "labels.csv", rows()))
    assert data.classes == ("cat", "dog", "emu") and data.name == "photos"
    assert labels_of(data) == dict(rows())
    assert len(data.test) == 5 and len(data.validation) == 3
    for pixels, name in zip(data.train.pixels, data.train.ids):
        np.testing.assert_array_equal(pixels, decode_file(photos / str(name), resolution=8, channels=3))


@pytest.mark.parametrize("form", ["folder", "file", "absolute", "backslashes", "no suffix", "dots"])
def test_paths_are_relative_to_the_folder_or_the_file_or_absolute(photos, tmp_path, form):
    prefix = {"file": "photos/", "absolute": f"{photos}/", "dots": "./part0/../"}.get(form, "")
    lines = rows(prefix=prefix)
    if form == "backslashes":
        lines = [(path.replace("/", "\\"), label) for path, label in lines]
    if form == "no suffix":
        lines = [(path.removesuffix(".png"), label) for path, label in lines]
    assert labels_of(load(photos, labels=write(tmp_path / "labels.csv", lines))) == dict(rows())


def test_images_outside_the_folder(photos, tmp_path):
    moved = tmp_path / "elsewhere" / "00.png"
    moved.parent.mkdir()
    (photos / "part0" / "00.png").rename(moved)
    file = write(tmp_path / "labels.csv", [("elsewhere/00.png", "cat"), *rows()[1:]])
    assert labels_of(load(photos, labels=file)) == {**dict(rows()[1:]), str(moved): "cat"}
    os.utime(moved, ns=(1, 1))
    Image.new("RGB", (8, 8), "red").save(moved)  # the cache notices
    data = load(photos, labels=file)
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
def test_forms_of_csv(photos, tmp_path, header, separator, encoding):
    if separator == "7,":
        lines = [f"7,{path},{label}" for path, label in rows()]
    else:
        lines = [separator.join((f'"{path}"', f'" {label} "')) for path, label in rows()]
    lines.insert(3, "")
    file = write(tmp_path / "labels.csv", lines, header, encoding)
    assert labels_of(load(photos, labels=file)) == dict(rows())


def test_quoted_cells_may_contain_separators(photos, tmp_path):
    (photos / "part0" / "00.png").rename(photos / 'a, "b"; c.png')
    lines = ['"a, ""b""; c.png","cat, or emu"', *rows()[1:]]
    lines += ['part0/30.png,"cat, or emu"', 'part0/31.png,"cat, or emu"']
    for name in ("30", "31"):
        Image.new("RGB", (8, 8)).save(photos / "part0" / f"{name}.png")
    found = labels_of(load(photos, labels=write(tmp_path / "labels.csv", lines)))
    assert found['a, "b"; c.png'] == "cat, or emu"


def test_numbers_as_labels_are_in_numeric_order(photos, tmp_path):
    numbers = {"cat": "10", "dog": "9", "emu": "-1"}
    lines = [(path, numbers[label]) for path, label in rows()]
    data = load(photos, labels=write(tmp_path / "labels.csv", lines))
    assert data.classes == ("-1", "9", "10")
    decimal = [(path, f"{label}.0") for path, label in lines]
    assert labels_of(load(photos, labels=write(tmp_path / "decimal.csv", decimal))) == dict(lines)


def test_columns_may_be_named(photos, tmp_path):
    lines = [(label, path, "x") for path, label in rows()]
    file = write(tmp_path / "labels.csv", lines, "Species,where,label")
    settings = {"path_column": "where", "label_column": "species"}
    assert labels_of(load(photos, labels=file, **settings)) == dict(rows())
    assert (
        "no column of image paths such as 'path', only Species, where, label: name it with --path-column."
        in message(photos, file)
    )
    error = message(photos, file, path_column="wher", label_column="species")
    assert "unknown column of" in error and "Did you mean 'where'? Known: Species, label, where." in error
    assert "is named for two purposes" in message(photos, file, path_column="where", label_column="where")


def test_columns_need_a_table(photos):
    with pytest.raises(UserError, match="--label-column names a column of a table: add --labels FILE"):
        load(photos, label_column="label")


def test_parquet(photos, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    paths, names = zip(*rows())
    file = tmp_path / "labels.parquet"
    parquet.write_table(pyarrow.table({"image": paths, "label": pyarrow.array(names).dictionary_encode()}), file)
    assert labels_of(load(photos, labels=file)) == dict(rows())
    parquet.write_table(pyarrow.table({"image": paths, "label": [[1, 0]] * COUNT}), file)
    assert "holds values of type list: expected one text or number" in message(photos, file)
    parquet.write_table(pyarrow.table({"image": paths[:0], "label": names[:0]}), file)
    assert "has no rows" in message(photos, file)
    file.write_bytes(b"PAR1")
    assert "as Parquet" in message(photos, file)


class Frame:
    """The part of a data frame that is used."""

    def __init__(self, content: dict) -> None:
        self._content, self.columns = content, list(content)

    def __getitem__(self, name):
        return self._content[name]

    def __len__(self) -> int:
        return len(next(iter(self._content.values())))


def test_a_data_frame(photos, tmp_path, monkeypatch):
    codes = np.array([LABELS.index(label) for _, label in rows()])
    frame = Frame({"path": [Path(path) for path, _ in rows()], "label": codes})
    data = load(photos, labels=frame)
    assert data.classes == ("0", "1", "2")
    assert labels_of(data) == {path: str(code) for (path, _), code in zip(rows(), codes)}
    monkeypatch.chdir(tmp_path)
    relative = Frame({"path": [path for path, _ in rows(prefix="photos/")], "label": 2 - codes})
    assert labels_of(load(photos, labels=relative))["part0/00.png"] == "2"
    missing = Frame({"path": relative["path"], "label": [None, float("nan"), *codes[2:].astype(float)]})
    assert "'label' of the data frame is empty for 2 of its 24 lines" in message(photos, missing)
    assert "labels is a dict" in message(photos, {"path": [], "label": []})
    assert "is empty" in message(photos, Frame({"path": [], "label": []}))


def test_pandas(photos):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows(), columns=["path", "label"]).astype({"label": "category"})
    assert labels_of(load(photos, labels=frame)) == dict(rows())


def test_a_split_column_is_respected(photos, tmp_path):
    words = ["train", "Training", "val", "test"]
    lines = [(*row, words[index // 3 % 4]) for index, row in enumerate(rows())]
    file = write(tmp_path / "labels.csv", lines, "path,label,Split")
    data = load(photos, labels=file)
    for images, split in ((data.train, words[:2]), (data.validation, words[2:3]), (data.test, words[3:])):
        assert set(images.ids) == {path for path, _, word in lines if word in split}
    ignored = load(photos, labels=file, split_column="none")
    assert len(ignored.test) == 5 and set(ignored.test.ids) != set(data.test.ids)
    named = write(tmp_path / "named.csv", lines, "path,label,part")
    assert set(load(photos, labels=named, split_column="part").test.ids) == set(data.test.ids)


def test_invalid_splits(photos, tmp_path):
    lines = [(*row, "trian" if index == 5 else "train") for index, row in enumerate(rows())]
    error = message(photos, write(tmp_path / "labels.csv", lines, "path,label,split"))
    assert (
        "column 'split' of" in error and "says 'trian' of 'part1/05.png': expected train, validation or test" in error
    )
    lines = [(*row, "" if index == 5 else "train") for index, row in enumerate(rows())]
    assert "is empty for 'part1/05.png'" in message(photos, write(tmp_path / "labels.csv", lines, "path,label,split"))
    lines = [(*row, "test") for row in rows()]
    error = message(photos, write(tmp_path / "labels.csv", lines, "path,label,split"))
    assert "lists no images of the train split, only test" in error


def test_a_label_that_never_occurs_in_training(photos, tmp_path):
    lines = [(path, label, "test" if label == "emu" else "train") for path, label in rows()]
    error = message(photos, write(tmp_path / "labels.csv", lines, "path,label,split"))
    assert (
        "label 'emu' in the test split of" in error and "never occurs in its train split, which has cat, dog" in error
    )


def test_groups_are_never_in_two_splits(photos, tmp_path):
    lines = [(*row, f"patient {index // 3 % 7}" if index < 21 else "") for index, row in enumerate(rows())]
    file = write(tmp_path / "labels.csv", lines, "path,label,patient")
    group_of = {path: group for path, _, group in lines}
    for seed in range(5):
        data = load(photos, labels=file, group_column="patient", split_seed=seed)
        groups = [{group_of[str(name)] for name in images.ids} for images in (data.train, data.validation, data.test)]
        assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]) - {""}
        assert labels_of(data) == dict(rows())
        assert all(len(images) for images in (data.validation, data.test))
    assert any("in whole groups" in note for note in data.notes)


def test_a_group_in_two_splits_of_the_table_is_an_error(photos, tmp_path):
    lines = [(*row, "test" if index % 4 < 2 else "train", f"p{index // 3}") for index, row in enumerate(rows())]
    file = write(tmp_path / "labels.csv", lines, "path,label,split,patient")
    assert "group 'p0' of the column 'patient' of" in message(photos, file, group_column="patient")
    assert load(photos, labels=file).test


def test_images_that_are_not_listed_are_counted(photos, tmp_path):
    (photos / "notes.txt").write_text("no image")
    data = load(photos, labels=write(photos / "labels.csv", rows(count=21)))
    assert len(labels_of(data)) == 21
    note = next(note for note in data.notes if "left out" in note)
    assert "left out 3 images that" in note and "part0/22.png" in note and "notes.txt" not in note


def test_missing_images_are_an_error_or_skipped(photos, tmp_path):
    lines = [*rows(), ("part0/gone.png", "cat"), ("gone2.png", "dog")]
    file = write(tmp_path / "labels.csv", lines)
    error = message(photos, file)
    assert "2 of the 26 images that" in error and "the first 'part0/gone.png'" in error
    data = load(photos, labels=file, skip_bad=True)
    assert labels_of(data) == dict(rows()) and len(data.skipped) == 2
    with pytest.raises(UserError, match="cannot read"):  # from the cache
        load(photos, labels=file)


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
def test_invalid_lines(photos, tmp_path, extra, text):
    file = write(tmp_path / "labels.csv", [*rows(), *extra])
    with pytest.raises(UserError, match=text):
        load(photos, labels=file)


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
def test_invalid_files(photos, tmp_path, content, text):
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UserError, match=text) as caught:
        load(photos, labels=tmp_path / "labels.csv")
    assert "\n" not in str(caught.value)


def test_invalid_places(photos, tmp_path):
    assert "labels.csv is missing: expected a CSV or Parquet file" in message(photos, tmp_path / "labels.csv")
    assert "is a folder" in message(photos, photos)
    (tmp_path / "labels.xlsx").write_bytes(b"PK")
    assert "is a spreadsheet" in message(photos, tmp_path / "labels.xlsx")
    file = write(tmp_path / "labels.csv", rows())
    assert "digits is none" in message("digits", file)
    assert "Did you mean" in message(tmp_path / "photo", file)


def test_the_cache_notices_changed_labels(photos, tmp_path):
    file = write(tmp_path / "labels.csv", rows())
    before = load(photos, labels=file)
    assert load(photos, labels=file).train.fingerprint == before.train.fingerprint
    changed = [(path, {"cat": "cat", "dog": "emu", "emu": "dog"}[label]) for path, label in rows()]
    write(file, changed)
    os.utime(file, ns=(1, 1))
    data = load(photos, labels=file)
    assert labels_of(data) == dict(changed) and data.train.fingerprint != before.train.fingerprint


def test_a_split_to_evaluate_on(photos, tmp_path):
    file = write(tmp_path / "labels.csv", [row for row in rows() if row[1] != "dog"])
    images = load_split(photos, classes=["emu", "dog", "cat"], resolution=8, labels=Labels(file))
    assert images.counts().tolist() == [8, 0, 8]
    with pytest.raises(UserError, match=r"unknown class in .* 'emu'"):
        load_split(photos, classes=["dog", "cat"], resolution=8, labels=Labels(file))
