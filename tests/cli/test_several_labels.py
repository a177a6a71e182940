"""Commands on a table with one column for each label."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from label_images import LABELS, label_arrays
from shoestring.cli.main import main

NET = ("--model", "simplecnn", "--width", "0.25", "--epochs", "12", "--batch-size", "16", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with photos, and a table of their labels beside it."""
    folder = tmp_path_factory.mktemp("several") / "photos"
    folder.mkdir()
    pixels, labels = label_arrays(100)
    with (folder.parent / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *LABELS, "source"])
        for index, (image, row) in enumerate(zip(pixels, labels)):
            Image.fromarray(image).save(folder / f"{index:03}.png")
            writer.writerow([f"{index:03}.png", *row, "camera"])
    return folder


@pytest.fixture(scope="module")
def run(folder) -> Path:
    words = ("run", folder, "--labels", folder.parent / "labels.csv", *NET, "--no-flip", "--params", "0.8")
    out = folder.parent / "run"
    assert main([*map(str, words), "--class-weights", "wings=2", "--out", str(out), "--quiet"]) == 0
    return out


def test_a_run(call, capsys, folder, run):
    words = ("run", folder, "--labels", folder.parent / "labels.csv", *NET, "--no-flip", "--params", "0.8")
    result = call(*words, "--class-weights", "wings=2", "--out", run)
    assert result["task"] == "multi-label" and list(result["per_class"]) == list(LABELS)
    assert result["macro_average_precision"] > 0.8 and result["temperature"] != 1
    assert {path.name for path in (run / "evaluate").iterdir()} == {"metrics.json", "per_class.csv", "predictions.csv"}
    report = (run / "report" / "report.md").read_text()
    assert report.startswith("# Mean average precision ") and "| label | images | average precision |" in report
    page = (run / "report" / "index.html").read_text()
    assert "Which label is weakest?" in page and "Recall" in page and "<td>wings</td>" in page
    assert "any number of 3: red, large, wings" in (run / "report" / "README.md").read_text()
    assert main(["report", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "report/index.html" in shown
    assert "mean average precision" in shown and "all labels right" in shown and "weakest labels: " in shown


def test_evaluate(call, capsys, folder, run, tmp_path):
    own = call("evaluate", run)
    other = tmp_path / "other.csv"
    other.write_text("file,wings,large,red,new\n001.png,0,1,0,1\n002.png,1,0,1,0\n003.png,0,0,1,1\n")
    found = call("evaluate", run, "--on", folder, "--labels", other, "--out", tmp_path / "out")
    assert list(own["per_class"]) == list(found["per_class"]) == list(LABELS)
    assert [entry["images"] for entry in found["per_class"].values()] == [2, 1, 1]
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        assert [row["red"] for row in csv.DictReader(file)] == ["0", "1", "1"]
    assert main(["evaluate", str(run), "--quiet"]) == 0
    assert "average precision" in capsys.readouterr().out


def test_predict(call, refused, capsys, folder, run, tmp_path):
    files = [folder / f"{index:03}.png" for index in range(12)]
    for entry in call("predict", run, *files):
        assert list(entry["probabilities"]) == list(LABELS)
        predicted = {name: value for name, value in entry["probabilities"].items() if value >= 0.5}
        assert {one["class"]: one["probability"] for one in entry["classes"]} == predicted
    assert [len(entry["classes"]) for entry in call("predict", run, *files, "--top", "2")] == [2] * 12
    table = tmp_path / "predictions.csv"
    found = call("predict", run, *files)
    call("predict", run, *files, "--csv", table)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [str(file) for file in files]
    for row, entry in zip(rows, found):
        predicted = [one["class"] for one in entry["classes"]]
        assert sorted(predicted) == sorted(name for name in LABELS if row[name] == "1")
        assert {name: float(row[f"{name} probability"]) for name in LABELS} == entry["probabilities"]
    assert "predictions.csv exists already" in refused("predict", run, *files, "--csv", table)
    _, labels = label_arrays(100)
    plain = files[int((labels.sum(1) == 0).argmax())] if (labels[:12].sum(1) == 0).any() else files[0]
    assert main(["predict", str(run), str(plain), "--quiet"]) == 0
    assert capsys.readouterr().out.startswith(str(plain))


def test_check_and_select(call, refused, folder, tmp_path):
    table = ("--labels", folder.parent / "labels.csv")
    data = call("check", folder, *table)["data"]
    assert data["labels"].startswith("red ") and data["rarest label"].startswith("wings, ")
    words = ("select", folder, *table, "--examples", "9", "--out", tmp_path / "selected")
    result = call(*words, "--method", "random")
    assert result["examples"] == 9 and list(result["per_class"]) == list(LABELS)
    line = refused("select", folder, *table, "--examples", "9", "--method", "margin", "--out", tmp_path / "margin")
    assert "margin needs one class for each image, and these have several labels" in line


def test_data_of_another_task(refused, folder, run, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("path,label\n001.png,red\n002.png,large\n")
    assert "other.csv 'red'. Known: label, path." in refused("evaluate", run, "--on", folder, "--labels", other)
    other.write_text("path,red,large,wings\n001.png,1,0,2\n")
    line = refused("evaluate", run, "--on", folder, "--labels", other)
    assert "other.csv holds '2' in row 1: with one column per label, expected 0 or 1." in line
