from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import shoestring
from shoestring.cli.main import main
from shoestring.errors import UserError
from shoestring.runs import prediction


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    for index in range(30):
        file = folder / ("a" if index % 2 else "b/c") / f"{index:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (9, 12), dtype=np.uint8)).save(file)
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def model(images, make_model, monkeypatch):
    monkeypatch.setattr(prediction, "_MAX_BATCH", 7)  # so that there are several
    monkeypatch.setattr(prediction, "_GROUP", 3)
    return make_model(images)


def files_of(folder: Path) -> list[str]:
    return sorted(map(str, folder.rglob("*.png")))


def test_a_folder_is_predicted_as_its_files_are(photos, model):
    messages: list[str] = []
    result = shoestring.predict(model, [photos], top=2, log=messages.append)
    files = files_of(photos)
    probabilities = model.predict_proba(files)
    assert [entry["image"] for entry in result["predictions"]] == files
    assert [entry["classes"][0]["class"] for entry in result["predictions"]] == model.predict(files).tolist()
    found = [[guess["probability"] for guess in entry["classes"]] for entry in result["predictions"]]
    assert np.allclose(found, -np.sort(-probabilities)[:, :2], atol=1e-5)
    assert (result["images"], result["unreadable"], result["unknown"]) == (30, [], None)
    assert messages == [f"skipped 1 file in {photos}: no image by name or content"]


def test_bad_files_do_not_stop_the_others(photos, model, tmp_path):
    bad = photos / "a" / "05.png"
    bad.write_bytes(bad.read_bytes()[:60])
    missing = str(tmp_path / "gone.png")
    out = tmp_path / "out.csv"
    result = shoestring.predict(model, [missing, photos], csv=out)
    assert [entry["image"] for entry in result["unreadable"]] == [missing, str(bad)]
    assert "no such file" in result["unreadable"][0]["reason"] and "broken" in result["unreadable"][1]["reason"]
    with out.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["image"] for row in rows] == [missing, *files_of(photos)]
    assert [row["image"] for row in rows if row["error"]] == [missing, str(bad)]
    assert result["images"] == sum(row["class"] in model.classes for row in rows) == 29


def test_an_interrupted_prediction_continues(photos, model, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    shoestring.predict(model, [photos], csv=whole)

    def interrupt(done: int, total: int, rate: float) -> None:
        assert total == 30
        if done >= 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shoestring.predict(model, [photos], csv=out, progress=interrupt)
    assert not out.exists()
    decoded: list[str] = []
    decode = prediction.decode
    monkeypatch.setattr(prediction, "decode", lambda file, **size: (decoded.append(str(file)), decode(file, **size))[1])
    result = shoestring.predict(model, [photos], csv=out)
    assert (result["resumed"], result["images"]) == (14, 30)
    assert sorted(decoded) == files_of(photos)[14:]
    assert out.read_bytes() == whole.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        shoestring.predict(model, [photos], csv=out)
    assert shoestring.predict(model, [photos], csv=out, overwrite=True)["resumed"] == 0


def test_improbable_predictions_are_unknown(photos, model):
    confidence = model.predict_proba(files_of(photos)).max(1)
    limit = float(np.median(confidence))
    messages: list[str] = []
    result = shoestring.predict(model, [photos], unknown_below=limit, log=messages.append)
    marked = [entry.get("unknown", False) for entry in result["predictions"]]
    assert marked == (confidence < limit).tolist() and result["unknown"] == sum(marked) > 0
    assert result["rejection"] is None and "does not belong to a run" in messages[-1]


@pytest.mark.parametrize(("files", "message"), [([], "no files"), (["x.png", "y.png"], "x.png: no such file")])
def test_without_an_image_there_is_nothing_to_predict(model, tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        shoestring.predict(model, [tmp_path / name for name in files])
    with pytest.raises(UserError, match="no images in the folder"):
        shoestring.predict(model, [tmp_path])
    with pytest.raises(UserError, match="none of the files is an image"):
        shoestring.predict(model, [tmp_path / "x.png"], csv=tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "digits"
    words = ["train", "digits", "--model", "simplecnn", "--width", "0.125", "--epochs", "2"]
    assert main([*words, "--quiet", "--out", str(out)]) == 0
    return out


def test_the_reject_option_is_measured_on_validation_images(run, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    data = shoestring.load("digits")
    model = shoestring.Model.load(run)
    probabilities = model.predict_proba(data.validation)
    known = probabilities.max(1) >= 0.4
    correct = probabilities.argmax(1) == data.validation.labels
    for _ in range(2):  # the second time, confidences are read from the run
        rejection = shoestring.predict(run, [tmp_path / "x.png"], unknown_below=0.4)["rejection"]
        assert rejection["images"] == len(data.validation)
        assert rejection["coverage"] == pytest.approx(known.mean())
        assert rejection["accuracy"] == pytest.approx(correct[known].mean())
    assert (run / "evaluate" / "confidence.json").is_file()


def test_the_command_lists_bad_files_at_its_end(run, tmp_path, capsys, monkeypatch):
    names = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.txt"]
    for name in names[:2]:
        Image.new("L", (8, 8)).save(name)
    names[2].write_text("no image")
    stdin = tmp_path / "names"
    stdin.write_text("".join(f"{name}\n" for name in names))
    with stdin.open() as opened:
        monkeypatch.setattr("sys.stdin", opened)
        assert main(["predict", str(run), "-"]) == 2
    output = capsys.readouterr()
    assert [line.split("  ")[0] for line in output.out.splitlines()] == [str(name) for name in names[:2]]
    assert "cannot read" in output.err and "1 of 3 files cannot be read" in output.err.splitlines()[-1]
    csv_file = tmp_path / "out.csv"
    words = [str(tmp_path), str(names[2]), "--csv", str(csv_file), "--top", "3", "--unknown-below", "0.9", "--skip-bad"]
    assert main(["predict", str(run), *words]) == 0
    output = capsys.readouterr()
    assert "images/s" in output.out and "unknown" in output.out and "validation images" in output.err
    assert len(csv_file.read_text().splitlines()) == 4


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_names_on_stdin_end_with_a_line_or_a_zero_byte(run, tmp_path, capsys, monkeypatch, end):
    names = [str(tmp_path / name) for name in ("a 'b'.png", 'c".png', *(["d\ne.png"] if end == b"\0" else []))]
    for name in names:
        Image.new("L", (8, 8)).save(name)
    (tmp_path / "names").write_bytes(b"".join(name.encode() + end for name in names))
    capsys.readouterr()
    with (tmp_path / "names").open() as opened:
        monkeypatch.setattr("sys.stdin", opened)
        assert main(["predict", str(run), "-", "--json", "--quiet"]) == 0
    assert [entry["image"] for entry in json.loads(capsys.readouterr().out)] == names
