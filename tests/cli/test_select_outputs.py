from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from shoestring.data import load


def test_selected_images_are_copied_and_listed(call, refused, photos, tmp_path):
    words = ("select", photos, "--examples", 6, "--method", "random", "--out", tmp_path / "out")
    result = call(*words, "--copy-to", tmp_path / "copies", "--csv", tmp_path / "list.csv")
    assert result["per_class"] == {"cat": 3, "dog": 3}
    with (tmp_path / "list.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["rank"] for row in table] == list("012345")
    for row in table:
        copy = tmp_path / "copies" / row["class"] / f"{int(row['rank']):05d}-{Path(row['image']).name}"
        assert copy.read_bytes() == (photos / row["image"]).read_bytes()
    assert len(list((tmp_path / "copies").rglob("*.png"))) == 6
    assert load(tmp_path / "copies", validation=0.3).classes == ("cat", "dog")
    call(*words, "--copy-to", tmp_path / "again")  # of a finished selection
    assert len(list((tmp_path / "again").rglob("*.png"))) == 6


def test_copies_are_not_written_over_other_files(call, refused, photos, tmp_path):
    words = ("select", photos, "--examples", 6, "--method", "random", "--copy-to", tmp_path / "copies")
    first = (*words, "--out", tmp_path / "out")
    call(*first)
    missing, edited, *_ = (tmp_path / "copies").rglob("*.png")
    missing.unlink()
    edited.write_bytes(b"edited")
    call(*first)  # the missing copy is restored
    assert missing.stat().st_size > 6 and edited.read_bytes() == b"edited"
    assert "not an empty folder" in refused(*words, "--out", tmp_path / "other", "--seed", 1)
    (tmp_path / "copies" / "notes.txt").touch()
    assert "not an empty folder" in refused(*first)
    assert len(list((tmp_path / "copies").rglob("*"))) == 9  # two classes


def test_images_of_arrays_are_copied_as_png(call, tmp_path):
    words = ("select", "digits", "--examples", 20, "--method", "random", "--out", tmp_path / "out")
    subset = json.loads(Path(call(*words, "--copy-to", tmp_path / "copies")["subset"]).read_text())
    train = load("digits").train
    first = train[subset["indices"][:1]]
    file = next((tmp_path / "copies" / first.classes[first.targets[0]]).glob("00000-*.png"))
    assert np.array_equal(np.asarray(Image.open(file)), first.pixels[0, :, :, 0])


def test_changed_images_are_not_copied(call, refused, photos, tmp_path):
    words = ("select", photos, "--unlabeled", "--method", "random", "--examples", 4, "--out", tmp_path / "out")
    call(*words)
    (photos / "cat" / "new.png").write_bytes((photos / "cat" / "1.png").read_bytes())
    assert "have changed since" in refused(*words, "--csv", tmp_path / "list.csv")
    assert not (tmp_path / "list.csv").exists()


def test_class_names_do_not_escape_the_folder_of_copies(call, tmp_path):
    names = ["a/b", "../out", str(tmp_path / "away"), ".hidden", "plain"]
    pixels, labels = np.zeros((50, 8, 8, 3), dtype=np.uint8), np.arange(50) % 5
    np.savez(tmp_path / "named.npz", images=pixels, labels=labels, classes=names)
    words = ("select", tmp_path / "named.npz", "--examples", 10, "--method", "random", "--out", tmp_path / "run")
    call(*words, "--copy-to", tmp_path / "copies")
    copies = [path.relative_to(tmp_path / "copies") for path in (tmp_path / "copies").rglob("*.png")]
    assert len(copies) == 10 and all(len(path.parts) == 2 for path in copies)
    folders = {path.parts[0] for path in copies}
    assert len(folders) == 5 and "plain" in folders and not any(name.startswith(".") for name in folders)
    assert not (tmp_path / "away").exists()


def test_images_are_not_copied_into_the_data(call, refused, photos, tmp_path):
    words = ("select", photos, "--examples", 4, "--method", "random", "--out", tmp_path / "out")
    assert "overlap" in refused(*words, "--copy-to", photos / "chosen")
    call(*words)
    assert "overlap" in refused(*words, "--copy-to", photos / "chosen")  # also for a finished selection
