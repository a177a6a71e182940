from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from shoestring.errors import UserError
from shoestring.runs.prediction_rows import Labeling, Row
from shoestring.runs.prediction_table import PredictionTable

CLASSES = ("cat", "dog", "owl")
IMAGES = ["a.png", "b.png", "broken.png", "c.png"]
ROWS = [Row("a.png", [("cat", 0.9), ("owl", 0.06)]), Row("b.png", [("dog", 0.5), ("cat", 0.3)], True)]
LABELING = Labeling(CLASSES, 2, 0.6)


def read(file: Path) -> list[list[str]]:
    with file.open(newline="") as opened:
        return list(csv.reader(opened))


def test_probabilities_become_rows():
    probabilities = np.array([0.2, 0.5, 0.3], np.float32)
    assert Labeling(CLASSES).row("x", probabilities) == Row("x", [("dog", 0.5)])
    assert LABELING.row("x", probabilities) == Row("x", [("dog", 0.5), ("owl", 0.3)], True)
    assert Labeling(CLASSES, 9, 0.5).row("x", probabilities) == Row("x", [("dog", 0.5), ("owl", 0.3), ("cat", 0.2)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((CLASSES, 0), "--top must be at least 1"),
        ((CLASSES, 1, 1.0), "between 0 and 1, not 1"),
        ((CLASSES, 1, float("nan")), "not nan"),
        (((*CLASSES, "unknown"), 1, 0.5), "class 'unknown'"),
    ],
)
def test_labelings_are_checked(given, message):
    with pytest.raises(UserError, match=message):
        Labeling(*given)


@pytest.mark.parametrize(
    ("labeling", "lines"),
    [
        (Labeling(CLASSES), [["image", "class", "probability", "error"], ["a.png", "cat", "0.9", ""]]),
        (
            LABELING,
            [
                ["image", "class", "probability", "class_2", "probability_2", "guess", "error"],
                ["a.png", "cat", "0.9", "owl", "0.06", "cat", ""],
                ["b.png", "unknown", "0.5", "cat", "0.3", "dog", ""],
                ["broken.png", "", "", "", "", "", "no image"],
            ],
        ),
    ],
)
def test_the_file_has_a_line_for_each_image(tmp_path, labeling, lines):
    file = tmp_path / "new" / "out.csv"
    table = PredictionTable(IMAGES[: len(lines) - 1], labeling, csv=file)
    table.add([Row(row.image, row.classes[: labeling.top], row.unknown) for row in ROWS[: len(lines) - 1]])
    table.finish({"broken.png": "no image"})
    assert read(file) == lines
    assert [entry.name for entry in file.parent.iterdir()] == ["out.csv"]


def test_an_interrupted_table_continues(tmp_path):
    file, partial = tmp_path / "out.csv", tmp_path / "out.csv.partial"
    PredictionTable(IMAGES, LABELING, csv=file, key="model").add(ROWS)
    partial.write_bytes(partial.read_bytes() + b'["c.png", [["d')  # killed while writing
    table = PredictionTable(IMAGES, LABELING, csv=file, key="model")
    assert (table.left, table.resumed, table.added, table.unknown) == (["broken.png", "c.png"], 2, 0, 1)
    last = Row("c.png", [("owl", 1.0), ("cat", 0.0)])
    table.add([last])
    assert PredictionTable(IMAGES, LABELING, csv=file, key="model").left == ["broken.png"]
    assert table.finish({"broken.png": "no image"}) == [*ROWS, last]
    assert [line[0] for line in read(file)] == ["image", *IMAGES]


@pytest.mark.parametrize(
    ("labeling", "key"), [(LABELING, "another"), (Labeling(CLASSES, 1, 0.6), "model"), (Labeling(CLASSES, 2), "model")]
)
def test_a_table_of_another_model_or_other_options_is_kept(tmp_path, labeling, key):
    file = tmp_path / "out.csv"
    PredictionTable(IMAGES, LABELING, csv=file, key="model").add(ROWS)
    with pytest.raises(UserError, match="unfinished predictions of another model or with other options"):
        PredictionTable(IMAGES, labeling, csv=file, key=key)
    assert PredictionTable(IMAGES, LABELING, csv=file, key="model").resumed == 2


def test_rows_are_passed_on(tmp_path):
    passed: list[Row] = []
    table = PredictionTable(IMAGES, LABELING, on_row=passed.append)
    table.add(ROWS)
    assert passed == ROWS and table.finish({}) == []
    assert not list(tmp_path.iterdir())
