from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from shoestring.data import load

COUNTS = {"cat": 8, "dog": 8}


ALTERED = {
    "classes missing": lambda meta: meta.pop("classes"),
    "classes of the same name": lambda meta: meta.update(classes=["cat", "cat"]),
    "a class less": lambda meta: meta.update(classes=["cat"]),
    "classes are no text": lambda meta: meta.update(classes=[1, 2]),
    "skipped missing": lambda meta: meta.pop("skipped"),
    "skipped of another shape": lambda meta: meta.update(skipped=["a", "b"]),
    "notes missing": lambda meta: meta.pop("notes"),
    "notes are no list": lambda meta: meta.update(notes="none"),
    "others missing": lambda meta: meta.pop("others"),
    "no fingerprint": lambda meta: meta["splits"]["train"].pop("fingerprint"),
    "splits of negative size": lambda meta: meta["splits"].update(
        train={"size": 20, "fingerprint": "x"}, test={"size": -4, "fingerprint": "x"}
    ),
    "a size that is text": lambda meta: meta["splits"]["train"].update(size="16"),
    "another split": lambda meta: meta.update(splits={"holdout": meta["splits"]["train"]}),
    "another resolution": lambda meta: meta.update(resolution=10),
    "a list": lambda meta: None,
}


@pytest.mark.parametrize("change", ALTERED)
def test_entry_with_altered_description_is_rebuilt(photos, cache, change):
    root = photos(COUNTS)
    expected = load(root)
    file = next((cache / "images").iterdir()) / "meta.json"
    meta = json.loads(file.read_text())
    ALTERED[change](meta)
    file.write_text("[" * 100_000 if change == "a list" else json.dumps(meta))
    again = load(root)
    assert again.train.fingerprint == expected.train.fingerprint and again.notes == expected.notes


@pytest.mark.parametrize(("name", "other"), [("labels", np.full(16, 7)), ("labels", np.zeros(16)), ("ids", np.eye(16))])
def test_entry_with_other_arrays_is_rebuilt(photos, cache, name, other):
    root = photos(COUNTS)
    expected = load(root)
    np.save(next((cache / "images").iterdir()) / f"{name}.npy", other)
    assert load(root).train.fingerprint == expected.train.fingerprint


def test_file_in_place_of_the_entry_is_replaced(photos, cache):
    root = photos(COUNTS)
    load(root)
    folder = next((cache / "images").iterdir())
    shutil.rmtree(folder)
    folder.write_text("not an entry")
    assert len(load(root).train) and folder.is_dir()
